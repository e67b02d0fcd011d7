"""Long work in slices, so that no request waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
SLICE_SECONDS = 0.003  # a request waits for one slice at most
REST = 3.0  # times the duration of the work; a process that does nothing else needs none


class Slices:
    """Yields to the event loop after each slice; `rest` is the pause in multiples of the work before it."""

    def __init__(self, rest: float = REST) -> None:
        self._rest = rest
        self._began = time.perf_counter()

    async def turn(self) -> None:
        """Rest if a slice is over."""
        worked = time.perf_counter() - self._began
        if worked >= SLICE_SECONDS:
            await asyncio.sleep(worked * self._rest)
            self._began = time.perf_counter()

    async def thread(self, work: Callable[[], Result]) -> Result:
        """Run what waits for a disk, or computes without the interpreter, on a thread; rest after it as well."""
        began = time.perf_counter()
        result = await asyncio.to_thread(work)
        await self.rest(time.perf_counter() - began)
        return result

    async def rest(self, worked: float) -> None:
        """Rest after so many seconds of work."""
        await asyncio.sleep(worked * self._rest)
        self._began = time.perf_counter()
