"""What a server does beside answering: off the path of every request, in small pieces, and again when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from affiant.errors import Error, StoreError
from affiant.server.request.identifiers import new_trace_id
from affiant.server.request.limits import Limits
from affiant.server.request.notes import without_credentials
from affiant.server.request.uses import Uses
from affiant.storage.entries import AuditRecord, Entry
from affiant.storage.ports import Ledger

Piece = tuple[str, Callable[[], Awaitable[None]], float]

log = logging.getLogger(__name__)
PURGE_SECONDS = 1.0  # between two looks for expired jtis and refresh tokens
AGAIN_SECONDS = 1.0  # after a failure
PAUSE_SECONDS = 0.01
SLOW_SECONDS = 2.0
TELL_SECONDS = 5.0  # between two records of what the limits refused
USES_SECONDS = 1.0  # between two times that the store is told which credentials are in use


class Background:
    """The pieces of work, each on its own clock.

    Attributes:
        problems: what fails at the moment, by the name of the work; empty again when it succeeds.
    """

    def __init__(
        self, ledger: Ledger, limits: Limits, uses: Uses, clock: Callable[[], float], also: Sequence[Piece] = ()
    ) -> None:
        self._ledger = ledger
        self._limits = limits
        self._uses = uses
        self._clock = clock
        self._also = also
        self.problems: dict[str, str] = {}
        self._since: dict[str, float] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Do all of it until the end, and the last of it then."""
        tasks = [
            asyncio.create_task(self._again("store", self._purge, PURGE_SECONDS)),
            asyncio.create_task(self._again("audit", self._tell, TELL_SECONDS)),
            asyncio.create_task(self._again("key uses", self._uses.tell, USES_SECONDS)),
            *(asyncio.create_task(self._again(*piece)) for piece in self._also),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # what one of them took to tell, it puts back first
            for tell in (self._tell, self._uses.tell):
                with contextlib.suppress(StoreError):
                    await tell()

    async def _purge(self) -> None:
        # It also finds out each second whether the store takes writes again, after one has failed. All that has ended
        # goes, or a busy server would keep ever more; in small pieces, with room for requests between them.
        deleted = await self._ledger.purge(int(self._clock()))
        while deleted:
            await asyncio.sleep(PAUSE_SECONDS)
            deleted = await self._ledger.purge(int(self._clock()))

    async def _tell(self) -> None:
        await tell_of_limits(self._ledger, self._limits, self._clock())

    def obstacles(self) -> list[str]:
        """What fails, and what has been waiting for the store for so long that requests wait too."""
        now = asyncio.get_running_loop().time()
        slow = [name for name, since in self._since.items() if now - since > SLOW_SECONDS]
        return [*(f"{name}: {why}" for name, why in sorted(self.problems.items())), *(f"{n}: no answer" for n in slow)]

    async def _again(self, name: str, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        while True:
            # Retry soon: until the next success, /health reports a failure.
            await asyncio.sleep(min(seconds, AGAIN_SECONDS) if name in self.problems else seconds)
            self._since[name] = asyncio.get_running_loop().time()
            try:
                await work()
                self.problems.pop(name, None)
            except Error as error:
                if name not in self.problems:
                    log.warning("%s: %s", name, error)
                self.problems[name] = str(error)
            self._since.pop(name, None)


async def tell_of_limits(ledger: Ledger, limits: Limits, now: float) -> None:
    """Write down what the limits refused since the last time: one record for each name, not one for each request."""
    for (reason, name), number in limits.take_told().items():
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
