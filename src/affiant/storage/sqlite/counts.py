"""Counts by minute, hour and day in SQLite."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from affiant.storage.history.counts import Count
from affiant.storage.sql import SqlCounts, count_rows, ended_counts
from affiant.storage.sqlite.connection import Reads, numbered
from affiant.storage.sqlite.writer import Transaction, Writer

_ADD = (
    "INSERT INTO counts (client_id, unit, kind, at, label, count) SELECT ?1, ?2, ?3, ?4, ?5, ?6"
    " WHERE ?1 = '' OR EXISTS (SELECT 1 FROM client WHERE client_id = ?1)"
    " ON CONFLICT (client_id, unit, kind, at, label) DO UPDATE SET count = count + excluded.count"
)
_KEY = "client_id, unit, kind, at, label"


class SqliteCounts(SqlCounts):
    def __init__(self, reads: Reads, writer: Callable[[], Writer]) -> None:
        super().__init__(reads)
        self._writer = writer

    async def add(self, counts: Sequence[Count]) -> None:
        rows = count_rows(counts)
        if not rows:
            return

        def work(transaction: Transaction) -> None:
            transaction.connection.executemany(
                _ADD, map(numbered, rows)
            )  # the store's version stays: no worker caches counts

        await self._writer().change(work)

    async def purge(self, now: int, *, limit: int = 100) -> int:
        def work(transaction: Transaction) -> int:
            deleted = 0
            for condition, values in ended_counts(now):
                ended = f"SELECT {_KEY} FROM counts WHERE {condition} LIMIT {limit:d}"  # noqa: S608 - text of our own
                statement = f"DELETE FROM counts WHERE ({_KEY}) IN ({ended})"  # noqa: S608 - the same
                deleted += transaction.connection.execute(statement.replace("$", "?"), numbered(values)).rowcount
            return deleted

        deleted: int = await self._writer().change(work)
        return deleted
