"""Reads of many rows: in pages and slices, so that a token never waits for an operator's list.

A few long reads are admitted at once, each while its reader is connected and reads. One at a time works, for a few
milliseconds, and then rests for as long.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Generic, TypeVar

from affiant.errors import Error, Rejected
from affiant.errors.reasons import Reason
from affiant.server.request import http

Row = TypeVar("Row")
Result = TypeVar("Result")
Read = Callable[[http.Send], Awaitable[None]]

log: logging.Logger = logging.getLogger(__name__)
SLICE_SECONDS = 0.004  # a health check or a step of a token request waits for one slice at most; the limit is 0.02
OPEN = 8  # reads of one process; each keeps one page in memory
OPEN_BY_ONE = 2  # reads of one caller, so that one viewer cannot block the others
WAIT_SECONDS = 5.0  # how long a read waits for one of these places
PROMPT_SECONDS = 0.2  # how long a page waits for a new survey
REST = 20.0  # times as long as a survey took, until the next
STALLED_SECONDS = 30.0  # how long a reader may take for one piece


class Reads:
    """The long reads of one process, which share its event loop.

    A thread would be worse: it keeps the interpreter lock for 5 ms each time a request releases it, and a request
    releases it for every socket, commit and signature.
    """

    def __init__(self, *, rest: float = 1.0) -> None:
        self.survey: Survey[Any] = Survey()
        self._rest = rest
        self._turn = asyncio.Lock()  # fair: reads take turns page by page
        self._open: Counter[str] = Counter()
        self._left = asyncio.Condition()

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

    async def serve(self, caller: str, read: Read, receive: http.Receive, send: http.Send) -> None:
        """Run this read when there is a place; cancel it when its reader disconnects or stops reading.

        The body of the request was read already. ADMIN_BUSY is raised without a free place, before anything is sent.
        """
        tasks = [
            asyncio.create_task(self._admitted(caller, read, send)),
            asyncio.create_task(_disconnected(receive)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            answered, _ = await asyncio.gather(*tasks, return_exceptions=True)
        if isinstance(answered, Exception):
            raise answered

    async def _admitted(self, caller: str, read: Read, send: http.Send) -> None:
        async with self._place(caller):
            try:
                await read(_hurried(send))
            except _Stalled:
                # The server closes the connection: the answer is not complete, and its reader can see that.
                log.info("a read of %s was cancelled: its reader took nothing for %s s", caller, STALLED_SECONDS)

    @contextlib.asynccontextmanager
    async def _place(self, caller: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(WAIT_SECONDS), self._left:
                await self._left.wait_for(lambda: self._is_free(caller))
                self._open[caller] += 1
        except TimeoutError:
            raise Rejected(Reason.ADMIN_BUSY) from None
        try:
            yield
        finally:
            self._open -= Counter({caller: 1})
            async with self._left:
                self._left.notify_all()

    def _is_free(self, caller: str) -> bool:
        return self._open.total() < OPEN and self._open[caller] < OPEN_BY_ONE


class Survey(Generic[Result]):
    """The result of a read of all clients, which is kept while a page asks for it again and again."""

    def __init__(self) -> None:
        self._kept: tuple[object, Result] | None = None  # with the version of what was read
        self._begun, self._ended, self._took = 0.0, float("-inf"), 0.0
        self._reading: asyncio.Task[None] | None = None

    async def get(self, version: object, read: Callable[[], Awaitable[Result]]) -> Result | None:
        """Return the result of the last read, which is begun again for another version.

        A read that takes longer than PROMPT_SECONDS goes on without the caller, who gets the result of the one before,
        or None; at once, if that one took as long. The longer it takes the more rarely it is begun, so that it never
        takes more than a part of the time.
        """
        now = time.monotonic()
        is_old = self._kept is None or self._kept[0] != version
        if self._reading is None and is_old and now - self._ended >= REST * self._took:
            self._begun, self._reading = now, asyncio.create_task(self._read(version, read))
        if self._reading is not None and self._took <= PROMPT_SECONDS:
            await asyncio.wait([self._reading], timeout=max(self._begun + PROMPT_SECONDS - now, 0))
        return self._kept[1] if self._kept is not None else None

    async def _read(self, version: object, read: Callable[[], Awaitable[Result]]) -> None:
        try:
            self._kept = version, await read()
        except Error as error:  # of the store: the next caller begins it again
            log.warning("a survey failed: %s", error)
        finally:
            self._ended = time.monotonic()
            self._took = self._ended - self._begun
            self._reading = None


class _Stalled(Exception):
    """The reader has stopped reading."""


def _hurried(send: http.Send) -> http.Send:
    async def hurried(message: MutableMapping[str, Any]) -> None:
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                await send(message)
        except TimeoutError:
            raise _Stalled from None

    return hurried


async def _disconnected(receive: http.Receive) -> None:
    if (await receive())["type"] != "http.disconnect":
        await asyncio.Event().wait()  # a repeated http.request is no disconnect
