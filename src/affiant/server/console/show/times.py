"""Instants and durations for people. A page has UTC; its script adds the local time."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def utc(at: float) -> str:
    """Return an instant, such as 2026-11-29 18:05:07Z."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


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
