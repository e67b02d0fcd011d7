"""The one writer of a process: what arrives while a commit runs shares the next one.

A commit with synchronous=FULL waits for the disk. It runs on a thread of its own, so that a slow disk delays
answers but never the event loop; and since everything that waited goes into the next transaction, the wait is shared.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from affiant.errors import Error, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Work = Callable[["Transaction"], Any]

MAX_GROUP = 256
MAX_QUEUE = 20_000  # more than this waiting means the disk does not keep up: refuse, do not pile up


@dataclass(slots=True)
class Transaction:
    """The transaction that a piece of work runs in.

    Attributes:
        connection: of the writer.
        link: the link of the newest audit record, read once for the group.
        changed: set when clients, APIs or keys changed.
    """

    connection: sqlite3.Connection
    link: bytes | None = None
    changed: bool = False


@dataclass(slots=True)
class _Job:
    work: Work
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = field(default=None)


class Writer:
    """Runs pieces of work, each all or nothing, in shared transactions."""

    def __init__(self, path: Path, connect: Callable[[Path], sqlite3.Connection]) -> None:
        self._connection = connect(path)
        self._jobs: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="affiant-writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Work) -> Any:
        """Run this in the next transaction; return what it returns, once that is durable.

        Raises:
            StoreError: it was not committed, or too much is waiting.
        """
        loop = asyncio.get_running_loop()
        job = _Job(work, loop, loop.create_future())
        with self._wake:
            if self._closing or len(self._jobs) >= MAX_QUEUE:
                raise StoreError("the database is closing" if self._closing else "too many writes are waiting")
            self._jobs.append(job)
            self._wake.notify()
        return await job.future

    def close(self) -> None:
        """Commit what is waiting, and end."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while group := self._take():
            self._commit(group)
            self._report(group)

    def _take(self) -> list[_Job]:
        with self._wake:
            while not self._jobs and not self._closing:
                self._wake.wait()
            return [self._jobs.popleft() for _ in range(min(len(self._jobs), MAX_GROUP))]

    def _commit(self, group: list[_Job]) -> None:
        try:
            self._transact(group)
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may be left waiting
            self._roll_back()
            # Locked, full or broken meets everybody. Anything else is one job's own fault: find it, spare the rest.
            if len(group) > 1 and not isinstance(error, sqlite3.OperationalError):
                for job in group:
                    self._commit([job])
                return
            for job in group:
                job.error = StoreError(f"the database did not commit: {error}")
                job.error.__cause__ = error

    def _transact(self, group: list[_Job]) -> None:
        connection = self._connection
        # IMMEDIATE: two processes that both read first and then wrote would each fail the other.
        connection.execute("BEGIN IMMEDIATE")
        transaction = Transaction(connection)
        for job in group:
            try:
                job.error = None
                job.result = job.work(transaction)
            except Error as error:  # work refuses before it writes, so the others may go on
                job.error = error
        if transaction.changed:
            connection.execute("UPDATE version SET number = number + 1")
        connection.execute("COMMIT")

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                return

    def _report(self, group: list[_Job]) -> None:
        # One wake-up of the loop for the group, not one for each.
        for loop in {job.loop for job in group}:
            mine = [job for job in group if job.loop is loop]
            try:
                loop.call_soon_threadsafe(_resolve, mine)
            except RuntimeError:  # the loop has ended: nobody waits
                continue


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
