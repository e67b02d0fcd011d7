"""Introspection responses as signed JWTs (RFC 9701), and the header that requests them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from affiant.jose import compact
from affiant.jose.claims import LEEWAY, instant, media_type
from affiant.jose.compact import Verified
from affiant.jose.signer import AnySigner
from affiant.oauth import names

MEDIA_TYPE = f"application/{names.INTROSPECTION_TYP}"
_MAX_ACCEPT = 1024  # characters of the header that are read
_QUALITY = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)
_JSON = ("application/json", "application/*", "*/*")


def wants_jwt(accept: Sequence[bytes]) -> bool:
    """Whether the Accept header requests a JWT: by its name (section 4), and with no lower quality than JSON.

    ``*/*`` means JSON. With equal quality the JWT is sent: the caller named it on purpose.
    """
    wanted = _qualities(b",".join(accept))
    jwt = wanted.get(MEDIA_TYPE, 0.0)
    # RFC 9110 section 12.5.1: the most specific range counts.
    json = next((wanted[name] for name in _JSON if name in wanted), 0.0)
    return jwt > 0 and jwt >= json


async def build(members: dict[str, Any], *, issuer: str, audience: str, now: float, signer: AnySigner) -> str:
    """Return the compact JWS of a response (section 5); `audience` is the client_id of the API."""
    # Attack: the response is used as an access token. It has neither sub nor exp.
    claims = {"iss": issuer, "aud": audience, "iat": int(now), "token_introspection": members}
    return await compact.sign_with(names.INTROSPECTION_TYP, claims, signer)


def verify(verified: Verified, *, issuer: str, audience: str, now: float, max_age: int = 60) -> dict[str, Any]:
    """Return the members of a response that is at most `max_age` seconds old, or raise ValueError."""
    claims = verified.claims
    if media_type(verified.header.get("typ")) != names.INTROSPECTION_TYP:
        raise ValueError(f"the answer has not the typ {names.INTROSPECTION_TYP}")
    if claims.get("iss") != issuer or claims.get("aud") not in (audience, [audience]):
        raise ValueError("the answer is of another issuer, or for another client")
    iat = instant(claims, "iat")
    if iat is None or not now - max_age - LEEWAY <= iat <= now + LEEWAY:
        raise ValueError("the answer is not of this time")
    members = claims.get("token_introspection")
    if not isinstance(members, dict) or not isinstance(members.get("active"), bool):
        raise ValueError("the answer does not say whether the token is active")  # noqa: TRY004 - callers catch one kind
    return members


def _qualities(accept: bytes) -> dict[str, float]:
    """Return the media types in lower case with their quality; 0 if it cannot be read."""
    found: dict[str, float] = {}
    for item in accept[:_MAX_ACCEPT].decode("latin-1").split(","):
        name, *parameters = [part.strip() for part in item.lower().split(";")]
        qualities = [part for part in parameters if part.startswith("q=")]
        known = _QUALITY.fullmatch(qualities[0]) if qualities else None
        found[name] = float(known[1]) if known else (0.0 if qualities else 1.0)
    return found
