"""End every request in time: slow senders, and requests that wait for a slow disk."""

from __future__ import annotations

import asyncio
from types import TracebackType

REQUEST_SECONDS = 5.0
_LOOK_SECONDS = 0.25  # by which a task may be cancelled late


class Deadline:
    """`with deadline:` cancels a task that takes too long, and raises TimeoutError in it.

    All tasks have the same time, so the oldest is overdue first: one timer checks the oldest, where asyncio's timeouts
    would set, move and cancel a timer for each request.
    """

    def __init__(self, seconds: float = REQUEST_SECONDS) -> None:
        self._seconds = seconds
        self._ends: dict[asyncio.Task[object], float] = {}
        self._overdue: set[asyncio.Task[object]] = set()
        self._looking: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline is for tasks")
        loop = task.get_loop()
        self._ends[task] = loop.time() + self._seconds
        if self._looking is None:
            self._looking = loop.call_later(_LOOK_SECONDS, self._look, loop)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        del self._ends[task]
        if task in self._overdue:
            self._overdue.discard(task)
            # The task may have been cancelled from elsewhere too: then the cancellation goes on.
            if task.uncancel() <= 0 and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for task, end in self._ends.items():
            if end > now:
                break
            if task not in self._overdue:
                self._overdue.add(task)
                task.cancel()
        self._looking = loop.call_later(_LOOK_SECONDS, self._look, loop) if self._ends else None
