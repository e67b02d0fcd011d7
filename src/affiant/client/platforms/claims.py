"""The claims of a platform's token, read before it is sent. The server verifies its signature."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Any

from affiant.client.platforms.failure import PlatformError
from affiant.jose import base64url
from affiant.jose.strict_json import parse_object
from affiant.system.text import instant, printable

MAX_BYTES = 16_384  # of a token
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_OF_ONE_TOKEN = ("exp", "iat", "nbf", "jti", "uti")
_LONGEST = 200  # characters of a shown claim


def parse(text: str, *, who: str) -> dict[str, Any]:
    """Return the claims, or raise PlatformError, which shows nothing of the text."""
    if len(text) > MAX_BYTES:
        raise PlatformError(f"{who}: the token has more than {MAX_BYTES} bytes: let the platform put less into it")
    if _JWT.fullmatch(text) is None:
        raise PlatformError(
            f"{who}: what came is not a JWT: it must be the token alone, on one line, without quotes and without Bearer"
        )
    try:
        return parse_object(base64url.decode(text.split(".")[1]))
    except ValueError:
        raise PlatformError(f"{who}: what came is not a JWT: its claims cannot be read") from None


def check(claims: dict[str, Any], audience: str, now: float, *, who: str) -> None:
    """Reject what the server would refuse: another audience, or a token that has expired."""
    if claims.get("aud") is None:
        raise PlatformError(f"{who}: the token names no audience: the server would refuse it")
    if audience not in audiences(claims):
        raise PlatformError(
            f"{who}: the token is for {shown(claims.get('aud'))}, and not for {printable(audience, _LONGEST)}: let the"
            " platform issue it for that, or name its own audience (audience=, or --audience) if the server takes it"
        )
    exp = claims.get("exp")
    if isinstance(exp, bool) or not isinstance(exp, int | float):
        raise PlatformError(f"{who}: the token has no time of expiry (exp): the server would refuse it")
    if exp <= now:
        raise PlatformError(
            f"{who}: the token expired at {instant(exp)}: get a newer one from the platform, and look at the clock of"
            " this machine"
        )


def audiences(claims: dict[str, Any]) -> list[str]:
    aud = claims.get("aud")
    return [one for one in (aud if isinstance(aud, list) else [aud]) if isinstance(one, str)]


def shown(value: object) -> str:
    """Return a claim for a message."""
    if value is None:
        return "(none)"
    return printable(value if isinstance(value, str) else json.dumps(value), _LONGEST)


def identity(claims: dict[str, Any]) -> str:
    """Return a text that is the same for the tokens of one workload, and differs for another workload."""
    lasting = {name: value for name, value in claims.items() if name not in _OF_ONE_TOKEN}
    return sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()
