"""Share the event loop: one long read at a time works, for a few milliseconds, and then rests for as long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

Row = TypeVar("Row")
Result = TypeVar("Result")
SLICE_SECONDS = 0.004  # a health check or a step of a token request waits for one slice at most; the limit is 0.02


class Slices:
    """Shares the event loop among all long reads of one process.

    A thread would be worse: it keeps the interpreter lock for 5 ms each time a request releases it, and a request
    releases it for every socket, commit and signature.
    """

    def __init__(self, *, rest: float = 1.0) -> None:
        self._rest = rest
        self._turn = asyncio.Lock()  # fair: reads take turns page by page

    async def each(self, fetch: Callable[[], Awaitable[Sequence[Row]]], work: Callable[[Row], Result]) -> list[Result]:
        """Fetch one page, and return what `work` makes of each row."""
        results: list[Result] = []
        async with self._turn:
            rows = iter(await fetch())
            while True:
                began = time.perf_counter()
                for row in rows:
                    results.append(work(row))
                    if time.perf_counter() - began >= SLICE_SECONDS:
                        break
                else:
                    await self._pause(time.perf_counter() - began)
                    return results
                await self._pause(time.perf_counter() - began)

    async def _pause(self, worked: float) -> None:
        # Order: pause before the lock is released. Otherwise reads would work in each other's pauses.
        await asyncio.sleep(worked * self._rest)
