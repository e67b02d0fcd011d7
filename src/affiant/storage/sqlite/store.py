"""All ports on one SQLite file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from affiant.errors import ConfigError, StoreError
from affiant.storage import ports
from affiant.storage.commit import tell
from affiant.storage.history.sizes import Sizes, estimate_claims
from affiant.storage.sql import SqlCursors, SqlStore
from affiant.storage.sqlite.audit import SqliteAuditLog
from affiant.storage.sqlite.connection import Reads, create, numbered
from affiant.storage.sqlite.copies import locked, restoring
from affiant.storage.sqlite.counts import SqliteCounts
from affiant.storage.sqlite.ledger import SqliteLedger
from affiant.storage.sqlite.registry import SqliteKeyUses, SqliteTables
from affiant.storage.sqlite.writer import Transaction, Writer

FILE_NAME = "affiant.db"


class SqliteStore(SqlStore):
    """The store in this file. Several processes may open it at once.

    Args:
        path: the file.
        audit_key: key of the audit log's chain, the same for every process; without one the chain shows only accidents.
    """

    def __init__(self, path: Path, *, audit_key: bytes = b"") -> None:
        self._path = path
        self._lock = contextlib.ExitStack()
        self._reads = reads = Reads(path)
        self._writing: Writer | None = None
        self.listeners: list[Callable[[Sequence[bytes]], None]] = []
        super().__init__(SqliteTables(reads, self._writer, audit_key), reads)
        self.audit_log: ports.AuditLog = SqliteAuditLog(reads, self._writer)
        self.key_uses: ports.KeyUses = SqliteKeyUses(reads, self._writer)
        self.counts: ports.Counts = SqliteCounts(reads, self._writer)
        self.cursors: ports.Cursors = SqlCursors(reads, self._run, lambda: self.clock_offset)
        self.ledger: ports.Ledger = SqliteLedger(reads, self._writer, audit_key)

    async def open(self) -> None:
        create(self._path)
        if restoring(self._path).exists():
            raise ConfigError(
                f"a backup was only half put in the place of {self._path}: run  affiant db restore  again"
            )
        self._lock.enter_context(locked(self._path, alone=False))
        try:
            self._reads.open()
            self._writing = Writer(self._path, partial(tell, self.listeners))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        if self._writing is not None:
            self._writing.close()
            self._writing = None
        self._reads.close()
        self._lock.close()

    async def version(self) -> int:
        return int((await self._reads.fetch("SELECT number FROM version"))[0][0])

    async def sizes(self) -> Sizes:
        claims, head = await estimate_claims(self._reads), await self.audit_log.head()
        return Sizes(claims, sum(map(_size, (self._path, Path(f"{self._path}-wal")))), head.given)

    @property
    def waiting(self) -> int:
        return self._writing.waiting if self._writing is not None else 0

    @property
    def clock_offset(self) -> float:
        return 0.0

    async def _run(self, statement: str, *values: Any) -> Sequence[Any]:
        def work(transaction: Transaction) -> Sequence[Any]:
            return transaction.connection.execute(statement.replace("$", "?"), numbered(values)).fetchall()

        rows: Sequence[Any] = await self._writer().change(work)
        return rows

    def _writer(self) -> Writer:
        if self._writing is None:
            raise StoreError("the database is not open")
        return self._writing


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # a file that was removed; and the log is only there while the database is open
        return 0
