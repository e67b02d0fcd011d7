"""Backups, and putting one back: whole, alone, and remembered."""

import asyncio
import os
import sqlite3
import stat
from pathlib import Path

import pytest
from tests.stores import NOW, entry, opened

from affiant.errors import ConfigError
from affiant.storage.records import RESTORED_AT, Client
from affiant.storage.sqlite import SqliteStore, copies


def _fill(path: Path, *numbers: int) -> None:
    async def run() -> None:
        async with opened(SqliteStore(path)) as store:
            await asyncio.gather(*(store.ledger.claim(entry(number)) for number in numbers))

    asyncio.run(run())


def _claims(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        (number,) = connection.execute("SELECT count(*) FROM jti").fetchone()
    connection.close()
    return int(number)


def test_a_backup_is_whole_while_others_write(tmp_path: Path) -> None:
    """As of one moment: as many claims as audit records, and it opens."""
    path, copy = tmp_path / "a.db", tmp_path / "copy.db"

    async def run() -> None:
        async with opened(SqliteStore(path)) as store:
            writing = asyncio.gather(*(store.ledger.claim(entry(number)) for number in range(3000)))
            await asyncio.to_thread(copies.backup, path, copy)
            await writing

    asyncio.run(run())
    copies.check(copy)
    with sqlite3.connect(copy) as connection:
        numbers = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("jti", "audit")]
    connection.close()
    assert numbers[0] == numbers[1]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_a_backup_overwrites_nothing(tmp_path: Path) -> None:
    _fill(tmp_path / "a.db", 1)
    (tmp_path / "copy.db").write_bytes(b"precious")
    with pytest.raises(ConfigError, match="exists already"):
        copies.backup(tmp_path / "a.db", tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_bytes() == b"precious"
    with pytest.raises(ConfigError, match="no backup was made"):
        copies.backup(tmp_path / "a.db", tmp_path / "missing" / "copy.db")


def test_restore(tmp_path: Path) -> None:
    """What was there is kept; the restored one says when, and its version is another."""
    path, copy = tmp_path / "a.db", tmp_path / "copy.db"
    _fill(path, 1)
    copies.backup(path, copy)
    _fill(path, 2, 3)
    kept = copies.restore(copy, path, now=NOW)
    assert kept is not None
    assert (_claims(path), _claims(kept)) == (1, 3)

    async def run() -> tuple[str | None, int]:
        async with opened(SqliteStore(path)) as store:
            return await store.settings.get(RESTORED_AT), await store.version()

    restored_at, version = asyncio.run(run())
    assert restored_at == str(NOW)
    assert version > 1
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "a.db",
        f"a.db.before-{NOW}",
        "a.db.lock",
        "copy.db",
    ]


def test_restore_where_nothing_was(tmp_path: Path) -> None:
    _fill(tmp_path / "a.db", 1)
    copies.backup(tmp_path / "a.db", tmp_path / "copy.db")
    (tmp_path / "new").mkdir()
    assert copies.restore(tmp_path / "copy.db", tmp_path / "new" / "a.db", now=NOW) is None
    assert _claims(tmp_path / "new" / "a.db") == 1


def test_restore_over_a_damaged_one(tmp_path: Path) -> None:
    path, copy = tmp_path / "a.db", tmp_path / "copy.db"
    _fill(path, *range(200))
    copies.backup(path, copy)
    path.write_bytes(os.urandom(50_000))
    with pytest.raises(ConfigError, match=r"not a whole database|damaged"):
        copies.check(path)
    copies.restore(copy, path, now=NOW)
    copies.check(path)
    assert _claims(path) == 200


def test_restore_while_it_is_used(tmp_path: Path) -> None:
    path, copy = tmp_path / "a.db", tmp_path / "copy.db"
    _fill(path, 1)
    copies.backup(path, copy)

    async def run() -> None:
        store = SqliteStore(path)
        async with opened(store):
            with pytest.raises(ConfigError, match="in use: stop the server"):
                copies.restore(copy, path, now=NOW)
        with copies.locked(path, alone=True), pytest.raises(ConfigError, match="being put in its place"):
            await store.open()

    asyncio.run(run())


def test_a_restore_that_was_cut_off_is_noticed(tmp_path: Path) -> None:
    """Killed in the middle: no server opens the half-restored file, and a second restore works."""
    path, copy = tmp_path / "a.db", tmp_path / "copy.db"
    _fill(path, 1)
    copies.backup(path, copy)
    copies.restoring(path).write_bytes(b"half")
    with pytest.raises(ConfigError, match="only half put"):
        _fill(path, 2)
    copies.restore(copy, path, now=NOW)
    _fill(path, 2)
    assert _claims(path) == 2


@pytest.mark.parametrize("content", [b"", b"not a database at all", b"SQLite format 3\0" + bytes(5000)])
def test_a_copy_that_is_none(tmp_path: Path, content: bytes) -> None:
    """It is found out before anything is touched."""
    path, copy = tmp_path / "a.db", tmp_path / "copy.db"
    _fill(path, 1)
    copy.write_bytes(content)
    with pytest.raises(ConfigError, match=r"copy.db"):
        copies.restore(copy, path, now=NOW)
    with pytest.raises(ConfigError, match="there is no file"):
        copies.check(tmp_path / "missing.db")
    assert _claims(path) == 1


@pytest.mark.parametrize("fast", [True, False])
def test_check_names_the_damage(tmp_path: Path, *, fast: bool) -> None:
    path = tmp_path / "a.db"

    async def run() -> None:
        async with opened(SqliteStore(path)) as store:
            for number in range(300):
                await store.clients.add(Client(f"client-{number}", "private_key_jwt", scope=("x" * 100,)))

    asyncio.run(run())
    copies.check(path, fast=fast)
    size = path.stat().st_size
    with path.open("r+b") as file:  # pages in the middle, with the clients
        for place in range(8192, size - 4096, 4096):
            file.seek(place)
            file.write(b"\xff" * 64)
    with pytest.raises(ConfigError, match=r"damaged|not a whole database"):
        copies.check(path, fast=fast)


def test_messages_about_a_copy_end_with_its_remedy(tmp_path: Path) -> None:
    path, copy = tmp_path / "a.db", tmp_path / "copy.db"
    _fill(path, 1)
    copy.write_text("no database")
    with pytest.raises(ConfigError, match=r"copy\.db is not a whole database .*: name another backup$"):
        copies.restore(copy, path, now=NOW)
    with pytest.raises(ConfigError, match=r"nowhere/copy\.db: No such file or directory$"):
        copies.backup(path, tmp_path / "nowhere" / "copy.db")
