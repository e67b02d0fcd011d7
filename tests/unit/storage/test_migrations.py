"""What an older version wrote is read as what it meant."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from importlib import resources
from typing import TYPE_CHECKING

import asyncpg
import pytest

from affiant.jose import keys
from affiant.storage.postgres import PostgresStore
from affiant.storage.records import Client, ClientKey
from affiant.storage.sqlite import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

    from affiant.storage.ports import Store

pytestmark = pytest.mark.anyio
KEYS = [keys.generate("ES256").public(), keys.generate("Ed25519").public()]
# As version 0.1.0 wrote clients: their keys as one JWK Set, in a text.
OLD = {
    "client_id": "c",
    "token_endpoint_auth_method": "private_key_jwt",
    "jwks": json.dumps({"keys": [key.to_jwk() for key in KEYS]}),
    "scope": ["r", "w"],
    "secrets": [],
    "enabled": False,
    "created_at": 1_700_000_000,
}
OTHER = {"client_id": "d", "token_endpoint_auth_method": "client_secret_basic", "jwks": None, "created_at": 5}


def _files(engine: str, number: int) -> list[str]:
    folder = resources.files(f"affiant.storage.migrations.{engine}")
    return [file.read_text("utf-8") for file in sorted(folder.iterdir(), key=lambda file: file.name)][:number]


async def _check(store: Store) -> None:
    await store.open()
    try:
        found = await store.clients.find("c")
        assert found is not None
        expected = tuple(
            ClientKey(key.kid, "", 1_700_000_000, proved_at=1_700_000_000, source="operator") for key in KEYS
        )
        assert [json.loads(key.jwk) for key in found.keys] == [key.to_jwk() for key in KEYS]
        assert tuple(
            ClientKey(k.kid, "", k.created_at, k.not_before, k.expires_at, k.proved_at) for k in found.keys
        ) == (expected)
        assert (found.scope, found.enabled, found.created_at) == (("r", "w"), False, 1_700_000_000)
        assert await store.clients.find("d") == Client("d", "client_secret_basic", created_at=5)
    finally:
        await store.close()


async def test_keys_of_a_jwk_set_on_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with contextlib.closing(sqlite3.connect(path)) as old:
        for text in _files("sqlite", 3):
            old.executescript(text)
        old.execute("PRAGMA user_version=3")
        for record in (OLD, OTHER):
            old.execute("INSERT INTO client VALUES (?, ?)", (record["client_id"], json.dumps(record).encode()))
        old.commit()
    await _check(SqliteStore(path))


async def test_keys_of_a_jwk_set_on_postgres(database: str) -> None:
    store = PostgresStore(database)
    old = await asyncpg.connect(database)
    try:
        await old.execute("CREATE TABLE migration (number integer PRIMARY KEY, name text NOT NULL)")
        for number, text in enumerate(_files("postgres", 3), 1):
            await old.execute(text)
            await old.execute("INSERT INTO migration VALUES ($1, 'x')", number)
        for record in (OLD, OTHER):
            await old.execute("INSERT INTO client VALUES ($1, $2)", record["client_id"], json.dumps(record).encode())
    finally:
        await old.close()
    await _check(store)
