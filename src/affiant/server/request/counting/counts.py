"""Count every decision in memory, and write the counts to the store every second (background.py).

A request adds one to one number. All else, such as which minute, hour and day it belongs to, waits for the next write.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from affiant.errors import StoreError
from affiant.oauth import names
from affiant.server.request.notes import Notes, Request
from affiant.storage import ports
from affiant.storage.history.counts import (
    AGE,
    API,
    DAY,
    HOUR,
    ISSUED,
    KEY,
    LATENCY,
    OBSERVED,
    OTHER,
    REFUSED,
    SERVER,
    UNITS,
    Count,
    begin,
)

TOKEN: Final = "token"  # noqa: S105 - the endpoint whose decisions are `issued` and `refused`
MAX_CELLS = 20_000  # different decisions, and different rows, that wait for a write
MAX_TIMES = 100_000  # decisions whose times wait for `fold`; then the oldest is lost
MAX_STRANGERS = 64  # names between two writes that no known client has; the rest counts for the whole server only
ROWS = 500  # written at once: more would keep tokens waiting for their commit
PAUSE_SECONDS = 0.01
PURGE_SECONDS = 60.0
_END = "inf"
_NUMBER = (int, float)  # a bool is none
_LATENCIES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)  # milliseconds
_AGES = (-60, -30, -10, -5, 0, 2, 5, 10, 30, 60, 120, 300, 3600)  # seconds
LATENCIES: Final = (*map(str, _LATENCIES), _END)
AGES: Final = (*map(str, _AGES), _END)
# From a clock that is right. Those of one client are counted for other ages only, which need few rows.
USUAL_AGES: Final = frozenset(AGES[AGES.index("0") : AGES.index("60")])


# Decisions that differ in nothing that is counted: minute, client_id, endpoint, method and grant, outcome, reason,
# credential, observed breaches, APIs, and the places in LATENCIES and AGES.
Cell = tuple[int, str, str, str, str, str, str | None, str | None, tuple[str, ...], str | None, int, int | None]
# The grants as labels of metrics. Attack: ever new names of grants would be ever new cells.
NO_GRANT, OTHER_GRANT, UNPROVED = "none", "other", "unproved"
GRANTS: Final = {
    None: NO_GRANT,
    names.CLIENT_CREDENTIALS: "client_credentials",
    names.REFRESH_TOKEN: "refresh_token",
    names.JWT_BEARER: "jwt-bearer",
    names.TOKEN_EXCHANGE: "token-exchange",
}
_Key = tuple[str, str, str, int, str]  # of a Count
# The endpoint, and by the clock of the process: when the request came, the token began to be made (None: none was), the
# record was made (None: it was not committed), and the commit was done.
Stamps = tuple[str, float, float | None, float | None, float]


class Counts:
    """The decisions in this process since the last write.

    Args:
        counts: the port of the store.
        is_known: whether a client of this name is registered, as far as is known without asking the store.
    """

    def __init__(self, counts: ports.Counts, is_known: Callable[[str], bool]) -> None:
        self._counts = counts
        self._is_known = is_known
        self._cells: dict[Cell, int] = {}
        self._rows: dict[_Key, int] = {}  # until they are written
        self._strangers: set[str] = set()
        self._writing: asyncio.Task[None] | None = None
        self._folding: asyncio.Task[None] | None = None
        # While it is held, the store has all counts that `wrote` got, and no more.
        self.between_writes: asyncio.Lock = asyncio.Lock()
        self.wrote: Callable[[Sequence[Count]], None] = lambda _: None  # takes what was written
        self.folded: Callable[[Cell, int], None] = lambda *_: None  # takes each cell, and how often it occurred
        self._stamps: deque[Stamps] = deque(maxlen=MAX_TIMES)
        self.timed: Callable[[Sequence[Stamps]], None] = lambda _: None  # takes the times of decisions

    def count(self, request: Request, reason: str | None = None, credential: str | None = None) -> None:
        """Count a decision: a refusal, if it has a reason; `credential` proved the client, and counts as used."""
        notes = request.notes
        caller, iat, now = notes.caller, notes.iat, int(request.now)
        observed: tuple[str, ...]
        if caller is None:
            client_id, observed, method = self._claimed(notes), (), UNPROVED
        else:
            client_id, observed, method = caller.client_id, caller.observed, caller.method
        counted = time.perf_counter()
        self._stamps.append((request.endpoint, request.started, notes.signing, notes.decided, counted))
        cell: Cell = (
            now // 60,
            client_id,
            request.endpoint,
            method,
            GRANTS.get(notes.grant, OTHER_GRANT),
            notes.outcome if reason is None else REFUSED,
            reason,
            credential,
            observed,
            notes.resource if reason is None else None,  # until then it is only what the client asks for
            bisect_left(_LATENCIES, (counted - request.started) * 1000),
            bisect_left(_AGES, now - iat) if iat.__class__ in _NUMBER else None,
        )
        try:
            self._cells[cell] += 1
        except KeyError:
            self._begin(cell)

    def _begin(self, cell: Cell) -> None:
        if len(self._cells) >= MAX_CELLS:
            minute, _, endpoint, method, grant, outcome, reason, *_ = cell
            cell = (minute, SERVER, endpoint, method, grant, outcome, reason, None, (), None, *cell[-2:])
        self._cells[cell] = self._cells.get(cell, 0) + 1

    def _claimed(self, notes: Notes) -> str:
        """Return the client that is named without proof, if it can be one.

        Attack: a flood of made-up names would take the room of the clients' counts.
        """
        name = notes.client_id or notes.claimed
        if name is None:
            return SERVER
        if self._is_known(name) or name in self._strangers:
            return name
        if len(self._strangers) >= MAX_STRANGERS:
            return SERVER
        self._strangers.add(name)
        return name

    async def write(self) -> None:
        """Add the counts to those in the store.

        A write that was begun is never cancelled: its rows may be in the store, and would be added again.
        """
        if self._writing is not None and not self._writing.done():
            with suppress(StoreError):
                await asyncio.shield(self._writing)
        self._writing = asyncio.create_task(self._write())
        await asyncio.shield(self._writing)

    async def purge(self, clock: Callable[[], float]) -> None:
        """Delete what was kept for long enough, in pieces with pauses between them."""
        deleted = await self._counts.purge(int(clock()))
        while deleted:
            await asyncio.sleep(PAUSE_SECONDS)
            deleted = await self._counts.purge(int(clock()))

    async def fold(self) -> None:
        """Work out what the decisions since the last time belong to, without a store; never cancelled half way."""
        if self._folding is not None:
            await asyncio.shield(self._folding)
        self._folding = asyncio.create_task(self._fold())
        await asyncio.shield(self._folding)

    async def _fold(self) -> None:
        cells, self._cells, self._strangers = self._cells, {}, set()
        stamps = list(self._stamps)
        self._stamps.clear()
        for start in range(0, len(stamps), ROWS):
            self.timed(stamps[start : start + ROWS])
            await asyncio.sleep(0)
        for number, (cell, count) in enumerate(cells.items(), 1):
            self.folded(cell, count)
            for key in _keys(cell):
                # Those of the whole server have few labels. They have room also while the store fails for a day.
                if key in self._rows or len(self._rows) < MAX_CELLS or key[0] == SERVER:
                    self._rows[key] = self._rows.get(key, 0) + count
            if number % ROWS == 0:
                await asyncio.sleep(0)

    async def _write(self) -> None:
        await self.fold()
        waiting = sorted(self._rows)
        for start in range(0, len(waiting), ROWS):
            keys = waiting[start : start + ROWS]
            rows = [_row(key, self._rows[key]) for key in keys]
            async with self.between_writes:
                await self._counts.add(rows)
                self.wrote(rows)
            for key in keys:
                del self._rows[key]
            if self._rows:
                await asyncio.sleep(PAUSE_SECONDS)


def _keys(cell: Cell) -> Iterator[_Key]:
    """Yield the keys of all counts that a decision belongs to."""
    minute, client_id, endpoint, _, _, outcome, reason, credential, observed, resource, latency, age_at = cell
    at = {unit: begin(unit, minute * 60) for unit in UNITS}
    kind, label = (OTHER, f"{endpoint} {outcome}") if endpoint != TOKEN else (outcome, reason or "")
    age = AGES[age_at] if age_at is not None else None
    breaches = [(OBSERVED, code) for code in observed]
    facts = ((kind, label), (LATENCY, LATENCIES[latency] if kind == ISSUED else None), (AGE, age), *breaches)
    apis = resource.split() if resource and kind == ISSUED else ()
    for unit in UNITS:
        yield from ((SERVER, unit, fact, at[unit], value) for fact, value in facts if value is not None)
    yield from ((SERVER, unit, API, at[unit], api) for unit in (HOUR, DAY) for api in apis)
    if client_id == SERVER:
        return
    if kind != OTHER:
        yield from ((client_id, unit, kind, at[unit], label) for unit in (HOUR, DAY))
    if credential is not None:
        yield client_id, HOUR, KEY, at[HOUR], credential
    if age is not None and age not in USUAL_AGES:
        yield client_id, DAY, AGE, at[DAY], age
    by_day = [*breaches, *((API, api) for api in apis)]
    yield from ((client_id, DAY, fact, at[DAY], value) for fact, value in by_day)


def _row(key: _Key, count: int) -> Count:
    client_id, unit, kind, at, label = key
    return Count(unit, at, client_id, kind, label, count)
