"""How far the clock of an issuer is from ours, by the Date of its responses (RFC 9110 section 6.6.1)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from email.utils import parsedate_to_datetime

log: logging.Logger = logging.getLogger(__name__)

NOTABLE_SECONDS = 10.0  # a difference that is worth a warning: 30 make a guard refuse fresh tokens
_MOST_AGE = 10  # digits


class Clocks:
    """The clock of an issuer and that of this guard.

    Attributes:
        offset_seconds: by how much the issuer's is ahead, to a second or two; None if no response had a Date.
    """

    def __init__(self, issuer: str, clock: Callable[[], float]) -> None:
        self.offset_seconds: float | None = None
        self._issuer = issuer
        self.now = clock
        self._is_told = False

    def note(self, date: str, age: str, sent: float | None = None) -> None:
        """Compare the clocks by a response that has just come; warn once if they differ.

        `sent` is when its request was sent, by this clock: a server may write the Date before it lets a request wait.
        """
        try:
            served = parsedate_to_datetime(date)
        except (ValueError, TypeError, IndexError, OverflowError):
            return
        if served.tzinfo is None:
            return
        # RFC 9111 section 5.1: the response was in a cache for as long.
        age_seconds = int(age) if age.isascii() and age.isdecimal() and len(age) <= _MOST_AGE else 0
        now = self.now()
        offset = served.timestamp() + age_seconds - now
        if offset < 0 and sent is not None:
            offset = min(0.0, offset + max(0.0, now - sent))
        self.offset_seconds = offset
        self._tell(self.offset_seconds)

    def _tell(self, offset: float) -> None:
        is_notable = abs(offset) >= NOTABLE_SECONDS
        if is_notable and not self._is_told:
            log.warning(
                "this clock is %.0f s %s that of %s, by the Date of its response: set it, or good tokens are refused",
                *(abs(offset), "behind" if offset > 0 else "ahead of", self._issuer),
            )
        self._is_told = is_notable
