"""Read claims of JWTs by their type (RFC 7519 section 4)."""

from __future__ import annotations

import math
from typing import Any

LEEWAY = 30  # seconds by which two clocks may differ
_LAST = 10**15  # far beyond any date, in seconds or milliseconds; larger integers would overflow a float


def instant(claims: dict[str, Any], name: str) -> float | None:
    """Return a NumericDate (RFC 7519 section 2) in seconds, or None if absent; raise ValueError if it is no number."""
    value = claims.get(name)
    if type(value) is int and -_LAST <= value <= _LAST:
        return value
    if name not in claims:
        return None
    if isinstance(value, int) and abs(value) > _LAST:
        raise ValueError(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(name)
    return value


def text(claims: dict[str, Any], name: str, *, longest: int = 256) -> str | None:
    """Return a string of 1 to `longest` characters; None for anything else."""
    value = claims.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= longest else None


def audiences(claims: dict[str, Any]) -> tuple[str, ...]:
    """Return the strings of `aud`, which is a string or an array (RFC 7519 section 4.1.3)."""
    aud = claims.get("aud")
    if isinstance(aud, str):
        return (aud,)
    return tuple(value for value in (aud if isinstance(aud, list) else [aud]) if isinstance(value, str))


def media_type(typ: object) -> str | None:
    """Return `typ` in lower case, without the optional ``application/`` (RFC 7515 section 4.1.9)."""
    return typ.lower().removeprefix("application/") if isinstance(typ, str) else None
