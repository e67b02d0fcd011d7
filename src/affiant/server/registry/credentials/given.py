"""Public keys as people have them: PEM, JWK, JWK Set or certificate."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from affiant.errors import ConfigError
from affiant.jose import jwk, keys
from affiant.jose.key_set import KeySet
from affiant.jose.keys import PublicKey
from affiant.oauth.binding import mtls


def parse(text: bytes, where: object, *, alg: str | None = None) -> KeySet:
    """Return the keys in a text of any kind, which was found `where`; `alg` is for PEM, which names none.

    Raises ConfigError if it has none that is accepted, or a private one. Its message shows nothing of the text.
    """
    if b"BEGIN CERTIFICATE" in text and b"PRIVATE KEY" not in text:
        return KeySet((parse_certificate(text, where),))
    if not text.lstrip().startswith(b"{"):
        return KeySet((keys.parse_public_pem(text, alg=alg),))
    document = parse_json(text, where)
    return KeySet.parse_given(document) if "keys" in document else KeySet((keys.parse_public_jwk(document),))


def parse_certificate(text: bytes, where: object) -> PublicKey:
    """Return the key of a certificate in PEM, with the certificate."""
    try:
        certificate = mtls.parse_pem(text.decode("ascii"))
    except ValueError:
        raise ConfigError(f"{where} has no certificate in PEM (BEGIN CERTIFICATE)") from None
    members = jwk.build(certificate.content.public_key())
    return keys.parse_public_jwk({**members, "x5c": [b64encode(certificate.der).decode("ascii")]})


def parse_json(text: bytes, where: object) -> Any:
    """Return the JSON document."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigError(f"{where} is not JSON") from None
