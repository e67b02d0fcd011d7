"""Sign what the rows of the grid present: access tokens of one issuer, each with one thing wrong, or nothing."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable
from typing import Any

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from affiant.jose import keys
from affiant.jose.keys import PrivateKey
from affiant.testing import ABSENT

# Issuers of one peer end in a slash, so this one does.
ISSUER, API, SCOPE = "https://as.example/", "https://api.example", "orders.read"
KEY, RSA_KEY = keys.generate("ES256"), keys.generate("RS256")
ENCRYPTION_KEY, OPERATIONS_KEY = keys.generate("ES256"), keys.generate("ES256")
STRANGER = keys.generate("RS256")  # has no key of the issuer

JWKS: dict[str, Any] = {
    "keys": [
        {**KEY.public().to_jwk(), "use": "sig"},
        RSA_KEY.public().to_jwk(),
        {**ENCRYPTION_KEY.public().to_jwk(), "use": "enc"},
        {**OPERATIONS_KEY.public().to_jwk(), "key_ops": ["encrypt"]},
    ]
}
METADATA = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}jwks", "token_endpoint": f"{ISSUER}token"}


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a valid token with these changes; ABSENT leaves one out."""
    now = int(time.time())
    given = {
        "iss": ISSUER,
        "aud": API,
        "sub": "billing",
        "client_id": "billing",
        "iat": now,
        "exp": now + 3600,
        "jti": "token-1",
        "scope": SCOPE,
    }
    return _changed(given, changes)


def header(key: PrivateKey = KEY, **changes: Any) -> dict[str, Any]:
    return _changed({"typ": "at+jwt", "alg": key.alg, "kid": key.kid}, changes)


def _changed(members: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**members, **changes}.items() if value is not ABSENT}


def raw(head: bytes, payload: bytes, key: PrivateKey = KEY) -> str:
    """Sign these bytes, whatever they are."""
    signed = f"{encode(head)}.{encode(payload)}"
    return f"{signed}.{encode(key.sign(signed.encode()))}"


def sign(head: dict[str, Any] | None = None, key: PrivateKey = KEY, **changes: Any) -> str:
    """Return a token with these changes of its claims, and in its header."""
    return raw(json.dumps(header(key, **(head or {}))).encode(), json.dumps(claims(**changes)).encode(), key)


def mac(secret: bytes) -> str:
    """Return a token with HS256."""
    signed = f"{encode(json.dumps(header(alg='HS256')).encode())}.{encode(json.dumps(claims()).encode())}"
    made = hmac.HMAC(secret, hashes.SHA256())
    made.update(signed.encode())
    return f"{signed}.{encode(made.finalize())}"


def der_signature() -> str:
    """Return a token whose signature is right, but in DER (RFC 7518 section 3.4 has two numbers of 32 bytes)."""
    signed, _, signature = sign().rpartition(".")
    plain = base64.urlsafe_b64decode(signature + "==")
    r, s = (int.from_bytes(part, "big") for part in (plain[:32], plain[32:]))
    return f"{signed}.{encode(encode_dss_signature(r, s))}"


def loose_bits() -> str:
    """Return a token with bits behind the end of its signature, which base64url does not count."""
    token = sign()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]


def altered() -> str:
    """Return a token whose signature has one other character."""
    signed, _, signature = sign().rpartition(".")
    return f"{signed}.{'B' if signature[0] != 'B' else 'C'}{signature[1:]}"


def members(pairs: Iterable[tuple[str, Any]]) -> bytes:
    """Return a JSON object with these members, some of them twice."""
    return ("{" + ", ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in pairs) + "}").encode()
