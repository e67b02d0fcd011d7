"""Clients, APIs, signing keys and settings in PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from affiant.errors import Error
from affiant.storage.ports import Tell
from affiant.storage.postgres.commit import LOCK_HEAD, append
from affiant.storage.postgres.connection import Lines, is_text
from affiant.storage.postgres.watch import CHANNEL, Watch
from affiant.storage.records import AlreadyExists, Api, Beside, Client, InitialAccessToken, NotFound, SigningKey, spent

# Taken first by whoever changes something: changes follow each other, as if there were one writer.
_LOCK = "SELECT FROM version FOR UPDATE"
# Announced by the commit, and so never before the change can be seen.
_CHANGED = (
    "WITH changed AS (UPDATE version SET number = number + 1 RETURNING number)"
    " SELECT number, pg_notify($1, number::text) FROM changed"
)


class Table:
    """One kind of thing that is registered."""

    def __init__(self, lines: Lines, watch: Watch, audit_key: bytes = b"") -> None:
        self._lines = lines
        self._watch = watch
        self._audit_key = audit_key

    @contextlib.asynccontextmanager
    async def _change(self) -> AsyncIterator[Any]:
        async with self._lines.change() as connection:
            await connection.execute(_LOCK)
            yield connection
            number, _ = await connection.fetchrow(_CHANGED, CHANNEL)
        self._watch.note(number)

    async def _tell(self, connection: Any, tell: Tell | None, before: Any, after: Any) -> None:
        """Write down what is told of a change, in its own transaction."""
        if tell is not None and (entries := tell(before, after)):
            # After the version's lock, as everywhere.
            await connection.execute(LOCK_HEAD)
            await append(connection, entries, self._audit_key)


class PostgresClients(Table):
    """See ports.Clients."""

    async def find(self, client_id: str) -> Client | None:
        async with self._lines.take() as connection:
            return await _client(connection, client_id)

    async def list(self, *, after: str = "", limit: int | None = None) -> list[Client]:
        query = "SELECT record FROM client WHERE client_id > $1 ORDER BY client_id LIMIT $2"
        if not is_text(after):
            return []
        async with self._lines.take() as connection:
            rows = await connection.fetch(query, after, limit)
        return [msgspec.json.decode(record, type=Client) for (record,) in rows]

    async def add(self, client: Client, *, tell: Tell | None = None, spend: str | None = None) -> None:
        query = "INSERT INTO client VALUES ($1, $2) ON CONFLICT DO NOTHING"
        async with self._change() as connection:
            if await connection.execute(query, client.client_id, msgspec.json.encode(client)) != "INSERT 0 1":
                raise AlreadyExists(f"a client named {client.client_id} exists already")
            if spend is not None:
                await _spend(connection, spend)
            await self._tell(connection, tell, None, client)

    async def update(
        self,
        client_id: str,
        change: Callable[[Client], Client],
        *,
        tell: Tell | None = None,
        beside: Beside | None = None,
    ) -> Client:
        async with self._change() as connection:
            standing = await _client(connection, client_id)
            if standing is None:
                raise _nobody(client_id)
            client = change(standing)
            await _check(connection, beside, standing, client)
            query = "UPDATE client SET record = $2 WHERE client_id = $1"
            await connection.execute(query, client_id, msgspec.json.encode(client))
            await self._tell(connection, tell, standing, client)
        return client

    async def remove(self, client_id: str, *, tell: Tell | None = None, beside: Beside | None = None) -> None:
        async with self._change() as connection:
            # A group that is being committed may rotate one of its refresh tokens, and would bring it back.
            await connection.execute(LOCK_HEAD)
            standing = await _client(connection, client_id)
            if standing is None:
                raise _nobody(client_id)
            await _check(connection, beside, standing, None)
            for table in ("client", "refresh_token", "key_use"):
                await connection.execute(f"DELETE FROM {table} WHERE client_id = $1", client_id)  # noqa: S608
            await self._tell(connection, tell, standing, None)


class PostgresApis(Table):
    """See ports.Apis."""

    async def find(self, identifier: str) -> Api | None:
        async with self._lines.take() as connection:
            return await _api(connection, identifier)

    async def list(self) -> list[Api]:
        async with self._lines.take() as connection:
            return await _apis(connection)

    async def add(self, api: Api, *, tell: Tell | None = None) -> None:
        query = "INSERT INTO api VALUES ($1, $2) ON CONFLICT DO NOTHING"
        async with self._change() as connection:
            if await connection.execute(query, api.identifier, msgspec.json.encode(api)) != "INSERT 0 1":
                raise AlreadyExists(f"an API with the identifier {api.identifier} exists already")
            if api.is_default:
                await _leave_default(connection, api.identifier)
            await self._tell(connection, tell, None, api)

    async def update(self, identifier: str, change: Callable[[Api], Api], *, tell: Tell | None = None) -> Api:
        async with self._change() as connection:
            standing = await _get_api(connection, identifier)
            api = change(standing)
            query = "UPDATE api SET record = $2 WHERE identifier = $1"
            await connection.execute(query, identifier, msgspec.json.encode(api))
            if api.is_default:
                await _leave_default(connection, identifier)
            await self._tell(connection, tell, standing, api)
        return api

    async def remove(self, identifier: str, *, tell: Tell | None = None) -> None:
        async with self._change() as connection:
            standing = await _get_api(connection, identifier)
            await connection.execute("DELETE FROM api WHERE identifier = $1", identifier)
            await self._tell(connection, tell, standing, None)

    async def default(self) -> Api | None:
        return next((api for api in await self.list() if api.is_default), None)


class PostgresSigningKeys(Table):
    """See ports.SigningKeys."""

    async def list(self) -> list[SigningKey]:
        async with self._lines.take() as connection:
            return await _signing_keys(connection)

    async def change(
        self, change: Callable[[Sequence[SigningKey]], Sequence[SigningKey]], *, tell: Tell | None = None
    ) -> None:
        query = (
            "INSERT INTO signing_key (kid, record) VALUES ($1, $2)"
            " ON CONFLICT (kid) DO UPDATE SET record = excluded.record"
        )
        with contextlib.suppress(_NoChange):
            async with self._change() as connection:
                standing = await _signing_keys(connection)
                changed = change(standing)
                if not changed:
                    raise _NoChange
                await connection.executemany(query, [(key.kid, msgspec.json.encode(key)) for key in changed])
                await self._tell(connection, tell, standing, changed)


class PostgresSettings(Table):
    """See ports.Settings."""

    async def get(self, name: str) -> str | None:
        async with self._lines.take() as connection:
            value: str | None = await connection.fetchval("SELECT value FROM setting WHERE name = $1", name)
        return value

    async def put(self, name: str, value: str) -> None:
        query = "INSERT INTO setting VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        async with self._change() as connection:
            await connection.execute(query, name, value)


class _NoChange(Error):
    """Undoes a transaction that changed nothing, so that the version stays."""


def _nobody(client_id: str) -> NotFound:
    return NotFound(f"there is no client named {client_id}")


async def _client(connection: Any, client_id: str) -> Client | None:
    if not is_text(client_id):
        return None
    record = await connection.fetchval("SELECT record FROM client WHERE client_id = $1", client_id)
    return None if record is None else msgspec.json.decode(record, type=Client)


async def _check(connection: Any, beside: Beside | None, before: Client, after: Client | None) -> None:
    # The version is locked: what stands now stands until the commit.
    if beside is not None:
        beside.check(before, after, await _client(connection, beside.client_id))


async def _api(connection: Any, identifier: str) -> Api | None:
    if not is_text(identifier):
        return None
    record = await connection.fetchval("SELECT record FROM api WHERE identifier = $1", identifier)
    return None if record is None else msgspec.json.decode(record, type=Api)


async def _get_api(connection: Any, identifier: str) -> Api:
    api = await _api(connection, identifier)
    if api is None:
        raise NotFound(f"there is no API with the identifier {identifier}")
    return api


async def _spend(connection: Any, id: str) -> None:  # noqa: A002 - its name
    # The version is locked: nobody else spends it meanwhile.
    record = await connection.fetchval("SELECT record FROM initial_access_token WHERE id = $1", id)
    left = spent(None if record is None else msgspec.json.decode(record, type=InitialAccessToken), id)
    await connection.execute("UPDATE initial_access_token SET record = $2 WHERE id = $1", id, msgspec.json.encode(left))


async def _apis(connection: Any) -> list[Api]:
    rows = await connection.fetch("SELECT record FROM api ORDER BY identifier")
    return [msgspec.json.decode(record, type=Api) for (record,) in rows]


async def _leave_default(connection: Any, identifier: str) -> None:
    for api in await _apis(connection):
        if api.is_default and api.identifier != identifier:
            record = msgspec.json.encode(replace(api, is_default=False))
            await connection.execute("UPDATE api SET record = $2 WHERE identifier = $1", api.identifier, record)


async def _signing_keys(connection: Any) -> list[SigningKey]:
    rows = await connection.fetch("SELECT record FROM signing_key ORDER BY number DESC")
    return [msgspec.json.decode(record, type=SigningKey) for (record,) in rows]
