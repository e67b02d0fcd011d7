"""Initial access tokens, and the uses of clients' credentials, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from affiant.storage.ports import Tell
from affiant.storage.postgres.connection import is_text
from affiant.storage.postgres.registry import Table
from affiant.storage.records import AlreadyExists, InitialAccessToken, KeyUse, NotFound

# In the order of the primary key: of two nodes that tell at once, neither waits for the other in a circle.
_USE = (
    "INSERT INTO key_use SELECT client_id, credential, sum(count)::bigint, min(first_at), max(last_at)"
    " FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])"
    " AS use (client_id, credential, count, first_at, last_at) GROUP BY 1, 2 ORDER BY 1, 2"
    " ON CONFLICT (client_id, credential) DO UPDATE SET count = key_use.count + excluded.count,"
    " first_at = least(key_use.first_at, excluded.first_at), last_at = greatest(key_use.last_at, excluded.last_at)"
)


class PostgresInitialAccessTokens(Table):
    """See ports.InitialAccessTokens."""

    async def find(self, digest: bytes) -> InitialAccessToken | None:
        async with self._lines.take() as connection:
            record = await connection.fetchval("SELECT record FROM initial_access_token WHERE digest = $1", digest)
        return None if record is None else msgspec.json.decode(record, type=InitialAccessToken)

    async def list(self) -> list[InitialAccessToken]:
        async with self._lines.take() as connection:
            rows = await connection.fetch("SELECT record FROM initial_access_token ORDER BY number DESC")
        return [msgspec.json.decode(record, type=InitialAccessToken) for (record,) in rows]

    async def add(self, token: InitialAccessToken, *, tell: Tell | None = None) -> None:
        query = "INSERT INTO initial_access_token (id, digest, record) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
        async with self._change() as connection:
            if await connection.execute(query, token.id, token.digest, msgspec.json.encode(token)) != "INSERT 0 1":
                raise AlreadyExists(f"an initial access token {token.id} exists already")
            await self._tell(connection, tell, None, token)

    async def remove(self, id: str, *, tell: Tell | None = None) -> None:  # noqa: A002 - its name
        query = "DELETE FROM initial_access_token WHERE id = $1 RETURNING record"
        async with self._change() as connection:
            record = await connection.fetchval(query, id) if is_text(id) else None
            if record is None:
                raise NotFound(f"there is no initial access token {id}")
            await self._tell(connection, tell, msgspec.json.decode(record, type=InitialAccessToken), None)


class PostgresKeyUses(Table):
    """See ports.KeyUses."""

    async def add(self, uses: Sequence[KeyUse]) -> None:
        rows = [(use.client_id, use.credential, use.count, use.first_at, use.last_at) for use in uses]
        if rows:
            async with self._lines.change() as connection:
                await connection.execute(_USE, *map(list, zip(*rows, strict=True)))

    async def list(self, *client_ids: str) -> list[KeyUse]:
        query = "SELECT client_id, credential, count, first_at, last_at FROM key_use WHERE client_id = ANY($1::text[])"
        async with self._lines.take() as connection:
            return [KeyUse(*row) for row in await connection.fetch(query, list(filter(is_text, client_ids)))]
