"""A thread for calls that may hang: one after the other, and nobody waits for them longer than they may take."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from affiant.errors import SignerError

Result = TypeVar("Result")


class OneThread:
    """Runs calls in the order in which they came.

    The thread is a daemon: a call that never returns does not keep the process from ending.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any], float]] = queue.SimpleQueue()
        self._overdue_at = float("inf")  # when the call that runs has taken too long
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def run(self, call: Callable[[], Result], *, seconds: float) -> Result:
        """What the call returns or raises."""
        if time.monotonic() > self._overdue_at:  # a queue before a closed door would only grow
            raise SignerError(f"{self._name} does not answer")
        future: Future[Result] = Future()
        self._calls.put((future, call, seconds))
        try:
            # Not wait_for: until Python 3.12 it swallows a cancellation that comes in the moment of the result.
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise SignerError(f"{self._name} did not answer within {seconds:g} s") from None

    def _work(self) -> None:
        while True:
            future, call, seconds = self._calls.get()
            if not future.set_running_or_notify_cancel():
                continue  # who asked for it has gone
            self._overdue_at = time.monotonic() + seconds
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - it is for who called
                future.set_exception(error)
            self._overdue_at = float("inf")
