"""Run calls that may hang, of a device's module or a remote service, and bound the wait of their callers."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from affiant.errors import SignerError

SIGN_SECONDS = 3.0  # less than the deadline of a request, so that its caller gets an answer
Result = TypeVar("Result")
_Calls = queue.SimpleQueue[tuple[Future[Any], Callable[[], Any], float] | None]  # None ends a thread


class CallThreads:
    """Runs calls in their order on one thread, or on several; a caller waits for its own call no longer than it allows.

    The threads are daemons: a call that never returns does not keep the process from ending. They end with this object.
    """

    def __init__(self, name: str, number: int = 1) -> None:
        self._name = name
        self._calls: _Calls = queue.SimpleQueue()
        self._overdue_at = [float("inf")] * number  # of each thread: when its running call has taken too long
        for index in range(number):
            work = (self._calls, self._overdue_at, index)  # and not this object, or it would live as long as they
            threading.Thread(target=_work, args=work, name=name, daemon=True).start()
        weakref.finalize(self, _end, self._calls, number)

    async def run(self, call: Callable[[], Result], *, seconds: float) -> Result:
        """Return what the call returns; raise SignerError if it takes longer."""
        future = self._submit(call, seconds)
        try:
            # Not wait_for: until Python 3.12 it swallows a cancellation that comes in the moment of the result.
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise self._late(seconds) from None

    def wait(self, call: Callable[[], Result], *, seconds: float) -> Result:
        """Return what the call returns, and block this thread until then."""
        future = self._submit(call, seconds)
        try:
            return future.result(seconds)
        except TimeoutError:
            future.cancel()  # a call that still waits never runs
            raise self._late(seconds) from None

    def _submit(self, call: Callable[[], Result], seconds: float) -> Future[Result]:
        if time.monotonic() > max(self._overdue_at):  # behind calls that hang, the queue would only grow
            raise SignerError(f"{self._name} does not answer")
        future: Future[Result] = Future()
        self._calls.put((future, call, seconds))
        return future

    def _late(self, seconds: float) -> SignerError:
        return SignerError(f"{self._name} did not answer within {seconds:g} s")


def _work(calls: _Calls, overdue_at: list[float], index: int) -> None:
    while (next_call := calls.get()) is not None:
        future, call, seconds = next_call
        if future.set_running_or_notify_cancel():  # else its caller was cancelled
            overdue_at[index] = time.monotonic() + seconds
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - for the caller
                future.set_exception(error)
            overdue_at[index] = float("inf")
        del next_call, future, call  # while this waits, they would keep alive what called


def _end(calls: _Calls, number: int) -> None:
    for _ in range(number):
        calls.put(None)
