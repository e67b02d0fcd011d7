"""Counts by minute, hour and day in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from affiant.storage.history.counts import Count
from affiant.storage.postgres.connection import Pool
from affiant.storage.postgres.schema import COUNTS_LOCK
from affiant.storage.postgres.watch import Watch
from affiant.storage.sql import SqlCounts, count_rows, ended_counts

# Order: in a statement before the rows are added, whose snapshot then has every client that was removed by a commit
# before. A removal takes the lock alone, and deletes the counts of all who had it before.
_SHARE = f"SELECT pg_advisory_xact_lock_shared({COUNTS_LOCK})"
LOCK_COUNTS = f"SELECT pg_advisory_xact_lock({COUNTS_LOCK})"
_ADD = (
    "INSERT INTO counts SELECT client_id, unit, kind, at, label, sum(count)::bigint"
    " FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[])"
    " AS new (client_id, unit, kind, at, label, count)"
    " WHERE client_id = '' OR EXISTS (SELECT FROM client WHERE client.client_id = new.client_id)"
    " GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5"
    " ON CONFLICT (client_id, unit, kind, at, label) DO UPDATE SET count = counts.count + excluded.count"
)


class PostgresCounts(SqlCounts):
    def __init__(self, pool: Pool, watch: Watch) -> None:
        super().__init__(pool)
        self._pool = pool
        self._watch = watch

    async def add(self, counts: Sequence[Count]) -> None:
        rows = count_rows(counts)
        if rows:
            async with self._pool.change() as connection:
                await connection.execute(_SHARE)
                await connection.execute(_ADD, *map(list, zip(*rows, strict=True)))

    async def purge(self, now: int, *, limit: int = 100) -> int:
        # A node whose clock is wrong would delete counts that others still show.
        self._watch.check_clock()
        deleted = 0
        async with self._pool.take() as connection:
            for condition, values in ended_counts(now):
                ended = f"SELECT ctid FROM counts WHERE {condition} LIMIT {limit:d} FOR UPDATE SKIP LOCKED"  # noqa: S608
                statement = f"DELETE FROM counts WHERE ctid = ANY(ARRAY({ended}))"  # noqa: S608 - text of our own
                deleted += int((await connection.execute(statement, *values)).split()[-1])
        return deleted
