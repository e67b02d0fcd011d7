"""Claims that more than one kind of token has, read by their type."""

from __future__ import annotations

import math
from typing import Any

LEEWAY = 30  # seconds that the two clocks may differ
_LAST = 10**15  # far beyond any date, in seconds or milliseconds; larger integers would overflow a float


def instant(claims: dict[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519 section 2) in seconds, or None where it is absent."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, int) and abs(value) > _LAST:
        raise ValueError(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(name)
    return value


def text(claims: dict[str, Any], name: str, *, longest: int = 256) -> str | None:
    """A string of 1 to `longest` characters, or None for anything else."""
    value = claims.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= longest else None


def audiences(claims: dict[str, Any]) -> tuple[str, ...]:
    """Return the strings of `aud`, which is one of them or an array (RFC 7519 section 4.1.3)."""
    aud = claims.get("aud")
    return tuple(value for value in (aud if isinstance(aud, list) else [aud]) if isinstance(value, str))


def media_type(typ: object) -> str | None:
    """The `typ` in lower case without its optional ``application/`` (RFC 7515 section 4.1.9); None if not a string."""
    return typ.lower().removeprefix("application/") if isinstance(typ, str) else None
