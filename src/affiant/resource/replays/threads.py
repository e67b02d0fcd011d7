"""Threads for stores that block, so that an event loop does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from affiant.resource.issuer.worker import Executor, worker

Result = TypeVar("Result")


class Threads:
    """A few threads of a store; new ones in a process that was forked.

    A fork waits until they are idle: in the new process, the locks of a library would stay held by a thread that it
    does not have.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._executor: tuple[int, Executor] | None = None

    async def run(self, work: Callable[[], Result]) -> Result:
        """Return what a function returns in one of the threads. It does not begin once its caller has given up."""
        return await asyncio.wrap_future(self._submit(work))

    def _submit(self, work: Callable[[], Result]) -> Future[Result]:
        with worker.lock:
            if self._executor is None or self._executor[0] != worker.forks:
                self._executor = worker.forks, Executor(self._most)
                worker.watched.add(self._executor[1])
            return self._executor[1].submit(work)
