"""Threads for stores that block, so that an event loop does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from affiant.resource.issuer.worker import worker

Result = TypeVar("Result")


class Threads:
    """A few threads of a store; new ones in a process that was forked."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._pool: tuple[int, ThreadPoolExecutor] | None = None

    async def run(self, work: Callable[[], Result]) -> Result:
        """Return what a function returns in one of the threads. It does not begin once its caller has given up."""
        return await asyncio.wrap_future(self._find().submit(work))

    def _find(self) -> ThreadPoolExecutor:
        with worker.lock:
            if self._pool is None or self._pool[0] != worker.forks:
                self._pool = worker.forks, ThreadPoolExecutor(self._most, "affiant replays")
            return self._pool[1]
