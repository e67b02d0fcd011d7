"""Put the numbers of this process on the board, once a second; look at the store for them four times a minute."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from affiant.errors import Error
from affiant.server.request.counting.counts import Counts
from affiant.server.request.counting.gauges import measure_process
from affiant.telemetry import Telemetry
from affiant.telemetry.board import Board
from affiant.telemetry.samples import Samples, merge

log: logging.Logger = logging.getLogger(__name__)

LOOK_SECONDS = 15.0  # between two looks at what costs more than memory

Look = Callable[[], Awaitable[Samples]]


class Publisher:
    """Publishes the numbers of this process.

    Args:
        counts: folded before each time.
        telemetry: has the numbers.
        board: takes them.
        looks: each asks the store; while it fails, its numbers are absent.
    """

    def __init__(self, counts: Counts, telemetry: Telemetry, board: Board, *looks: Look) -> None:
        self._counts, self._telemetry, self._board, self._looks = counts, telemetry, board, looks
        self._seen: Samples = {}
        self._has_failed = False
        self._looked_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        telemetry.watch(lambda: self._seen)

    async def publish(self) -> None:
        """Publish the numbers without waiting for the store: metrics must appear while it hangs."""
        now = asyncio.get_running_loop().time()
        if now - self._looked_at >= LOOK_SECONDS and (self._looking is None or self._looking.done()):
            self._looked_at = now
            self._looking = asyncio.create_task(self._look())
        await self._counts.fold()
        try:
            self._board.publish(self._telemetry.samples())
            self._has_failed = False
        except OSError as error:  # no reason to issue no tokens
            if not self._has_failed:
                log.warning("the metrics cannot be written: %s", error.strerror)
            self._has_failed = True

    async def _look(self) -> None:
        found = [measure_process()]
        for look in self._looks:
            with contextlib.suppress(Error):
                found.append(await look())
        self._seen = merge(found)
