"""The worker: one thread with an event loop, for all guards of a process.

It fetches what guards need from their issuers and publishes it as values that never change, so a guard reads them from
any thread, with or without an event loop, and waits only for what is not known yet.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

from affiant.errors import Unreachable

P = ParamSpec("P")
Result = TypeVar("Result")
MOST_SECONDS = 2.0  # that a fork waits for the thread, and the thread for the fork


class Worker:
    """A daemon thread that runs coroutines. It starts when it is first needed, and again in a process that was forked.

    `lock` is held for a few instructions and never while something is awaited; a fork waits until it is free. During a
    fork the thread pauses between two steps, and the threads of its executor are idle. In the middle of an import they
    would hold the lock of a module, and the new process, which has no such thread, would wait for that lock for ever.
    """

    def __init__(self) -> None:
        self.lock: threading.Lock = threading.Lock()
        self.watched: WeakSet[Executor] = WeakSet()  # idle during a fork, too: whoever submits to one has the lock
        self.forks: int = 0  # between the process that made this object and this one
        self._loop: asyncio.AbstractEventLoop | None = None
        self._executor = Executor()
        self._resumed: threading.Event | None = None  # set when the fork is over
        # Order: hooks run in reverse, so this one before that of concurrent.futures, whose lock the thread may need.
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(
                before=self._before_fork, after_in_parent=self._after_fork_in_parent, after_in_child=self._after_fork
            )

    def submit(self, coroutine: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Run a coroutine on the event loop of the worker. The future may be waited for in any other thread."""
        return submit(coroutine, self.loop())

    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop, which is running."""
        with self.lock:
            if self._loop is None:
                self._executor = Executor()
                self._loop = _start(self._executor)
            return self._loop

    def _before_fork(self) -> None:
        """Pause the thread, then take the lock: the thread may need the lock to come to its pause."""
        while True:
            loop = self._loop
            resumed = _pause(loop, self._executor) if loop is not None else None
            self.lock.acquire()
            if self._loop is loop:
                self._resumed = resumed
                for executor in self.watched:
                    concurrent.futures.wait(executor.running.copy(), MOST_SECONDS)
                return
            self.lock.release()  # another thread has just started it

    def _after_fork_in_parent(self) -> None:
        if self._resumed is not None:
            self._resumed.set()
        self.lock.release()

    def _after_fork(self) -> None:
        """Forget the threads: they exist in the parent alone."""
        self._loop = self._resumed = None
        self.watched = WeakSet()
        self.forks += 1
        self.lock.release()


class Executor(ThreadPoolExecutor):
    """Threads for what blocks, such as the resolution of a name; it knows what runs."""

    def __init__(self, most: int | None = None) -> None:
        super().__init__(most, thread_name_prefix="affiant guard")
        self.running: set[Future[Any]] = set()

    def submit(self, fn: Callable[P, Result], /, *args: P.args, **kwargs: P.kwargs) -> Future[Result]:
        future = super().submit(fn, *args, **kwargs)
        self.running.add(future)
        future.add_done_callback(self.running.discard)
        return future


def _start(executor: Executor) -> asyncio.AbstractEventLoop:
    loop, started = asyncio.new_event_loop(), threading.Event()
    loop.set_default_executor(executor)

    def run() -> None:
        loop.call_soon(started.set)
        loop.run_forever()

    threading.Thread(target=run, name="affiant guard", daemon=True).start()
    started.wait()
    return loop


def _pause(loop: asyncio.AbstractEventLoop, executor: Executor) -> threading.Event | None:
    """Hold the thread of this loop until the event is set; None if this is that thread.

    Order: the thread gives its executor nothing more to do, then the executor becomes idle.
    """
    reached, resumed = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        resumed.wait(MOST_SECONDS)

    if asyncio._get_running_loop() is loop:  # noqa: SLF001 - get_running_loop() raises where there is none
        return None
    loop.call_soon_threadsafe(wait)
    reached.wait(MOST_SECONDS)
    concurrent.futures.wait(executor.running.copy(), MOST_SECONDS)
    return resumed


def submit(coroutine: Coroutine[Any, Any, Result], loop: asyncio.AbstractEventLoop) -> Future[Result]:
    """Run a coroutine on this event loop, which another thread may own."""
    try:
        return asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError as error:  # it was closed a moment ago
        coroutine.close()
        failed = Future[Result]()
        failed.set_exception(Unreachable(f"nothing can be fetched: {error}"))
        return failed


worker: Worker = Worker()
