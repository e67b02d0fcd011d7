"""Clients, APIs, signing keys and settings in SQLite."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from affiant.storage.ports import AlreadyExists, NotFound
from affiant.storage.records import Api, Client, SigningKey
from affiant.storage.sqlite.connection import translated

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from affiant.storage.sqlite.writer import Transaction, Writer


class _Table:
    def __init__(self, reader: Callable[[], sqlite3.Connection], writer: Callable[[], Writer]) -> None:
        self._reader = reader
        self._writer = writer


class SqliteClients(_Table):
    """See ports.Clients."""

    async def find(self, client_id: str) -> Client | None:
        """See ports.Clients."""
        with translated():
            return _client(self._reader(), client_id)

    async def list(self) -> list[Client]:
        """See ports.Clients."""
        with translated():
            rows = self._reader().execute("SELECT record FROM client ORDER BY client_id").fetchall()
        return [msgspec.json.decode(record, type=Client) for (record,) in rows]

    async def add(self, client: Client) -> None:
        """See ports.Clients."""

        def work(transaction: Transaction) -> None:
            query = "INSERT INTO client (client_id, record) VALUES (?, ?) ON CONFLICT DO NOTHING"
            row = (client.client_id, msgspec.json.encode(client))
            if transaction.connection.execute(query, row).rowcount != 1:
                raise AlreadyExists(f"a client named {client.client_id} exists already")
            transaction.changed = True

        await self._writer().change(work)

    async def update(self, client_id: str, change: Callable[[Client], Client]) -> Client:
        """See ports.Clients."""

        def work(transaction: Transaction) -> Client:
            client = change(_get(transaction.connection, client_id))
            query = "UPDATE client SET record = ? WHERE client_id = ?"
            transaction.connection.execute(query, (msgspec.json.encode(client), client_id))
            transaction.changed = True
            return client

        changed: Client = await self._writer().change(work)
        return changed

    async def remove(self, client_id: str) -> None:
        """See ports.Clients."""

        def work(transaction: Transaction) -> None:
            _get(transaction.connection, client_id)
            transaction.connection.execute("DELETE FROM client WHERE client_id = ?", (client_id,))
            transaction.connection.execute("DELETE FROM refresh_token WHERE client_id = ?", (client_id,))
            transaction.changed = True

        await self._writer().change(work)


class SqliteApis(_Table):
    """See ports.Apis."""

    async def find(self, identifier: str) -> Api | None:
        """See ports.Apis."""
        with translated():
            row = self._reader().execute("SELECT record FROM api WHERE identifier = ?", (identifier,)).fetchone()
        return msgspec.json.decode(row[0], type=Api) if row else None

    async def list(self) -> list[Api]:
        """See ports.Apis."""
        with translated():
            return _apis(self._reader())

    async def add(self, api: Api) -> None:
        """See ports.Apis."""

        def work(transaction: Transaction) -> None:
            query = "INSERT INTO api (identifier, record) VALUES (?, ?) ON CONFLICT DO NOTHING"
            row = (api.identifier, msgspec.json.encode(api))
            if transaction.connection.execute(query, row).rowcount != 1:
                raise AlreadyExists(f"an API with the identifier {api.identifier} exists already")
            if api.is_default:
                _leave_default(transaction.connection, api.identifier)
            transaction.changed = True

        await self._writer().change(work)

    async def default(self) -> Api | None:
        """See ports.Apis."""
        return next((api for api in await self.list() if api.is_default), None)


class SqliteSigningKeys(_Table):
    """See ports.SigningKeys."""

    async def list(self) -> list[SigningKey]:
        """See ports.SigningKeys."""
        with translated():
            return _signing_keys(self._reader())

    async def change(self, change: Callable[[Sequence[SigningKey]], Sequence[SigningKey]]) -> None:
        """See ports.SigningKeys."""
        query = (
            "INSERT INTO signing_key (kid, record) VALUES (?, ?)"
            " ON CONFLICT (kid) DO UPDATE SET record = excluded.record"
        )

        def work(transaction: Transaction) -> None:
            for key in change(_signing_keys(transaction.connection)):
                transaction.connection.execute(query, (key.kid, msgspec.json.encode(key)))
                transaction.changed = True

        await self._writer().change(work)


class SqliteSettings(_Table):
    """See ports.Settings."""

    async def get(self, name: str) -> str | None:
        """See ports.Settings."""
        with translated():
            row = self._reader().execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else None

    async def put(self, name: str, value: str) -> None:
        """See ports.Settings."""
        query = "INSERT INTO setting VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"

        def work(transaction: Transaction) -> None:
            transaction.connection.execute(query, (name, value))
            transaction.changed = True

        await self._writer().change(work)


def _client(connection: sqlite3.Connection, client_id: str) -> Client | None:
    row = connection.execute("SELECT record FROM client WHERE client_id = ?", (client_id,)).fetchone()
    return msgspec.json.decode(row[0], type=Client) if row else None


def _get(connection: sqlite3.Connection, client_id: str) -> Client:
    client = _client(connection, client_id)
    if client is None:
        raise NotFound(f"there is no client named {client_id}")
    return client


def _apis(connection: sqlite3.Connection) -> list[Api]:
    rows = connection.execute("SELECT record FROM api ORDER BY identifier").fetchall()
    return [msgspec.json.decode(record, type=Api) for (record,) in rows]


def _leave_default(connection: sqlite3.Connection, identifier: str) -> None:
    for api in _apis(connection):
        if api.is_default and api.identifier != identifier:
            record = msgspec.json.encode(replace(api, is_default=False))
            connection.execute("UPDATE api SET record = ? WHERE identifier = ?", (record, api.identifier))


def _signing_keys(connection: sqlite3.Connection) -> list[SigningKey]:
    rows = connection.execute("SELECT record FROM signing_key ORDER BY number DESC").fetchall()
    return [msgspec.json.decode(record, type=SigningKey) for (record,) in rows]
