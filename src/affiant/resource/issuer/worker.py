"""The worker: one thread with an event loop, for all guards of a process.

It fetches what guards need from their issuers and publishes it as values that never change, so a guard reads them from
any thread, with or without an event loop, and waits only for what is not known yet.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from affiant.errors import Unreachable

Result = TypeVar("Result")


class Worker:
    """A daemon thread that runs coroutines. It starts when it is first needed, and again in a process that was forked.

    `lock` is held for a few instructions and never while something is awaited; a fork waits until it is free.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.forks = 0  # between the process that made this object and this one
        self._loop: asyncio.AbstractEventLoop | None = None
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(
                before=self.lock.acquire, after_in_parent=self.lock.release, after_in_child=self._after_fork
            )

    def submit(self, coroutine: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Run a coroutine on the event loop of the worker. The future may be waited for in any other thread."""
        return submit(coroutine, self.loop())

    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop, which is running."""
        with self.lock:
            if self._loop is None:
                self._loop = _start()
            return self._loop

    def _after_fork(self) -> None:
        """Forget the thread: it exists in the parent alone."""
        self._loop = None
        self.forks += 1
        self.lock.release()


def _start() -> asyncio.AbstractEventLoop:
    loop, started = asyncio.new_event_loop(), threading.Event()

    def run() -> None:
        loop.call_soon(started.set)
        loop.run_forever()

    threading.Thread(target=run, name="affiant guard", daemon=True).start()
    started.wait()
    return loop


def submit(coroutine: Coroutine[Any, Any, Result], loop: asyncio.AbstractEventLoop) -> Future[Result]:
    """Run a coroutine on this event loop, which another thread may own."""
    try:
        return asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError as error:  # it was closed a moment ago
        coroutine.close()
        failed = Future[Result]()
        failed.set_exception(Unreachable(f"nothing can be fetched: {error}"))
        return failed


worker = Worker()
