"""Watch the database on a connection of its own: its version, its clock, and whether this node is the runner.

The runner is the node that purges. NOTIFY announces every change. Since an announcement can be lost with its
connection, the node also polls several times a second; and a caller whose last answer is too old asks itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from affiant.errors import Error, StoreError
from affiant.storage.postgres.connection import CALL_SECONDS, LOST, Address, connect
from affiant.storage.postgres.schema import RUNNER_LOCK

CHANNEL = "affiant_changed"
ASK_SECONDS = 0.25
FRESH_SECONDS = 0.5  # age of a usable answer; with the 0.1 s of the server's own cache, a change is seen within 1 s
# Between the clocks of node and database: the leeway of assertions. Beyond it this node would accept assertions that
# have expired elsewhere, and delete claims whose assertions another node still accepts.
MAX_CLOCK_OFFSET = 30.0

_ASK = "SELECT number, extract(epoch FROM clock_timestamp())::float8 FROM version"
_RUN = "SELECT pg_try_advisory_lock($1)"


class Watch:
    def __init__(self, address: Address, *, on_loss: Callable[[], None], clock: Callable[[], float]) -> None:
        self._address = address
        self._on_loss = on_loss
        self._clock = clock
        self._connection: Any = None
        self._task: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._number = 0
        self._seen_at = float("-inf")
        self._in_use = asyncio.Lock()
        self.is_runner: bool = False
        self.clock_offset: float = 0.0

    async def open(self) -> None:
        await self._ask()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End, so that another node becomes the runner."""
        for task in (self._task, self._asking):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, StoreError):
                    await task
        connection, self._connection, self.is_runner = self._connection, None, False
        if connection is not None:
            # Closed, not terminated, so that the lock is free when this returns.
            with contextlib.suppress(*LOST):
                await connection.close(timeout=CALL_SECONDS)

    def note(self, number: int) -> None:
        """Note the store's version after a change."""
        self._number = max(self._number, number)

    async def version(self) -> int:
        """The store's version, at most FRESH_SECONDS old."""
        if time.monotonic() - self._seen_at > FRESH_SECONDS:
            # One query for all callers that wait; a caller that is cancelled does not cancel it.
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask())
                self._asking.add_done_callback(_heed)
            await asyncio.shield(self._asking)
        return self._number

    def check_clock(self) -> None:
        """Raise StoreError if this node's clock is too far from the database's."""
        if abs(self.clock_offset) > MAX_CLOCK_OFFSET:
            raise StoreError(
                f"this node's clock is {self.clock_offset:+.0f} s from that of the database {self._address}, more than"
                f" {MAX_CLOCK_OFFSET:.0f} s: set it right"
            )

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(ASK_SECONDS)
            with contextlib.suppress(Error):
                await self._ask()

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(CALL_SECONDS), self._in_use:
                is_new = self._connection is None or self._connection.is_closed()
                if is_new:
                    await self._connect()
                begun_at, asked_at = time.monotonic(), self._clock()
                number, theirs = await self._connection.fetchrow(_ASK)
                self.clock_offset = (asked_at + self._clock()) / 2 - theirs
                # A new connection may reach another database: a replica that took over, or a backup.
                self._number = number if is_new else max(self._number, number)
                self._seen_at = begun_at
                if not self.is_runner:
                    self.is_runner = await self._connection.fetchval(_RUN, RUNNER_LOCK)
        except (*LOST, Error, asyncio.CancelledError) as error:
            self._lose()
            if isinstance(error, Error | asyncio.CancelledError):
                raise
            raise StoreError(f"the database {self._address} does not answer") from error

    async def _connect(self) -> None:
        self._connection, self.is_runner = None, False  # the old connection had the lock
        self._connection = await connect(self._address)
        await self._connection.add_listener(CHANNEL, self._hear)

    def _lose(self) -> None:
        connection, self._connection, self.is_runner = self._connection, None, False
        if connection is not None:
            connection.terminate()
            self._on_loss()

    def _hear(self, _: Any, __: int, ___: str, payload: str) -> None:
        self.note(int(payload))


def _heed(task: asyncio.Task[None]) -> None:
    # The callers have raised its exception; if all were cancelled, asyncio must not warn about it.
    if not task.cancelled():
        task.exception()
