"""The audit log in SQLite."""

from __future__ import annotations

from collections.abc import Callable

from affiant.storage.entries import AuditBase
from affiant.storage.sql import DROP, MAY_DROP, REBASE, SqlAuditLog, cannot_drop
from affiant.storage.sqlite.connection import Reads, numbered
from affiant.storage.sqlite.ledger import HEAD
from affiant.storage.sqlite.writer import Transaction, Writer

_POSITION = "instr(record, {})"


class SqliteAuditLog(SqlAuditLog):
    def __init__(self, reads: Reads, writer: Callable[[], Writer]) -> None:
        super().__init__(reads, HEAD, _POSITION)
        self._writer = writer

    async def drop(self, base: AuditBase) -> int:
        def work(transaction: Transaction) -> int:
            execute = transaction.connection.execute
            if not execute(MAY_DROP.replace("$", "?"), numbered((base.number, base.link))).fetchone()[0]:
                raise cannot_drop(base)
            dropped: int = execute(DROP.replace("$", "?"), numbered((base.number,))).rowcount
            execute(REBASE.replace("$", "?"), numbered(base))
            return dropped

        count: int = await self._writer().change(work)
        return count
