"""Fetches that threads and event loops share: each runs once at a time, on one event loop, for all that wait for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, Generic, TypeVar

from affiant.errors import Unreachable
from affiant.resource.issuer.worker import submit, worker

Result = TypeVar("Result")


class Flight(Generic[Result]):
    """One run of a coroutine at a time, for all threads and event loops. A caller that gives up ends no run.

    `find_loop` returns the event loop for the next run.
    """

    def __init__(self, find_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self._find_loop = find_loop
        self._last: tuple[int, asyncio.AbstractEventLoop, Future[Result]] | None = None

    def find(self) -> Future[Result] | None:
        """Return the run in flight. One whose event loop has ended, or is that of the parent process, never lands."""
        if self._last is None:
            return None
        forks, loop, future = self._last
        return future if forks == worker.forks and not future.done() and loop.is_running() else None

    def begin(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Future[Result]:
        """Return the run in flight, or begin one. `work` is called while no other run can begin."""
        loop = self._find_loop()
        with worker.lock:
            future = self.find()
            if future is None:
                future = submit(work(), loop)
                self._last = worker.forks, loop, future
        return future


async def arrive(future: Future[Any], *, seconds: float) -> bool:
    """Wait until the future is done, but not longer; return whether it is. Nothing cancels the future."""
    if not future.done():
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()

        def wake(_: Future[Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the event loop that waited has ended
                loop.call_soon_threadsafe(arrived.set)

        future.add_done_callback(wake)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(arrived.wait(), seconds)
    return future.done()


def result(future: Future[Result]) -> Result:
    """Return the result of a future that is done."""
    try:
        return future.result(timeout=0)
    except CancelledError:
        raise Unreachable("the event loop that asked has ended") from None
