"""Build what a client sends: assertions, forms, proofs and headers, each with any part changed or left out."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus

from affiant.jose import compact, keys
from affiant.jose.keys import PrivateKey
from affiant.jose.signer import Signer
from affiant.oauth import names
from affiant.oauth.binding.dpop import hash_of
from affiant.testing.clock import NOW

ISSUER = "https://as.example"
KEY = keys.generate("ES256")
ABSENT = "absent"  # as the value of a claim, a header member or a parameter: leave it out


def changed(members: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members with these changes, without those whose value is ABSENT."""
    return {name: value for name, value in {**members, **changes}.items() if value != ABSENT}


def claims(client_id: str, /, *, issuer: str = ISSUER, now: float = NOW, **changes: Any) -> dict[str, Any]:
    """Return the claims of a client assertion that lives a minute and was never used, with these changes."""
    given = {"iss": client_id, "sub": client_id, "aud": issuer, "exp": int(now) + 60, "iat": int(now)}
    return changed({**given, "jti": secrets.token_urlsafe(16)}, changes)


def assertion(
    client_id: str,
    /,
    *,
    key: Signer = KEY,
    issuer: str = ISSUER,
    now: float = NOW,
    header: Mapping[str, Any] | None = None,
    **changes: Any,
) -> str:
    """Build a client assertion (RFC 7523 section 3) that lives a minute and was never used.

    Args:
        client_id: becomes `iss` and `sub`.
        key: what signs; its `alg` and `kid` go into the header.
        issuer: becomes `aud`.
        now: seconds since the epoch.
        header: members of the header, such as `typ`.
        changes: claims to set instead; ABSENT leaves one out.
    """
    return compact.sign(dict(header or {}), claims(client_id, issuer=issuer, now=now, **changes), key)


def form(client_assertion: str, /, **parameters: Any) -> dict[str, Any]:
    """Build the form of a client_credentials request (RFC 7523 section 2.2).

    Args:
        client_assertion: authenticates the client.
        parameters: parameters to set instead or to add; ABSENT leaves one out.
    """
    given = {
        "grant_type": names.CLIENT_CREDENTIALS,
        "client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE,
        "client_assertion": client_assertion,
    }
    return changed(given, parameters)


def basic(client_id: str, client_secret: str) -> dict[str, str]:
    """Return the Authorization header of client_secret_basic (RFC 6749 section 2.3.1)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
    return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def bearer(access_token: str) -> dict[str, str]:
    """Return the Authorization header of a bearer token (RFC 6750 section 2.1)."""
    return {"authorization": f"Bearer {access_token}"}


def proof(
    key: PrivateKey = KEY,
    *,
    method: str = "POST",
    url: str = f"{ISSUER}/token",
    now: float = NOW,
    access_token: str | None = None,
    signer: Signer | None = None,
    header: Mapping[str, Any] | None = None,
    **claims: Any,
) -> str:
    """Build a DPoP proof (RFC 9449 section 4.2) that was never used.

    Args:
        key: what the proof names, and what signs it.
        method: becomes `htm`.
        url: becomes `htu`.
        now: seconds since the epoch.
        access_token: goes along with the proof to an API; its hash becomes `ath`.
        signer: signs in place of `key`.
        header: members of the header to set instead; ABSENT leaves one out.
        claims: claims to set instead; ABSENT leaves one out.
    """
    jwk = {name: value for name, value in key.public().to_jwk().items() if name not in {"kid", "alg"}}
    given: dict[str, Any] = {"jti": secrets.token_urlsafe(16), "htm": method, "htu": url, "iat": int(now)}
    if access_token is not None:
        given["ath"] = hash_of(access_token)
    headers = changed({"typ": names.DPOP_TYP, "jwk": jwk}, header or {})
    return compact.sign(headers, changed(given, claims), signer or key)
