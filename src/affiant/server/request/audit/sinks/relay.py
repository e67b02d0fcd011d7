"""Deliver audit records to a sink, from its cursor on; one process of all nodes does it at a time.

Order: the batch is delivered before the cursor moves. If a process is killed in between, the next one sends it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.applications import Starlette

from affiant.errors import Error
from affiant.server.request.audit.sinks.lag import Lag, lag_of
from affiant.server.request.audit.sinks.sink import SEND_SECONDS, Sink, SinkError, read
from affiant.storage.ports import Store
from affiant.system.text import printable

Result = TypeVar("Result")
log: logging.Logger = logging.getLogger(__name__)
NOW = "now"  # a new sink gets the records from its first start on
START = "start"  # it gets the whole log
LEASE_SECONDS = 15  # after it, another process takes over from one that was killed
_RENEW_SECONDS = 4.0  # so that a batch always ends within the lease
LOOK_SECONDS = 1.0  # between two looks for records
_OTHERS_SECONDS = 5.0  # between two looks whether the lease is free
_PAUSE_SECONDS = 0.01  # between two batches, for requests
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0  # after a failure
_LONGEST_ASKED = 600  # that a sink may ask for
_LONGEST_PROBLEM = 300  # characters


class Relay:
    """Delivers records to one sink, while this process has the lease of its cursor.

    Args:
        sink: the receiver.
        store: an open store.
        begin: first record of a new sink: NOW or START.
        clock: seconds since the epoch.
    """

    def __init__(self, sink: Sink, store: Store, *, begin: str = NOW, clock: Callable[[], float] = time.time) -> None:
        self.name: str = sink.name
        self.lag: Lag | None = None  # None: another process has the sink
        self.problem: str = ""  # why the last batch was not delivered; no reason to refuse tokens
        self._sink = sink
        self._store = store
        self._begin = begin
        self._clock = clock
        self._holder = secrets.token_hex(8)
        self._number: int | None = None  # of the cursor, while this process has the lease
        self._renewed_at = 0.0
        self._wait = _FIRST_WAIT
        self._not_before = float("-inf")  # after a failure
        self._stopping = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, f"affiant-{sink.name}")

    async def run(self) -> None:
        """Deliver until `stop`."""
        while not self._stopping.is_set():
            pause = LOOK_SECONDS
            try:
                pause = await self.turn()
            except Error as error:  # of the store, which /health reports by itself
                self._number = None
                log.debug("%s: %s", self.name, error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
        with contextlib.suppress(Error):
            await self._store.cursors.release(self.name, self._holder)
        await self._in_thread(self._sink.close)

    def stop(self) -> None:
        """End after the batch in flight, once the cursor has moved."""
        self._stopping.set()

    async def turn(self) -> float:
        """Deliver one batch, if the sink is this process's; return the seconds until the next turn."""
        waiting = self._not_before - time.monotonic()
        if waiting > 0:
            if self._number is not None:
                await self._take()
            return min(waiting, _RENEW_SECONDS)
        number = await self._take()
        if number is None:
            self.lag = None
            return _OTHERS_SECONDS
        lines = await read(self._store.audit_log, number)
        if not lines:
            self.lag = Lag(0, 0.0)
            return LOOK_SECONDS
        try:
            await self._in_thread(self._sink.send, lines)
        except SinkError as error:
            await self._fail(number, error)
            return 0
        except Exception as error:
            log.exception("%s: unexpected", self.name)
            await self._fail(number, SinkError(f"it failed: {type(error).__name__}"))
            return 0
        self._mend()
        number = lines[-1].number
        is_ours = await self._store.cursors.advance(self.name, self._holder, number)
        self._number = number if is_ours else None
        self.lag = await lag_of(self._store.audit_log, number, self._clock())
        return _PAUSE_SECONDS if self.lag.records else LOOK_SECONDS

    async def _take(self) -> int | None:
        """Return the number of the cursor; keep the lease, or take it if it is free."""
        if self._number is not None and time.monotonic() - self._renewed_at < _RENEW_SECONDS:
            return self._number
        start, at = 0, time.monotonic()
        if self._number is None and self._begin == NOW:
            start = (await self._store.audit_log.head()).number
        number = await self._store.cursors.take(
            self.name, self._holder, now=int(self._clock()), seconds=LEASE_SECONDS, start=start
        )
        if number is not None and self._number is None:
            number = await self._resume(number) if await self._is_possible(number) else None
        self._number, self._renewed_at = number, at
        return number

    async def _is_possible(self, number: int) -> bool:
        """Attack: the cursor was moved ahead of the log, so that the sink would miss what comes, unseen."""
        if number <= (await self._store.audit_log.head()).number:
            return True
        await self._fail(number, SinkError("its cursor is ahead of the log: affiant audit sinks --forget " + self.name))
        return False

    async def _resume(self, number: int) -> int:
        """Skip records that a killed process delivered without moving the cursor, if the sink can report them."""
        newest = await self._in_thread(self._sink.newest)
        if newest is None or newest[0] <= number:
            return number
        for row in await self._store.audit_log.export(after=newest[0] - 1, limit=1):
            # By the link, too: the file may have the records of another server.
            if (row.number, row.link) == newest and await self._store.cursors.advance(
                self.name, self._holder, row.number
            ):
                return row.number
        return number

    async def _fail(self, number: int, error: SinkError) -> None:
        """Note the problem and back off with the lease; if it lasts, release the lease: another node may succeed."""
        problem = printable(str(error), _LONGEST_PROBLEM)
        if not self.problem:
            log.warning("%s: %s; records wait for it", self.name, problem)
        self.problem = problem
        asked = min(error.retry_after or 0, _LONGEST_ASKED)
        self._not_before = time.monotonic() + max(self._wait, asked)
        is_lasting, self._wait = self._wait >= _LONGEST_WAIT, min(2 * self._wait, _LONGEST_WAIT)
        await self._store.cursors.advance(self.name, self._holder, number, problem)
        self.lag = await lag_of(self._store.audit_log, number, self._clock())
        if is_lasting and not asked:
            self._number = self.lag = None
            await self._store.cursors.release(self.name, self._holder)

    def _mend(self) -> None:
        if self.problem:
            log.warning("%s: it works again", self.name)  # at the level of its begin, so that both are seen
        self.problem, self._wait = "", _FIRST_WAIT

    async def _in_thread(self, work: Callable[..., Result], *values: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *values)


@contextlib.asynccontextmanager
async def relaying(relays: Sequence[Relay]) -> AsyncIterator[None]:
    """Run the relays in the background; at the end release their leases, so that other processes take over at once."""
    tasks = [asyncio.create_task(relay.run()) for relay in relays]
    try:
        yield
    finally:
        for relay in relays:
            relay.stop()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=SEND_SECONDS + 1)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def attach(built: Starlette, relays: Sequence[Relay]) -> None:
    """Run the relays while this application runs, which opens the store."""
    inner = built.router.lifespan_context

    @contextlib.asynccontextmanager
    async def life(application: Starlette) -> AsyncIterator[Any]:
        async with inner(application) as state, relaying(relays):
            yield state

    built.router.lifespan_context = life
