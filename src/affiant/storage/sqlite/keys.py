"""Initial access tokens, and the uses of clients' credentials, in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from affiant.storage.ports import Tell
from affiant.storage.records import AlreadyExists, InitialAccessToken, KeyUse, NotFound
from affiant.storage.sqlite.connection import translated
from affiant.storage.sqlite.registry import Table
from affiant.storage.sqlite.writer import Transaction

_USE = (
    "INSERT INTO key_use (client_id, credential, count, first_at, last_at) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (client_id, credential) DO UPDATE SET count = count + excluded.count,"
    " first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at)"
)


class SqliteInitialAccessTokens(Table):
    """See ports.InitialAccessTokens."""

    async def find(self, digest: bytes) -> InitialAccessToken | None:
        query = "SELECT record FROM initial_access_token WHERE digest = ?"
        with translated():
            row = self._reader().execute(query, (digest,)).fetchone()
        return msgspec.json.decode(row[0], type=InitialAccessToken) if row else None

    async def list(self) -> list[InitialAccessToken]:
        return await self._pages().read(_initial_access_tokens)

    async def add(self, token: InitialAccessToken, *, tell: Tell | None = None) -> None:
        query = "INSERT INTO initial_access_token (id, digest, record) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"

        def work(transaction: Transaction) -> None:
            row = (token.id, token.digest, msgspec.json.encode(token))
            if transaction.connection.execute(query, row).rowcount != 1:
                raise AlreadyExists(f"an initial access token {token.id} exists already")
            self._tell(transaction, tell, None, token)

        await self._writer().change(work)

    async def remove(self, id: str, *, tell: Tell | None = None) -> None:  # noqa: A002 - its name
        query = "DELETE FROM initial_access_token WHERE id = ? RETURNING record"

        def work(transaction: Transaction) -> None:
            row = transaction.connection.execute(query, (id,)).fetchone()
            if row is None:
                raise NotFound(f"there is no initial access token {id}")
            self._tell(transaction, tell, msgspec.json.decode(row[0], type=InitialAccessToken), None)

        await self._writer().change(work)


class SqliteKeyUses(Table):
    """See ports.KeyUses."""

    async def add(self, uses: Sequence[KeyUse]) -> None:
        rows = [(use.client_id, use.credential, use.count, use.first_at, use.last_at) for use in uses]

        def work(transaction: Transaction) -> None:
            transaction.connection.executemany(_USE, rows)  # no change that anybody caches

        await self._writer().change(work)

    async def list(self, *client_ids: str) -> list[KeyUse]:
        marks = ", ".join("?" * len(client_ids))
        query = f"SELECT client_id, credential, count, first_at, last_at FROM key_use WHERE client_id IN ({marks})"  # noqa: S608
        return await self._pages().read(lambda found: [KeyUse(*row) for row in found.execute(query, client_ids)])


def _initial_access_tokens(connection: sqlite3.Connection) -> list[InitialAccessToken]:
    rows = connection.execute("SELECT record FROM initial_access_token ORDER BY number DESC").fetchall()
    return [msgspec.json.decode(record, type=InitialAccessToken) for (record,) in rows]
