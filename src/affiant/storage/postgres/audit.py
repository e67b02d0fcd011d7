"""The audit log in PostgreSQL."""

from __future__ import annotations

from affiant.storage.entries import AuditBase
from affiant.storage.postgres.connection import Pool
from affiant.storage.postgres.ledger import HEAD
from affiant.storage.sql import DROP, MAY_DROP, REBASE, SqlAuditLog, cannot_drop

_POSITION = "position({}::bytea IN record)"
# Order: of two nodes, the second reads what the first has committed.
_LOCK = "SELECT FROM audit_base FOR UPDATE"


class PostgresAuditLog(SqlAuditLog):
    def __init__(self, pool: Pool) -> None:
        super().__init__(pool, HEAD, _POSITION)
        self._pool = pool

    async def drop(self, base: AuditBase) -> int:
        async with self._pool.change() as connection:
            await connection.execute(_LOCK)
            if not await connection.fetchval(MAY_DROP, base.number, base.link):
                raise cannot_drop(base)
            deleted = await connection.execute(DROP, base.number)
            await connection.execute(REBASE, *base)
        return int(deleted.split()[-1])
