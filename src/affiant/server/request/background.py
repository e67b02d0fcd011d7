"""The background work of a server: small pieces, off the path of requests, retried when they fail."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import NamedTuple

from affiant.errors import Error, StoreError
from affiant.server.request.limits import Limits
from affiant.server.request.notes import without_credentials
from affiant.storage.entries import AuditRecord, Entry
from affiant.storage.ports import Ledger
from affiant.system.identifiers import new_trace_id

log: logging.Logger = logging.getLogger(__name__)
PURGE_SECONDS = 1.0  # between two searches for expired jtis and refresh tokens
AGAIN_SECONDS = 1.0  # after a failure
PAUSE_SECONDS = 0.01
SLOW_SECONDS = 2.0
LIMITS_SECONDS = 5.0  # between two records of what the limits refused
WRITE_SECONDS = 1.0  # between two writes of what is counted in memory


class Write(NamedTuple):
    """A piece of work that writes what is counted in memory."""

    name: str
    work: Callable[[], Awaitable[None]]
    seconds: float = WRITE_SECONDS


Piece = tuple[str, Callable[[], Awaitable[None]], float]


class Background:
    """The pieces of work, each with its own period; `also` may have one that is done once more at the end, a Write."""

    def __init__(
        self, ledger: Ledger, limits: Limits, clock: Callable[[], float], also: Sequence[Piece | Write] = ()
    ) -> None:
        self._ledger = ledger
        self._limits = limits
        self._clock = clock
        self._also = also
        self.problems: dict[str, str] = {}  # present failures, by the name of the work
        self._since: dict[str, float] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Do all pieces until the end, and then write what is still counted."""
        tasks = [
            asyncio.create_task(self._again("store", self._purge, PURGE_SECONDS)),
            asyncio.create_task(self._again("audit", self._record_limits, LIMITS_SECONDS)),
            *(asyncio.create_task(self._again(*piece)) for piece in self._also),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # a cancelled write first puts its counts back
            for write in (self._record_limits, *(piece.work for piece in self._also if isinstance(piece, Write))):
                with contextlib.suppress(StoreError):
                    await write()

    async def _purge(self) -> None:
        # This also finds out each second whether the store accepts writes again after a failure. Everything expired is
        # deleted, or the store of a busy server would grow without end; in small pieces, with requests between them.
        deleted = await self._ledger.purge(int(self._clock()))
        while deleted:
            await asyncio.sleep(PAUSE_SECONDS)
            deleted = await self._ledger.purge(int(self._clock()))

    async def _record_limits(self) -> None:
        await record_limits(self._ledger, self._limits, self._clock())

    def obstacles(self) -> list[str]:
        """Return what fails, and what has waited for the store for so long that requests wait too."""
        now = asyncio.get_running_loop().time()
        slow = [name for name, since in self._since.items() if now - since > SLOW_SECONDS]
        return [*(f"{name}: {why}" for name, why in sorted(self.problems.items())), *(f"{n}: no answer" for n in slow)]

    def states(self) -> dict[str, bool]:
        """Return each piece of work, and whether it fails or has waited for too long."""
        now = asyncio.get_running_loop().time()
        names = ["store", "audit", *(piece[0] for piece in self._also)]
        return {name: name in self.problems or now - self._since.get(name, now) > SLOW_SECONDS for name in names}

    async def _again(self, name: str, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        while True:
            # Retry soon: until the next success, /health reports a failure.
            await asyncio.sleep(min(seconds, AGAIN_SECONDS) if name in self.problems else seconds)
            self._since[name] = asyncio.get_running_loop().time()
            try:
                await work()
                if self.problems.pop(name, None) is not None:
                    log.warning("%s: it works again", name)  # at the level of its begin, so that both are seen
            except Error as error:
                if name not in self.problems:
                    log.warning("%s: %s", name, error)
                self.problems[name] = str(error)
            self._since.pop(name, None)


async def record_limits(ledger: Ledger, limits: Limits, now: float) -> None:
    """Record what the limits refused since the last record: one entry for each name, not one for each request."""
    for (reason, name), number in limits.take_refused().items():
        kind, _, who = name.partition(" ")
        record = AuditRecord(
            at=now,
            trace_id=new_trace_id(),
            endpoint="limits",
            outcome="limited",
            reason=reason.code,
            client_claimed=without_credentials(who) if kind == "client" else None,
            address=who if kind == "address" else None,
            detail=without_credentials(f"{number} requests of {name}"),
        )
        await ledger.claim(Entry(record))
