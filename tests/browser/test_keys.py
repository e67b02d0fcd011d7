"""Keys in the tab: what static/keys.js makes, reads and signs is what the server verifies."""

import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from playwright.sync_api import Page

from affiant.jose import compact, keys

RUN = """async ([name, given]) => {
  const keys = await import("/console/static/keys.js");
  const use = {
    made: async (alg) => { const key = await keys.generate(alg); return [key, await keys.sign(key, {alg, kid: key.kid}, {iss: "ü"})]; },
    read: async (text) => { const key = await keys.read(text); return [key, await keys.sign(key, {alg: key.alg}, {iss: "ü"})]; },
    refused: (text) => keys.read(text).then(() => "read", (error) => error.message),
  };
  return use[name](given);
}"""


def verify(found: Any) -> keys.PublicKey:
    """The public key of what the tab returned, which has verified its signature."""
    key, signed = found
    public = keys.parse_public_jwk(key["publicJwk"])
    assert compact.verify(compact.parse(signed), public).claims == {"iss": "ü"}
    return public


def test_make(page: Page) -> None:
    for alg in ("ES256", "ES384", "ES512", "EdDSA", "RS256", "PS256"):
        found = page.evaluate(RUN, ["made", alg])
        public = verify(found)
        assert public.thumbprint == found[0]["kid"], alg
        assert keys.parse_private_jwk(found[0]["privateJwk"]).public().thumbprint == public.thumbprint


def test_read_files(page: Page) -> None:
    private = keys.generate("ES256")
    held = private.to_jwk()
    for text in (json.dumps(held), json.dumps({"client_id": "billing", "key": held}), json.dumps({"keys": [held]})):
        assert verify(page.evaluate(RUN, ["read", text])).thumbprint == private.public().thumbprint
    pem = ec.generate_private_key(ec.SECP384R1())
    pkcs8 = pem.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    assert verify(page.evaluate(RUN, ["read", pkcs8])).crv == "P-384"
    sec1 = pem.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    assert "openssl pkcs8" in page.evaluate(RUN, ["refused", sec1])


def test_refuse_files(page: Page) -> None:
    public = json.dumps(keys.generate("ES256").public().to_jwk())
    cases = {
        "": "no private key",
        "{": "is none",
        "{}": "EC, OKP or RSA",
        public: "a public key",
        "null": "no private key",
    }
    for text, says in cases.items():
        assert says in page.evaluate(RUN, ["refused", text]), text
