"""The groups of a node: what arrives while a commit runs shares the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from affiant.errors import Error, StoreError
from affiant.storage.entries import Entry, Outcome

_Waiting = tuple[Entry, asyncio.Future[Outcome]]

MAX_GROUP = 256
MAX_QUEUE = 20_000  # more than this waiting means the database does not keep up: refuse, do not pile up
WAIT_SECONDS = 2.5  # how long an entry waits, its commit included


class NotCommitted(StoreError):
    """It is certain that nothing of the group was committed, and one entry alone may be to blame."""


class Groups:
    """Commits entries together, one group after the other.

    Attributes:
        has_failed: whether a commit has failed since the last reset, for another cause than one of its entries.
    """

    def __init__(self, commit: Callable[[Sequence[Entry]], Awaitable[Sequence[Outcome]]]) -> None:
        self._commit = commit
        self._waiting: deque[_Waiting] = deque()
        self._running: asyncio.Task[None] | None = None
        self._is_closing = False
        self.has_failed = False

    def open(self) -> None:
        """Begin, or begin again."""
        self._is_closing = False

    async def submit(self, entry: Entry) -> Outcome:
        """Commit this entry with others."""
        if self._is_closing or len(self._waiting) >= MAX_QUEUE:
            raise StoreError("the database is closing" if self._is_closing else "too many writes are waiting")
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, future))
        if self._running is None:
            # Begins in the next turn of the loop: what this turn still brings is in the first group already.
            self._running = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await future
        except TimeoutError:
            raise StoreError("the database did not commit in time") from None

    async def close(self) -> None:
        """Commit what is waiting, and end."""
        self._is_closing = True
        if self._running is not None:
            await self._running

    async def _run(self) -> None:
        try:
            while self._waiting:
                size = min(len(self._waiting), MAX_GROUP)
                taken = [self._waiting.popleft() for _ in range(size)]
                # Whoever stopped waiting got an error: what they asked for must not happen after all.
                group = [(entry, future) for entry, future in taken if not future.done()]
                if group:
                    await self._settle(group)
        finally:
            self._running = None

    async def _settle(self, group: list[_Waiting]) -> None:
        try:
            outcomes = await self._commit([entry for entry, _ in group])
        except NotCommitted as error:
            if len(group) == 1:
                _fail(group, error)
                return
            for one in group:  # find the one to blame, spare the rest
                await self._settle([one])
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may be left waiting
            self.has_failed = True
            # Never again on our own: an answer that was lost may have been "committed".
            _fail(group, error)
        else:
            for (_, future), outcome in zip(group, outcomes, strict=True):
                if not future.done():
                    future.set_result(outcome)


def _fail(group: list[_Waiting], error: Exception) -> None:
    said = str(error) if isinstance(error, Error) else f"the database did not commit: {error!r}"
    for _, future in group:
        if not future.done():
            future.set_exception(StoreError(said))
