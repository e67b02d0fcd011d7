"""Clients, APIs, signing keys and settings in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from affiant.storage.ports import Tell
from affiant.storage.records import AlreadyExists, Api, Beside, Client, InitialAccessToken, NotFound, SigningKey, spent
from affiant.storage.sqlite.connection import translated
from affiant.storage.sqlite.ledger import commit
from affiant.storage.sqlite.pages import Pages
from affiant.storage.sqlite.writer import Transaction, Writer


class Table:
    """One kind of thing that is registered."""

    def __init__(
        self,
        reader: Callable[[], sqlite3.Connection],
        pages: Callable[[], Pages],
        writer: Callable[[], Writer],
        audit_key: bytes = b"",
    ) -> None:
        self._reader = reader
        self._pages = pages
        self._writer = writer
        self._audit_key = audit_key

    def _tell(self, transaction: Transaction, tell: Tell | None, before: Any, after: Any) -> None:
        """Count the change, and write down what is told of it."""
        transaction.changed = True
        if tell is not None:
            commit(self._audit_key, transaction, tell(before, after))


class SqliteClients(Table):
    """See ports.Clients."""

    async def find(self, client_id: str) -> Client | None:
        with translated():
            return _client(self._reader(), client_id)

    async def list(self, *, after: str = "", limit: int | None = None) -> list[Client]:
        query = "SELECT record FROM client WHERE client_id > ? ORDER BY client_id LIMIT ?"

        def read(connection: sqlite3.Connection) -> list[Client]:
            rows = connection.execute(query, (after, -1 if limit is None else limit)).fetchall()
            return [msgspec.json.decode(record, type=Client) for (record,) in rows]

        return await self._pages().read(read)

    async def add(self, client: Client, *, tell: Tell | None = None, spend: str | None = None) -> None:
        def work(transaction: Transaction) -> None:
            execute = transaction.connection.execute
            # Both are looked at before anything is written: what is refused must leave nothing behind.
            if _client(transaction.connection, client.client_id) is not None:
                raise AlreadyExists(f"a client named {client.client_id} exists already")
            if spend is not None:
                left = spent(_initial(transaction.connection, spend), spend)
                execute("UPDATE initial_access_token SET record = ? WHERE id = ?", (msgspec.json.encode(left), spend))
            row = (client.client_id, msgspec.json.encode(client))
            execute("INSERT INTO client (client_id, record) VALUES (?, ?)", row)
            self._tell(transaction, tell, None, client)

        await self._writer().change(work)

    async def update(
        self,
        client_id: str,
        change: Callable[[Client], Client],
        *,
        tell: Tell | None = None,
        beside: Beside | None = None,
    ) -> Client:
        def work(transaction: Transaction) -> Client:
            before = _get(transaction.connection, client_id)
            client = change(before)
            _check(transaction.connection, beside, before, client)
            query = "UPDATE client SET record = ? WHERE client_id = ?"
            transaction.connection.execute(query, (msgspec.json.encode(client), client_id))
            self._tell(transaction, tell, before, client)
            return client

        changed: Client = await self._writer().change(work)
        return changed

    async def remove(self, client_id: str, *, tell: Tell | None = None, beside: Beside | None = None) -> None:
        def work(transaction: Transaction) -> None:
            before = _get(transaction.connection, client_id)
            _check(transaction.connection, beside, before, None)
            for table in ("client", "refresh_token", "key_use"):
                transaction.connection.execute(f"DELETE FROM {table} WHERE client_id = ?", (client_id,))  # noqa: S608
            self._tell(transaction, tell, before, None)

        await self._writer().change(work)


class SqliteApis(Table):
    """See ports.Apis."""

    async def find(self, identifier: str) -> Api | None:
        with translated():
            return _api(self._reader(), identifier)

    async def list(self) -> list[Api]:
        return await self._pages().read(_apis)

    async def add(self, api: Api, *, tell: Tell | None = None) -> None:
        def work(transaction: Transaction) -> None:
            query = "INSERT INTO api (identifier, record) VALUES (?, ?) ON CONFLICT DO NOTHING"
            row = (api.identifier, msgspec.json.encode(api))
            if transaction.connection.execute(query, row).rowcount != 1:
                raise AlreadyExists(f"an API with the identifier {api.identifier} exists already")
            if api.is_default:
                _leave_default(transaction.connection, api.identifier)
            self._tell(transaction, tell, None, api)

        await self._writer().change(work)

    async def update(self, identifier: str, change: Callable[[Api], Api], *, tell: Tell | None = None) -> Api:
        def work(transaction: Transaction) -> Api:
            before = _get_api(transaction.connection, identifier)
            api = change(before)
            query = "UPDATE api SET record = ? WHERE identifier = ?"
            transaction.connection.execute(query, (msgspec.json.encode(api), identifier))
            if api.is_default:
                _leave_default(transaction.connection, identifier)
            self._tell(transaction, tell, before, api)
            return api

        changed: Api = await self._writer().change(work)
        return changed

    async def remove(self, identifier: str, *, tell: Tell | None = None) -> None:
        def work(transaction: Transaction) -> None:
            before = _get_api(transaction.connection, identifier)
            transaction.connection.execute("DELETE FROM api WHERE identifier = ?", (identifier,))
            self._tell(transaction, tell, before, None)

        await self._writer().change(work)

    async def default(self) -> Api | None:
        return next((api for api in await self.list() if api.is_default), None)


class SqliteSigningKeys(Table):
    """See ports.SigningKeys."""

    async def list(self) -> list[SigningKey]:
        with translated():
            return _signing_keys(self._reader())

    async def change(
        self, change: Callable[[Sequence[SigningKey]], Sequence[SigningKey]], *, tell: Tell | None = None
    ) -> None:
        query = (
            "INSERT INTO signing_key (kid, record) VALUES (?, ?)"
            " ON CONFLICT (kid) DO UPDATE SET record = excluded.record"
        )

        def work(transaction: Transaction) -> None:
            before = _signing_keys(transaction.connection)
            changed = change(before)
            for key in changed:
                transaction.connection.execute(query, (key.kid, msgspec.json.encode(key)))
            if changed:
                self._tell(transaction, tell, before, changed)

        await self._writer().change(work)


class SqliteSettings(Table):
    """See ports.Settings."""

    async def get(self, name: str) -> str | None:
        with translated():
            row = self._reader().execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else None

    async def put(self, name: str, value: str) -> None:
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


def _check(connection: sqlite3.Connection, beside: Beside | None, before: Client, after: Client | None) -> None:
    if beside is not None:
        beside.check(before, after, _client(connection, beside.client_id))


def _api(connection: sqlite3.Connection, identifier: str) -> Api | None:
    row = connection.execute("SELECT record FROM api WHERE identifier = ?", (identifier,)).fetchone()
    return msgspec.json.decode(row[0], type=Api) if row else None


def _get_api(connection: sqlite3.Connection, identifier: str) -> Api:
    api = _api(connection, identifier)
    if api is None:
        raise NotFound(f"there is no API with the identifier {identifier}")
    return api


def _initial(connection: sqlite3.Connection, id: str) -> InitialAccessToken | None:  # noqa: A002 - its name
    row = connection.execute("SELECT record FROM initial_access_token WHERE id = ?", (id,)).fetchone()
    return msgspec.json.decode(row[0], type=InitialAccessToken) if row else None


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
