"""Perform the steps of storage/registry on SQLite; and the uses of clients' keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from affiant.storage.records import KeyUse
from affiant.storage.registry import Append, Get, Result, Rows, Step, Steps, changes_version, drive
from affiant.storage.sql import SqlKeyUses, SqlTables, select, write
from affiant.storage.sqlite.connection import Reads, numbered
from affiant.storage.sqlite.ledger import commit
from affiant.storage.sqlite.writer import Transaction, Writer

_USE = (
    "INSERT INTO key_use (client_id, credential, count, first_at, last_at) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (client_id, credential) DO UPDATE SET count = count + excluded.count,"
    " first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at)"
)


class SqliteTables(SqlTables):
    def __init__(self, reads: Reads, writer: Callable[[], Writer], audit_key: bytes) -> None:
        super().__init__(reads)
        self._writer = writer
        self._audit_key = audit_key

    async def change(self, steps: Callable[[], Steps[Result]]) -> Result:
        def work(transaction: Transaction) -> Result:
            return drive(steps(), lambda step: self._perform(transaction, step))

        result: Result = await self._writer().change(work)
        return result

    def _perform(self, transaction: Transaction, step: Step) -> Any:
        execute = transaction.connection.execute
        if isinstance(step, Get | Rows):
            query, values = select(step)
            found = [
                step.table.decode(stored) for (stored,) in execute(query.replace("$", "?"), numbered(values)).fetchall()
            ]
            return found if isinstance(step, Rows) else next(iter(found), None)
        transaction.changed |= changes_version(step)
        if isinstance(step, Append):
            commit(self._audit_key, transaction, step.entries)
            return None
        for statement, values in write(step):
            execute(statement.replace("$", "?"), numbered(values))
        return None


class SqliteKeyUses(SqlKeyUses):
    def __init__(self, reads: Reads, writer: Callable[[], Writer]) -> None:
        super().__init__(reads)
        self._writer = writer

    async def add(self, uses: Sequence[KeyUse]) -> None:
        rows = [(use.client_id, use.credential, use.count, use.first_at, use.last_at) for use in uses]

        def work(transaction: Transaction) -> None:
            transaction.connection.executemany(_USE, rows)  # the store's version stays: no worker caches uses

        await self._writer().change(work)
