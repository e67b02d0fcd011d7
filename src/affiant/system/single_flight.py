"""Single flight: callers that need the same result at the same time share one task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")
Work = Callable[[], Coroutine[Any, Any, Result]]


class SingleFlight(Generic[Result]):
    """The tasks in flight: at most one for each key in each event loop. A cancelled caller cancels no task."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[asyncio.AbstractEventLoop, Hashable], asyncio.Task[Result]] = {}

    def find(self, key: Hashable = None) -> asyncio.Task[Result] | None:
        task = self._tasks.get((asyncio.get_running_loop(), key))
        return task if task is not None and not task.done() else None

    def begin(self, work: Work[Result], *, key: Hashable = None) -> asyncio.Task[Result]:
        """Return the task in flight, or begin one."""
        task = self.find(key)
        if task is None:
            loop = asyncio.get_running_loop()
            task = self._tasks[loop, key] = loop.create_task(work())
            task.add_done_callback(partial(self._end, (loop, key)))
        return task

    async def run(self, work: Work[Result], *, key: Hashable = None) -> Result:
        """Return the result of the task in flight, or of one that begins now."""
        return await asyncio.shield(self.begin(work, key=key))

    async def close(self) -> None:
        """Cancel the tasks of this event loop."""
        loop = asyncio.get_running_loop()
        tasks = [task for (owner, _), task in self._tasks.items() if owner is loop]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, place: tuple[asyncio.AbstractEventLoop, Hashable], task: asyncio.Task[Result]) -> None:
        if self._tasks.get(place) is task:  # otherwise the next one has begun
            del self._tasks[place]
        if not task.cancelled():
            task.exception()  # if all callers were cancelled, asyncio would log it as never retrieved
