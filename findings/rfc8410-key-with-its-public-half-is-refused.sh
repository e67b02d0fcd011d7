#!/usr/bin/env bash
# The Ed25519 key with its public half that RFC 8410 prints is refused by Chromium and four of five Python libraries
#
# Guess:   RFC 8410 section 10.3 prints one key twice: as PKCS #8, and in its version 2 (RFC 5958, OneAsymmetricKey), with
#          an attribute and the public key. A reader of the one reads the other.
# Version: cryptography 50.0.2, joserfc 1.8.0 and jwcrypto 1.6.1, which read with it, biscuit-python 0.4.0,
#          PyCryptodome 4.4.0, Chromium 153 (WebCrypto)
# Seen:    all read the first. PyCryptodome alone reads the second; the others also refuse it without the attribute.
#          cryptography's pull request 15635, merged but not in this release, accepts version 2.
# So:      write such a key again as version 1: PyCryptodome's ECC.import_key(text).export_key(format="PEM").
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with cryptography==50.0.2 joserfc==1.8.0 jwcrypto==1.6.1 biscuit-python==0.4.0 pycryptodome==4.4.0
chromium_with

cat > seen.py <<'PY'
import base64, warnings
from pathlib import Path

warnings.simplefilter("ignore")
import biscuit_auth
from Crypto.PublicKey import ECC
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc.jwk import OKPKey
from jwcrypto.jwk import JWK

FIRST = base64.b64decode("MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC")
SECOND = base64.b64decode(
    "MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhCoB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEA"
    "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="
)
attribute, public = SECOND[48:81], SECOND[81:]
assert SECOND == b"\x30\x72\x02\x01\x01" + FIRST[5:] + attribute + public
keys = {
    "version 1": FIRST,
    "version 2, attribute and public key": SECOND,
    "version 2, public key": b"\x30\x51\x02\x01\x01" + FIRST[5:] + public,
}
readers = {
    "cryptography": lambda pem: load_pem_private_key(pem.encode(), None),
    "joserfc": OKPKey.import_key,
    "jwcrypto": lambda pem: JWK.from_pem(pem.encode()),
    "biscuit-python": biscuit_auth.PrivateKey.from_pem,
    "PyCryptodome": ECC.import_key,
}
for number, (name, der) in enumerate(keys.items()):
    pem = f"-----BEGIN PRIVATE KEY-----\n{base64.encodebytes(der).decode()}-----END PRIVATE KEY-----\n"
    Path(f"{number}.der").write_bytes(der)
    said = []
    for reader, read in readers.items():
        try:
            read(pem)
            said.append(f"{reader} reads it")
        except Exception as error:
            said.append(f"{reader} {type(error).__name__}")
    print(f"{name}: {', '.join(said)}")

again = ECC.import_key(SECOND).export_key(format="DER")
print("PyCryptodome writes version 1:", again == FIRST)
PY
"$python" seen.py > now.txt

cat > seen.mjs <<'JS'
import { readFileSync } from "node:fs";
import { open } from "./chromium.mjs";

const page = await open("localhost");
for (const number of [0, 1, 2]) {
  const said = await page.evaluate(async (bytes) => {
    const read = crypto.subtle.importKey("pkcs8", new Uint8Array(bytes), { name: "Ed25519" }, true, ["sign"]);
    return read.then(() => "reads it", (error) => error.name);
  }, [...readFileSync(`${number}.der`)]);
  console.log(`Chromium, key ${number + 1}: ${said}`);
}
process.exit(0);
JS
node seen.mjs >> now.txt
expect now.txt <<'SEEN'
version 1: cryptography reads it, joserfc reads it, jwcrypto reads it, biscuit-python reads it, PyCryptodome reads it
version 2, attribute and public key: cryptography ValueError, joserfc ValueError, jwcrypto ValueError, biscuit-python ValueError, PyCryptodome reads it
version 2, public key: cryptography ValueError, joserfc ValueError, jwcrypto ValueError, biscuit-python ValueError, PyCryptodome reads it
PyCryptodome writes version 1: True
Chromium, key 1: reads it
Chromium, key 2: DataError
Chromium, key 3: DataError
SEEN
