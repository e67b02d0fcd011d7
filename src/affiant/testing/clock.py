"""A clock that the test sets."""

from __future__ import annotations

NOW = 1_800_000_000


class Clock:
    """A clock that moves only when the test moves it.

    Give it wherever affiant takes `clock=`: calling it returns `now`.

    Attributes:
        now: seconds since the epoch.
    """

    def __init__(self, now: float = NOW) -> None:
        self.now: float = float(now)

    def __call__(self) -> float:
        """Return the time, in seconds since the epoch."""
        return self.now

    def __int__(self) -> int:
        """Return the time in whole seconds, as claims have it."""
        return int(self.now)

    def advance(self, seconds: float) -> None:
        """Move the clock forward, or back where `seconds` is negative."""
        self.now += seconds
