"""Perform the steps of storage/registry on PostgreSQL; and the uses of clients' keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from affiant.storage.postgres.connection import Pool
from affiant.storage.postgres.ledger import LOCK_HEAD, append
from affiant.storage.postgres.watch import CHANNEL, Watch
from affiant.storage.records import KeyUse
from affiant.storage.registry import Append, Forget, Get, Result, Rows, Step, Steps
from affiant.storage.sql import SqlKeyUses, SqlTables, is_text, select, write

# Order: the first lock of every change, before the head of the audit log. So changes follow one another, and what one
# has read stays true until its commit.
_LOCK = "SELECT FROM version FOR UPDATE"
# Announced by the commit, and so never before the change can be seen.
_CHANGED = (
    "WITH changed AS (UPDATE version SET number = number + 1 RETURNING number)"
    " SELECT number, pg_notify($1, number::text) FROM changed"
)
# In the order of the primary key: two nodes that add at once never wait for each other in a circle.
_USE = (
    "INSERT INTO key_use SELECT client_id, credential, sum(count)::bigint, min(first_at), max(last_at)"
    " FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])"
    " AS use (client_id, credential, count, first_at, last_at) GROUP BY 1, 2 ORDER BY 1, 2"
    " ON CONFLICT (client_id, credential) DO UPDATE SET count = key_use.count + excluded.count,"
    " first_at = least(key_use.first_at, excluded.first_at), last_at = greatest(key_use.last_at, excluded.last_at)"
)


class PostgresTables(SqlTables):
    def __init__(self, pool: Pool, watch: Watch, audit_key: bytes) -> None:
        super().__init__(pool)
        self._pool = pool
        self._watch = watch
        self._audit_key = audit_key

    async def change(self, steps: Callable[[], Steps[Result]]) -> Result:
        number = None
        async with self._pool.change() as connection:
            await connection.execute(_LOCK)
            result, has_written = await self._drive(connection, steps())
            if has_written:
                number, _ = await connection.fetchrow(_CHANGED, CHANNEL)
        if number is not None:
            self._watch.note(number)
        return result

    async def _drive(self, connection: Any, steps: Steps[Result]) -> tuple[Result, bool]:
        answer, has_written = None, False
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                return end.value, has_written
            answer = await self._perform(connection, step)
            has_written |= not isinstance(step, Get | Rows)

    async def _perform(self, connection: Any, step: Step) -> Any:
        if isinstance(step, Get | Rows):
            query, values = select(step)
            known = all(map(is_text, values))
            found = [step.table.decode(row[0]) for row in await connection.fetch(query, *values)] if known else []
            return found if isinstance(step, Rows) else next(iter(found), None)
        if isinstance(step, Forget | Append):
            # A group that is being committed may rotate a refresh token, which would bring it back.
            await connection.execute(LOCK_HEAD)
        if isinstance(step, Append):
            await append(connection, step.entries, self._audit_key)
            return None
        for statement, values in write(step):
            await connection.execute(statement, *values)
        return None


class PostgresKeyUses(SqlKeyUses):
    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self._pool = pool

    async def add(self, uses: Sequence[KeyUse]) -> None:
        rows = [(use.client_id, use.credential, use.count, use.first_at, use.last_at) for use in uses]
        if rows:
            async with self._pool.change() as connection:
                await connection.execute(_USE, *map(list, zip(*rows, strict=True)))
