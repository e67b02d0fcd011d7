"""Instants and durations for people. A page has UTC; its script adds the local time."""

from __future__ import annotations

import re
from datetime import UTC, datetime

LAST = 10**11  # seconds since 1970: an edited record may say any number
_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def utc(at: float) -> str:
    """Return an instant, such as 2026-11-29 18:05:07Z."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def moment(value: object) -> str:
    """Return the instant that a claim has, whatever was given as one; nothing for what is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return utc(float(value)) if is_number and isinstance(value, int | float) and 0 <= value < LAST else ""


def clock(at: float) -> str:
    """Return the time of a day, such as 18:05:07.250."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]


def machine(at: float) -> str:
    """Return an instant by RFC 3339."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def duration(seconds: float) -> str:
    """Return a duration in its largest unit, such as 3 days."""
    left = abs(seconds)
    for size, name in _UNITS:
        if left >= size:
            count = int(left // size)
            return f"{count} {name}{'s' if count > 1 else ''}"
    return "a moment"


def relative(at: float, now: float) -> str:
    """Return an instant as seen from now: 3 days ago, in 2 hours."""
    return f"{duration(now - at)} ago" if at <= now else f"in {duration(at - now)}"


def parse(text: str, now: float) -> float | None:
    """Return the instant that a filter names: 15m or 7d for so long ago, RFC 3339, or seconds since 1970."""
    if (ago := _AGO.fullmatch(text)) is not None:
        return max(0.0, now - int(ago[1]) * _SECONDS[ago[2]])
    if text.isascii() and text.isdecimal() and len(text) < len(str(LAST)):
        return float(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    # Without an offset it is UTC, as everything on these pages.
    at = (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    return at if 0 <= at < LAST else None
