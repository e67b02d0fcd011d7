"""Count the tokens of each client that has a budget, over all workers and nodes, without a look into the store.

The tokens of an hour are those that this process issued, which it knows exactly, and those of the other processes:
the total in the store at the last look, less what this process had written of it. What others issued since then, and
have not written yet, is missing. So an error lets more tokens through, for a few seconds, and never fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from affiant.errors.reasons import Reason
from affiant.server.request.counting.counts import Counts
from affiant.server.request.limits import Later
from affiant.server.request.notes import Request
from affiant.storage import ports
from affiant.storage.history.counts import HOUR, ISSUED, SECONDS, Count, Selection, begin
from affiant.storage.records import Client

LOOK_SECONDS: Final = 2.0
ACTIVE_SECONDS: Final = 60  # since its last request; the total of others is not looked up
AT_ONCE: Final = 500  # clients in one query
ENFORCE: Final = "enforce"


@dataclass(slots=True)
class _Hour:
    """The tokens of one client in the hour that begins at `at`."""

    at: int
    asked_at: float
    issued: int = 0  # by this process
    written: int = 0  # of these, to the store
    others: int = 0  # by other processes, and by those before


class Budgets:
    """The tokens of this clock hour (UTC) of the clients that have a budget and asked this process for a token.

    Args:
        counts: what this process counts.
        stored: the port of the store.
        clock: returns seconds since the epoch.
    """

    def __init__(self, counts: Counts, stored: ports.Counts, clock: Callable[[], float]) -> None:
        self._counts = counts
        self._stored = stored
        self._clock = clock
        self._hours: dict[str, _Hour] = {}  # by client_id
        counts.wrote = self._wrote

    def check(self, client: Client, request: Request) -> None:
        """Raise LIMIT_BUDGET for one token more than the budget, if that is enforced; else note it."""
        if client.token_budget is None:
            return
        tokens = self.tokens(client.client_id, request.now)
        if tokens < client.token_budget:
            return
        if client.budget != ENFORCE:
            request.notes.observe(Reason.LIMIT_BUDGET)
            return
        left = begin(HOUR, request.now) + SECONDS[HOUR] - request.now
        expected = f"at most {client.token_budget:,} tokens per hour"
        raise Later(Reason.LIMIT_BUDGET, left, expected=expected, got=f"one more after {tokens:,}")

    def tokens(self, client_id: str, now: float) -> int:
        """Return how many tokens the client got in the hour of this instant, as far as this process knows."""
        at, found = begin(HOUR, now), self._hours.get(client_id)
        if found is None or found.at != at:  # also if the clock was set back: the next look finds what is in the store
            found = self._hours[client_id] = _Hour(at, now)
        found.asked_at = now
        return found.issued + found.others

    def count(self, client: Client, request: Request) -> None:
        """Count a token once it is committed: a replayed assertion must not use up the budget of its client."""
        if client.token_budget is None:
            return
        found = self._hours.get(client.client_id)
        if found is not None and found.at == begin(HOUR, request.now):
            found.issued += 1

    async def look(self) -> None:
        """Read the totals of the clients that were active lately."""
        now = self._clock()
        at = begin(HOUR, now)
        self._hours = {client_id: found for client_id, found in self._hours.items() if found.at == at}
        active = [name for name, found in self._hours.items() if abs(now - found.asked_at) <= ACTIVE_SECONDS]
        for start in range(0, len(active), AT_ONCE):
            names = tuple(active[start : start + AT_ONCE])
            async with self._counts.between_writes:  # else the total has what is not known yet to be written
                totals = await self._stored.totals(Selection(HOUR, at, at + 1, names, (ISSUED,)))
                self._learn(at, names, {total.client_id: total.count for total in totals})

    def _learn(self, at: int, names: Sequence[str], totals: dict[str, int]) -> None:
        for name in names:
            found = self._hours.get(name)
            if found is not None and found.at == at:
                # Tokens issued before the first check, and written after it, are in `written` alone.
                found.others = max(0, totals.get(name, 0) - min(found.written, found.issued))

    def _wrote(self, rows: Sequence[Count]) -> None:
        for row in rows:
            if row.unit == HOUR and row.kind == ISSUED:
                found = self._hours.get(row.client_id)
                if found is not None and found.at == row.at:
                    found.written += row.count
