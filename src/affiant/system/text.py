"""Text for people: instants, and text of others that a terminal must not obey."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


def instant(at: float) -> str:
    """Return seconds since the epoch as ``2026-11-28 22:41:19 UTC``."""
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S UTC}"
    except (ValueError, OverflowError, OSError):
        return "at an impossible time"


def timestamp(at: float) -> str:
    """Return seconds since the epoch as ``2026-11-28T22:41:19.120Z`` (RFC 3339)."""
    return f"{_second(int(at))}.{int(at % 1 * 1000):03d}Z"


@lru_cache(maxsize=8)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def one_line(error: Exception) -> str:
    """Return the message of an error in one line."""
    return "; ".join(part.strip() for part in str(error).splitlines() if part.strip())


def printable(text: object, longest: int | None = None) -> str:
    """Return the text with every unprintable character escaped, cut to `longest` characters; "" if it is no str."""
    if not isinstance(text, str):
        return ""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[:longest])[:longest]
