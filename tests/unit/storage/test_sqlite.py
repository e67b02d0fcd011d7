"""SQLite's own troubles: files, disks, locks, and entries that cannot be written."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import structs
from tests.stores import entry

from affiant.errors import ConfigError, StoreError
from affiant.storage.entries import PROBE, AuditRecord, Entry, Outcome
from affiant.storage.sqlite import SqliteStore, connection


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqliteStore]:
    """An open store that does not wait long for locks."""
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    made = SqliteStore(tmp_path / "data" / "test.db")
    await made.open()
    yield made
    await made.close()


async def test_only_the_owner_may_read_it(store: SqliteStore, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    await store.ledger.claim(entry(1))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "test.db": 0o600,
        "test.db.lock": 0o600,
        "test.db-shm": 0o600,
        "test.db-wal": 0o600,
    }


async def test_what_cannot_be_opened_is_the_operators_to_solve(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "text.db").write_text("not a database, but long enough to be taken for one" * 100)
    (tmp_path / "folder.db").mkdir()
    for name in ("file/test.db", "text.db", "folder.db"):
        with pytest.raises(ConfigError, match="--data"):
            await SqliteStore(tmp_path / name).open()
    with pytest.raises(ConfigError, match="--data, or make it as root, with this user as its owner"):
        await SqliteStore(tmp_path / "file/data/test.db").open()


async def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version=999")
    other.close()
    with pytest.raises(ConfigError, match="newer"):
        await SqliteStore(path).open()


async def test_one_bad_entry_does_not_sink_the_others(store: SqliteStore) -> None:
    """It may fail after it wrote a part: of that part nothing may stay."""
    audit = AuditRecord(at=0.0, trace_id=b"bytes", endpoint="token", outcome="issued")  # type: ignore[arg-type]
    bad = structs.replace(entry(3), audit=audit)
    entries = [bad if number == 3 else entry(number) for number in range(8)]
    outcomes = await asyncio.gather(*map(store.ledger.claim, entries), return_exceptions=True)
    assert [outcome for number, outcome in enumerate(outcomes) if number != 3] == [Outcome.FIRST] * 7
    assert isinstance(outcomes[3], StoreError)
    assert len(await store.audit_log.export()) == 7
    assert await store.ledger.claim(entry(3)) is Outcome.FIRST


async def test_while_another_holds_the_lock_nothing_is_claimed(store: SqliteStore, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "data" / "test.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    outcomes = await asyncio.gather(*(store.ledger.claim(entry(n)) for n in range(4)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreError] * 4
    other.execute("ROLLBACK")
    other.close()
    assert await store.ledger.claim(entry(0)) is Outcome.FIRST


async def test_a_full_disk_refuses_and_recovers(store: SqliteStore) -> None:
    engine = store._writer()._connection
    (pages,) = engine.execute("PRAGMA page_count").fetchone()
    engine.execute(f"PRAGMA max_page_count={pages}")
    big = entry(0, detail="x" * 100_000)
    with pytest.raises(StoreError, match="full"):
        await store.ledger.claim(big)
    engine.execute(f"PRAGMA max_page_count={pages + 1000}")
    assert await store.ledger.claim(big) is Outcome.FIRST


async def test_purge_fails_until_the_store_takes_large_commits_again(store: SqliteStore) -> None:
    """That a small one fits is no sign: on a full disk each would say something else, and so would /health."""
    engine = store._writer()._connection
    (pages,) = engine.execute("PRAGMA page_count").fetchone()
    await store.ledger.purge(0)
    engine.execute(f"PRAGMA max_page_count={pages}")
    await store.ledger.purge(0)  # nothing has failed yet
    with pytest.raises(StoreError, match="full"):
        await store.ledger.claim(entry(0, detail="x" * 100_000))
    for _ in range(3):
        await store.settings.put("small", "fits")
        with pytest.raises(StoreError, match="full"):
            await store.ledger.purge(0)
    engine.execute(f"PRAGMA max_page_count={pages + 1000}")
    for _ in range(3):
        await store.ledger.purge(0)
    assert await store.settings.get(PROBE) is None


async def test_a_bad_entry_is_no_failure_of_the_store(store: SqliteStore) -> None:
    bad = Entry(structs.replace(entry(0).audit, trace_id=b"x"))
    with pytest.raises(StoreError):
        await store.ledger.claim(bad)
    engine = store._writer()._connection
    (pages,) = engine.execute("PRAGMA page_count").fetchone()
    engine.execute(f"PRAGMA max_page_count={pages}")
    await store.ledger.purge(0)  # looks no further


async def test_who_stopped_waiting_is_no_trouble(store: SqliteStore) -> None:
    waiting = asyncio.ensure_future(store.ledger.claim(entry(0)))
    await asyncio.sleep(0)
    waiting.cancel()
    assert await store.ledger.claim(entry(1)) is Outcome.FIRST
    assert await store.ledger.claim(entry(0)) is Outcome.REPLAYED


async def test_reading_waits_for_no_writer(store: SqliteStore, tmp_path: Path) -> None:
    """Nor does opening: a command that lists works while a server holds the lock with commit after commit."""
    await store.ledger.claim(entry(1))
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "test.db", isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        other = SqliteStore(tmp_path / "data" / "test.db")
        await other.open()
        assert len(await other.audit_log.export()) == 1
        assert (await other.audit_log.head()).number == 1
        assert not (*await other.clients.list(), *await other.apis.list(), *await other.revocations.list(0))
        await other.close()
        writer.execute("ROLLBACK")


async def test_page_that_was_read_keeps_no_snapshot(store: SqliteStore, tmp_path: Path) -> None:
    """However slow a reader, the write-ahead log can be emptied, and does not grow."""
    for number in range(4):
        await store.ledger.claim(entry(number))
    other = SqliteStore(tmp_path / "data" / "test.db")
    await other.open()
    assert len(await other.audit_log.export(limit=2)) == 2
    assert len(await other.audit_log.newest(limit=2)) == 2
    await other.refresh_tokens.list(), await other.revocations.list(0), await other.clients.list(limit=1)
    await store.ledger.claim(entry(5))
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "test.db", isolation_level=None)) as third:
        busy, *_ = third.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert not busy
    assert (tmp_path / "data" / "test.db-wal").stat().st_size == 0
    await other.close()


async def test_pages_are_read_outside_the_loop(store: SqliteStore, tmp_path: Path) -> None:
    """A disk that does not answer delays a list, and nothing else."""
    begun, go_on = threading.Event(), threading.Event()

    def stuck() -> int:
        begun.set()
        return go_on.wait(10)

    assert store._reads._pages is not None
    store._reads._pages.create_function("stuck", 0, stuck)
    reading = asyncio.create_task(store._reads.page("SELECT stuck()"))
    assert await asyncio.to_thread(begun.wait, 10)
    assert await store.ledger.claim(entry(1)) is Outcome.FIRST
    assert await store.clients.find("c") is None
    assert not reading.done()
    go_on.set()
    assert await reading == [(1,)]


async def test_pages_change_nothing(store: SqliteStore) -> None:
    with pytest.raises(StoreError, match="readonly"):
        await store._reads.page("DELETE FROM version")
