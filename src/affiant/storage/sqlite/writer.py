"""The one writer of a process: work that arrives while a commit runs shares the next one.

A commit with synchronous=FULL waits for the disk. It runs on a thread of its own, so that a slow disk delays answers
but never the event loop. To commit a job that is alone on the loop would save a tenth of its time, but the loop would
stop with the disk.
"""

from __future__ import annotations

import asyncio
import math
import os
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from affiant.errors import Error, StoreError
from affiant.storage.entries import PROBE, PROBE_BYTES, AuditRow
from affiant.storage.sqlite.connection import connect

Work = Callable[["Transaction", Sequence[Any]], Sequence[Any]]
MAX_GROUP = 256
MAX_QUEUE = 20_000  # more than this waiting means the disk does not keep up: refuse, do not pile up


@dataclass(slots=True)
class Transaction:
    connection: sqlite3.Connection
    rows: list[AuditRow]  # of the audit log, that it adds
    changed: bool = False  # set by a change of clients, APIs, keys or settings: the store gets a new version


class _Job(msgspec.Struct):
    work: Work
    item: Any
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None


class Writer:
    """Runs pieces of work, each all or nothing, in shared transactions; `committed` takes their audit records."""

    def __init__(self, path: Path, committed: Callable[[Sequence[AuditRow]], None]) -> None:
        self._path = path
        self._committed = committed
        self._connection = connect(path)
        self._file = _identity(path)
        self._jobs: deque[_Job] = deque()
        self._signals: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_signalled = False
        self._closing = False
        self._has_failed = False
        self._running = 0
        self._thread = threading.Thread(target=self._run, name="affiant-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs wait, or are in the transaction that runs."""
        return len(self._jobs) + self._running

    def submit(self, work: Work, item: Any) -> asyncio.Future[Any]:
        """Do this item in the next transaction, with others of the same work.

        `work` takes the transaction and the items. For each it returns a result, or an Error, which is raised here.
        """
        if self._closing or len(self._jobs) >= MAX_QUEUE:
            raise StoreError("the database is closing" if self._closing else "too many writes are waiting")
        loop = asyncio.get_running_loop()
        job = _Job(work, item, loop, loop.create_future())
        self._jobs.append(job)
        # One signal for a whole turn of the loop: each wakes the thread, and costs as much as an insert.
        if not self._is_signalled:
            self._is_signalled = True
            loop.call_soon(self._signal)
        return job.future

    async def prove(self) -> None:
        """Raise StoreError if the disk is full, or if a commit has failed and PROBE_BYTES cannot be committed either.

        So every worker notices a full disk, and before a commit fails.
        """
        if (left := _space(self._path)) < 2 * PROBE_BYTES:
            self._has_failed = True
            raise StoreError(f"the disk of {self._path} is full: {left} bytes are free")
        if self._has_failed:
            await self.change(_fill)
            await self.change(_empty)
            self._has_failed = False

    async def change(self, work: Callable[[Transaction], Any]) -> Any:
        """Run this in the next transaction; return its result, or raise its Error."""
        return await self.submit(_each, work)

    def close(self) -> None:
        """Commit the work that is waiting, and end the thread."""
        self._closing = True
        self._signals.put(None)
        self._thread.join()
        self._connection.close()

    def _signal(self) -> None:
        # Order: lowered before the signal. A caller that saw it raised has already queued its job.
        self._is_signalled = False
        self._signals.put(None)

    def _run(self) -> None:
        while not self._closing or self._jobs:
            if not self._jobs:
                self._signals.get()
            group = [self._jobs.popleft() for _ in range(min(len(self._jobs), MAX_GROUP))]
            if group:
                self._running = len(group)
                self._commit(group)
                self._running = 0
                self._report(group)

    def _commit(self, group: list[_Job]) -> None:
        try:
            self._transact(group)
        except Exception as error:  # noqa: BLE001 - every job of the group needs its answer
            self._roll_back()
            # A database that is locked, full or broken fails every job. Any other error comes from one: find it.
            if len(group) > 1 and not isinstance(error, sqlite3.OperationalError | StoreError):
                for job in group:
                    self._commit([job])
                return
            self._has_failed |= isinstance(error, sqlite3.OperationalError | StoreError)
            failure = StoreError(f"the database did not commit: {error}")
            failure.__cause__ = error
            for job in group:
                job.result = failure

    def _transact(self, group: list[_Job]) -> None:
        connection = self._connection
        # A file that was removed or replaced is lost with the process: no other process, and no restart, sees it.
        if _identity(self._path) != self._file:
            raise StoreError(f"the database {self._path} was removed or replaced while in use: restart the server")
        # IMMEDIATE: two processes that both read first and then wrote would fail each other.
        connection.execute("BEGIN IMMEDIATE")
        transaction = Transaction(connection, [])
        by_work: dict[Work, list[_Job]] = {}
        for job in group:
            by_work.setdefault(job.work, []).append(job)
        for work, jobs in by_work.items():
            results = work(transaction, [job.item for job in jobs])
            for job, result in zip(jobs, results, strict=True):
                job.result = result
        if transaction.changed:
            connection.execute("UPDATE version SET number = number + 1")
        connection.execute("COMMIT")
        if transaction.rows:
            self._committed(transaction.rows)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                return

    def _report(self, group: list[_Job]) -> None:
        # One wake-up of the loop for the whole group.
        for loop in {job.loop for job in group}:
            mine = [job for job in group if job.loop is loop]
            try:
                loop.call_soon_threadsafe(_resolve, mine)
            except RuntimeError:  # the loop has ended, and its callers with it
                continue


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _space(path: Path) -> float:
    """Free bytes of the disk; infinity if the file system does not count them."""
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return math.inf
    return found.f_bavail * found.f_frsize if found.f_blocks else math.inf


def _fill(transaction: Transaction) -> None:
    # And deleted in another transaction: within one, nothing need reach the disk.
    transaction.connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (PROBE, "x" * PROBE_BYTES))


def _empty(transaction: Transaction) -> None:
    transaction.connection.execute("DELETE FROM setting WHERE name = ?", (PROBE,))


def _each(transaction: Transaction, works: Sequence[Callable[[Transaction], Any]]) -> list[Any]:
    return [_one(transaction, work) for work in works]


def _one(transaction: Transaction, work: Callable[[Transaction], Any]) -> Any:
    try:
        return work(transaction)
    except Error as error:  # it refused before its first write (see storage/registry): the others may go on
        return error


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if isinstance(job.result, Error):
            job.future.set_exception(job.result)
        else:
            job.future.set_result(job.result)
