#!/usr/bin/env bash
# One ML-DSA key in a JWK Set: one of four Python libraries then reads none of the other keys
#
# Guess:   a reader ignores a key whose kty it does not know, as RFC 7517 section 5 says, and reads the others.
# Version: PyJWT 2.15.1, joserfc 1.8.0, Authlib 1.9.10, jwcrypto 1.6.1
# Seen:    authlib.jose raises KeyError for the whole set. PyJWT leaves the AKP key out, and also an Ed25519 key whose
#          "alg" is "Ed25519", the name of RFC 9864; with "EdDSA" it keeps it.
# So:      do not let one API's choice of ML-DSA reach the JWK Set of verifiers that were not asked.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with pyjwt==2.15.1 joserfc==1.8.0 authlib==1.9.10 jwcrypto==1.6.1 cryptography==50.0.0

cat > seen.py <<'PY'
import base64, json, warnings

warnings.simplefilter("ignore")
import jwcrypto.jwk
import jwt
from authlib.jose import JsonWebKey
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from joserfc.jwk import KeySet


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


point = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
curve = {"kty": "EC", "crv": "P-256", "x": b64(point.x.to_bytes(32)), "y": b64(point.y.to_bytes(32))}
edwards = {"kty": "OKP", "crv": "Ed25519", "x": b64(ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw())}
lattice = {"kty": "AKP", "pub": b64(MLDSA44PrivateKey.generate().public_key().public_bytes_raw())}
document = {
    "keys": [
        {**curve, "kid": "es256", "alg": "ES256"},
        {**lattice, "kid": "ml-dsa", "alg": "ML-DSA-44"},
        {**edwards, "kid": "ed25519", "alg": "Ed25519"},
        {**edwards, "kid": "eddsa", "alg": "EdDSA"},
    ]
}
text = json.dumps(document)


def show(name, read):
    try:
        print(f"{name}: {', '.join(sorted(read()))}")
    except Exception as error:
        print(f"{name}: {type(error).__name__}")


show("PyJWT", lambda: [key.key_id for key in jwt.PyJWKSet.from_json(text).keys])
show("joserfc", lambda: [key.kid for key in KeySet.import_key_set(document).keys])
show("Authlib", lambda: [key.as_dict()["kid"] for key in JsonWebKey.import_key_set(document).keys])
show("jwcrypto", lambda: [key["kid"] for key in jwcrypto.jwk.JWKSet.from_json(text)["keys"]])
PY
"$python" seen.py > now.txt
expect now.txt <<'SEEN'
PyJWT: eddsa, es256
joserfc: ed25519, eddsa, es256
Authlib: KeyError
jwcrypto: ed25519, eddsa, es256, ml-dsa
SEEN
