"""What the vectors of Wycheproof need beyond affiant: payloads that are not JSON, and secrets as JWKs."""

from typing import Any, NamedTuple

from affiant.errors import ConfigError
from affiant.jose import base64url, compact, jwk
from affiant.jose.keys import SecretKey


class Envelope(NamedTuple):
    alg: str
    kid: str | None
    payload: bytes
    signing_input: bytes
    signature: bytes


def parse_envelope(text: str) -> Envelope:
    """Parse a JWS with any payload by the strict parser, without its step for claims."""
    parts = compact._split(text, compact.MAX_CHARACTERS)
    _, alg, kid = compact._read_header(parts[0])
    payload = compact._decode(parts[1])
    return Envelope(alg, kid, payload, f"{parts[0]}.{parts[1]}".encode(), compact._decode(parts[2]))


def parse_secret_jwk(document: dict[str, Any]) -> SecretKey:
    """Return the secret in a JWK of type oct, which must name its algorithm (RFC 7518 section 6.4)."""
    jwk.check_use(document, "verify")
    alg, text = document.get("alg"), document.get("k")
    if document.get("kty") != "oct" or not isinstance(alg, str) or not isinstance(text, str):
        raise ConfigError("a secret is a JWK with kty oct, alg and k")
    try:
        secret = base64url.decode(text)
    except ValueError as error:
        raise ConfigError("k must be base64url without padding") from error
    return SecretKey(secret, alg, jwk.kid(document))
