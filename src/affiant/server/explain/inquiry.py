"""Find the known mistake in a refused request, after its answer, and record it.

Off the path of requests, and bounded: a flood of bad signatures costs as much as SEARCHES of them each second. The same
work is done for a client that does not exist, so that a busy server says nothing about names.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from affiant.server.client_auth import dummy
from affiant.server.client_auth.findings import Evidence
from affiant.server.explain import hints
from affiant.server.explain.hints import Hint
from affiant.server.request.visit import Visit
from affiant.storage.entries import AuditRecord, Entry, JtiClaim
from affiant.storage.ports import Ledger

SECONDS = 1.0  # between two looks
SEARCHES = 2  # in one look
_WAITING = 8  # requests that wait for one; more are not examined
EXPLAINED: Final = "explained"  # the outcome of such a record


def trace_id(of: str) -> str:
    """Return the trace id of the hint for this request."""
    return f"{of}.hint"


class Inquiry:
    """Takes refused requests, and records a hint for those that a known mistake explains."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._waiting: deque[tuple[str, str, float, Evidence | JtiClaim]] = deque()

    def offer(self, visit: Visit) -> None:
        """Queue a request that was refused and recorded, if there is room."""
        evidence = self._evidence(visit)
        if evidence is not None and len(self._waiting) < _WAITING:
            self._waiting.append((visit.trace_id, visit.endpoint, visit.now, evidence))

    async def work(self) -> None:
        """Examine a few of the waiting requests."""
        for _ in range(min(SEARCHES, len(self._waiting))):
            trace, endpoint, at, evidence = self._waiting.popleft()
            hint = await self._search(evidence, at)
            if hint is not None:
                record = AuditRecord(
                    at=self._clock(),
                    trace_id=trace_id(trace),
                    endpoint=endpoint,
                    outcome=EXPLAINED,
                    hint=hint.text,
                    subject=f"request {trace}",
                )
                await self._ledger.claim(Entry(record))

    def _evidence(self, visit: Visit) -> Evidence | JtiClaim | None:
        if visit.authenticated is not None:
            return visit.authenticated.claim
        found = visit.findings
        # The record already names a wrong form that needs no key to be seen.
        return found.evidence if found is not None and found.hint is None else None

    async def _search(self, evidence: Evidence | JtiClaim, at: float) -> Hint | None:
        if isinstance(evidence, JtiClaim):
            until = await self._ledger.find_claim(evidence.client_id, evidence.digest)
            return Hint(hints.KEPT if until == evidence.expires_at else hints.REPEATED)
        return await asyncio.to_thread(_find, evidence, at)


def _find(evidence: Evidence, at: float) -> Hint | None:
    client, unverified = evidence.client, evidence.unverified
    if client is None:
        hints.find(*dummy.keys_of(unverified.alg), unverified, evidence.text)
        return None
    return hints.find(client.keys.usable(at), [key for key, _ in client.macs], unverified, evidence.text)
