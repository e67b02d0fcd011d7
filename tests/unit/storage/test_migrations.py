"""What an older version wrote is read as what it meant."""

import base64
import contextlib
import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.stores import opened

from affiant.errors import ConfigError
from affiant.jose import keys
from affiant.storage import migrations
from affiant.storage.entries import KEPT_SECONDS, AuditRecord, Entry, Outcome, RefreshSelection, Rotation
from affiant.storage.ports import Store
from affiant.storage.postgres import PostgresStore
from affiant.storage.records import Client, ClientKey
from affiant.storage.sqlite import SqliteStore

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


async def _check(store: Store) -> None:
    async with opened(store):
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


def _old_sqlite(path: Path, version: int, insert: str, rows: Sequence[Sequence[Any]]) -> SqliteStore:
    with contextlib.closing(sqlite3.connect(path)) as old:
        for _, text in migrations.files("sqlite")[:version]:
            old.executescript(text)
        old.execute(f"PRAGMA user_version={version}")
        old.executemany(insert, rows)
        old.commit()
    return SqliteStore(path)


async def _old_postgres(url: str, version: int, insert: str, rows: Sequence[Sequence[Any]]) -> PostgresStore:
    old = await asyncpg.connect(url)
    try:
        await old.execute("CREATE TABLE migration (number integer PRIMARY KEY, name text NOT NULL)")
        for number, (_, text) in enumerate(migrations.files("postgres")[:version], 1):
            await old.execute(text)
            await old.execute("INSERT INTO migration VALUES ($1, 'x')", number)
        await old.executemany(insert, rows)
    finally:
        await old.close()
    return PostgresStore(url)


CLIENT_ROWS = [(record["client_id"], json.dumps(record).encode()) for record in (OLD, OTHER)]


async def test_keys_of_a_jwk_set_on_sqlite(tmp_path: Path) -> None:
    await _check(_old_sqlite(tmp_path / "old.db", 3, "INSERT INTO client VALUES (?, ?)", CLIENT_ROWS))


async def test_keys_of_a_jwk_set_on_postgres(database: str) -> None:
    await _check(await _old_postgres(database, 3, "INSERT INTO client VALUES ($1, $2)", CLIENT_ROWS))


NOW = 1_700_000_000
AUDIT = AuditRecord(at=NOW, trace_id="t", endpoint="token", outcome="issued")
INSERT = "INSERT INTO refresh_token (digest, family, client_id, record)"  # as version 0.1.0 does
# As it wrote refresh tokens: r1 was followed by r2, and old ended long ago, and so did one that was revoked.
REFRESH = [
    (name.encode(), family, "c", json.dumps({
        "digest": base64.b64encode(name.encode()).decode(), "family": family, "client_id": "c", "scope": ["s"],
        "resource": "https://a", "issued_at": end - 100, "idle_expires_at": end - 50, "expires_at": end,
        "spent_at": spent, "successor": "cjI=" if spent else None, "revoked_at": revoked, "key_thumbprint": "k",
        "authorization_details": None,
    }).encode())
    for name, family, end, spent, revoked in (
        ("r1", "f", NOW + 100, NOW, None), ("r2", "f", NOW + 100, None, None), ("r9", "g", NOW + 100, None, NOW),
        ("old", "h", NOW - KEPT_SECONDS - 1, None, None),
    )
]  # fmt: skip


async def _check_refresh(store: Store) -> None:
    async with opened(store):
        await store.ledger.purge(NOW)
        assert [token.digest for token in await store.refresh_tokens.list()] == [b"r1", b"r2", b"r9"]
        for spent, successor, outcome in (
            (b"r9", b"x", Outcome.REFRESH_REVOKED),
            (b"r1", b"r2", Outcome.REPEATED),
            (b"r2", b"r3", Outcome.FIRST),
        ):
            rotation = Rotation(spent, successor, NOW + 9, 1000)
            assert await store.ledger.claim(Entry(AUDIT, rotation=rotation)) is outcome
        await store.ledger.claim(Entry(AUDIT, revoke_refresh=RefreshSelection(resource="https://a")))
        assert all(token.revoked_at == NOW for token in await store.refresh_tokens.list())
        await store.ledger.purge(NOW + 101 + KEPT_SECONDS)
        assert await store.refresh_tokens.list() == []


async def test_ends_of_refresh_tokens_on_sqlite(tmp_path: Path) -> None:
    await _check_refresh(_old_sqlite(tmp_path / "old.db", 4, f"{INSERT} VALUES (?, ?, ?, ?)", REFRESH))


async def test_ends_of_refresh_tokens_on_postgres(database: str) -> None:
    await _check_refresh(await _old_postgres(database, 4, f"{INSERT} VALUES ($1, $2, $3, $4)", REFRESH))


async def test_an_older_process_makes_no_refresh_token_any_more(tmp_path: Path, database: str) -> None:
    """It does not know what ends them: one that is still running would go on with what has ended."""
    for store in (SqliteStore(tmp_path / "new.db"), PostgresStore(database)):
        async with opened(store):
            pass
    with contextlib.closing(sqlite3.connect(tmp_path / "new.db")) as old, pytest.raises(sqlite3.IntegrityError):
        old.execute(INSERT.replace("INSERT", "INSERT OR REPLACE") + " VALUES (?, ?, ?, ?)", REFRESH[0])
    node = await asyncpg.connect(database)
    try:
        with pytest.raises(asyncpg.NotNullViolationError):
            await node.execute(
                "INSERT INTO refresh_token SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::bytea[])"
                " ON CONFLICT (digest) DO UPDATE SET record = excluded.record",
                *([value] for value in REFRESH[0]),
            )
    finally:
        await node.close()


def _with_one_more(monkeypatch: pytest.MonkeyPatch, oldest: int) -> None:
    """The next release has another file."""
    files = migrations.files

    def more(engine: str) -> list[tuple[str, str]]:
        return [*files(engine), ("9999_next.sql", "ALTER TABLE client ADD COLUMN later text;\n")]

    monkeypatch.setattr(migrations, "files", more)
    monkeypatch.setattr(migrations, "OLDEST", oldest)


@pytest.mark.parametrize("is_needed", [False, True])
async def test_a_newer_schema_says_which_code_may_use_it(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch, *, is_needed: bool
) -> None:
    """A node that starts again between the upgrades of two nodes still serves, unless a file forbids it."""
    known = len(migrations.files("sqlite"))
    stores: list[Callable[[], Store]] = [lambda: SqliteStore(tmp_path / "s.db"), lambda: PostgresStore(database)]
    for make in stores:
        async with opened(make()):
            pass
        with monkeypatch.context() as newer:
            _with_one_more(newer, known + is_needed)
            async with opened(make()) as store:
                await store.clients.add(Client("new", "private_key_jwt", created_at=1))
        if is_needed:
            with pytest.raises(ConfigError, match="made by a newer affiant"):
                await make().open()
            continue
        async with opened(make()) as store:
            await store.clients.add(Client("old", "private_key_jwt", created_at=1))
            assert {client.client_id for client in await store.clients.list()} == {"new", "old"}
        async with opened(make()):  # again: nothing was changed by it
            pass
