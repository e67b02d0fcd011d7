"""Log refused tokens of platforms by their issuers, for operators who watch the output of the server.

Attack: anyone can send such tokens, so the lines are limited. The audit log has all of them (`affiant trust refused`).
"""

from __future__ import annotations

import logging

from affiant.storage.entries import AuditRecord
from affiant.system.text import printable

log: logging.Logger = logging.getLogger(__name__)
MINUTE = 60.0  # seconds in which an issuer gets one line
MAX_ISSUERS = 20  # issuers with a line in a minute; one more line counts all other tokens
_LONGEST = 200  # characters of an issuer


class RefusedTokens:
    """Logs the first refused token of each issuer in a minute, and how many more there were."""

    def __init__(self) -> None:
        self._begun = float("-inf")
        self._issuers: set[str] = set()
        self._more = 0

    def note(self, record: AuditRecord) -> None:
        """Log this refusal, if its issuer has no line in this minute yet."""
        if record.issuer is None or "://" not in record.issuer:  # a client's own assertion with a wrong name
            return
        if not self._begun <= record.at < self._begun + MINUTE:
            self._begin(record.at)
        issuer = printable(record.issuer, _LONGEST)
        if issuer in self._issuers or len(self._issuers) >= MAX_ISSUERS:
            self._more += 1
            return
        self._issuers.add(issuer)
        log.warning("a token of %s is refused: %s; affiant explain %s", issuer, record.reason, record.trace_id)

    def _begin(self, at: float) -> None:
        if self._more:
            log.warning("%d more tokens of platforms were refused in that minute: affiant trust refused", self._more)
        self._begun, self._more = at, 0
        self._issuers.clear()
