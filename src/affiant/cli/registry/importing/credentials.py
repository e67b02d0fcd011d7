"""Turn the keys and secrets of an export into members of a client."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from affiant.errors import ConfigError
from affiant.jose import keys
from affiant.jose.key_set import KeySet
from affiant.jose.keys import PublicKey
from affiant.oauth import names
from affiant.server.registry.credentials import given

BY_SECRET = (names.CLIENT_SECRET_BASIC, names.CLIENT_SECRET_POST)


def from_set(document: Any) -> tuple[dict[str, Any], list[str]]:
    """Return `jwks` for the keys of a JWK Set, and why other members of it are left out."""
    found = KeySet.parse_given(document)
    return {"jwks": found.to_jwks()}, [f"key left out: {member}" for member in found.left_out]


def from_set_text(text: str) -> tuple[dict[str, Any], list[str]]:
    """Return `jwks` for a JWK Set in a string."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigError("its JWK Set is not JSON") from None
    return from_set(document)


def from_pem(text: str, *, kid: str = "", alg: str = "") -> dict[str, Any]:
    """Return `jwks` for a public key or a certificate in PEM."""
    (found, *_) = given.parse(text.encode(), "the export", alg=alg or None).keys
    return _named(found, kid)


def from_base64(text: str, kind: str, *, kid: str = "") -> dict[str, Any]:
    """Return `jwks` for the DER of a certificate or public key, which is `kind`, in base64 as Keycloak writes it."""
    body = "\n".join(textwrap.wrap("".join(text.split()), 64))
    return from_pem(f"-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n", kid=kid)


def joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return `jwks` with the keys of all of these."""
    return {"jwks": {"keys": [key for part in parts for key in part["jwks"]["keys"]]}}


def _named(found: PublicKey, kid: str) -> dict[str, Any]:
    """Return `jwks` for a key; its certificate stays behind, which ends before the key does."""
    jwk = {name: value for name, value in found.to_jwk().items() if not name.startswith("x5")}
    if kid:
        jwk["kid"] = kid
    elif found.certificate is not None:
        jwk.pop("kid", None)
    return {"jwks": KeySet((keys.parse_public_jwk(jwk),)).to_jwks()}
