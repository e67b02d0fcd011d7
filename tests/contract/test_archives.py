"""Old audit records go into signed files, and the chain goes on, on every store."""

import asyncio
import gzip
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.contract.archiving import DAY, ISSUER, KEY, NOW, archived, entry, fill, parts, refusal, verified
from tests.stores import opened, run

from affiant.jose import compact, keys
from affiant.server.request.audit.archiving.folder import Folder
from affiant.server.request.audit.retention import NAME, Parts, Retention
from affiant.storage.entries import NO_BASE
from affiant.storage.history.archive import Reading, trace_of
from affiant.storage.history.audit_chain import Verification
from affiant.storage.history.base import is_sealed
from affiant.storage.ports import Store
from affiant.storage.sqlite import SqliteStore


@pytest.fixture
async def store(make_store: Callable[..., Store]) -> AsyncIterator[Store]:
    async with opened(make_store(audit_key=KEY.audit)) as made:
        yield made


def _lines(path: Path) -> list[bytes]:
    return gzip.decompress(path.read_bytes()).splitlines()


async def test_old_records_go_into_a_file(store: Store, tmp_path: Path) -> None:
    await fill(store, 100)
    made = await parts(store, tmp_path / "archive")
    rows = await verified(store)
    (one,) = await archived(made, 2 * DAY)
    assert (one.path.name, one.dropped) == ("audit-000000000000001-000000000000047.jsonl.gz", 47)
    assert one.path.stat().st_mode & 0o777 == 0o600
    assert one.path.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in one.path.parent.iterdir()] == [one.path.name]

    with gzip.open(one.path) as file:
        reading = Reading(file, one.path)
        assert [row for row, _ in reading.rows()] == rows[:47]
    assert reading.end is not None
    end, key = reading.end
    assert (end.iss, end.first, end.last, end.count, end.link) == (ISSUER, 1, 47, 47, rows[46].link.hex())
    assert (end.since, end.until) == (3600.0, 47 * 3600.0)
    assert key.thumbprint == one.thumbprint
    assert end.sha256 == sha256(b"".join(line + b"\n" for line in _lines(one.path)[:-1])).hexdigest()
    jws = compact.parse(json.loads(_lines(one.path)[-1])["end"])
    (signing_key,) = await store.signing_keys.list()
    compact.verify(jws, keys.parse_public_jwk(json.loads(signing_key.public_jwk)))

    left = await verified(store)
    assert [row.number for row in left] == list(range(48, 102))
    base = await store.audit_log.base()
    assert (base.number, base.link, base.at) == (47, rows[46].link, 47 * 3600)
    assert is_sealed(base, KEY.audit)
    assert not is_sealed(base, b"other")


async def test_the_log_has_a_record_of_each_file(store: Store, tmp_path: Path) -> None:
    await fill(store, 60)
    made = await parts(store, tmp_path / "archive")
    (one,) = await archived(made, DAY)
    digest = sha256(one.path.read_bytes())
    record = await store.audit_log.find(trace_of(digest.digest()))
    assert record is not None
    members = {name: record[name] for name in ("endpoint", "outcome", "by", "subject", "thumbprint")}
    assert members == {
        "endpoint": "audit",
        "outcome": "archived",
        "by": "cli, test",
        "subject": one.path.name,
        "thumbprint": one.thumbprint,
    }
    after = json.loads(record["after"])
    assert (after["first"], after["last"], after["count"], after["sha256"]) == (1, 23, 23, digest.hexdigest())


async def test_files_follow_each_other(store: Store, tmp_path: Path) -> None:
    await fill(store, 60)
    made = await parts(store, tmp_path / "archive")
    found = await archived(made, 50 * 3600, most=20)
    assert [(one.end.first, one.end.last) for one in found] == [(1, 20), (21, 40), (41, 49)]
    for before, after in pairwise(found):
        assert after.end.previous == before.end.link
    assert await archived(made, 50 * 3600) == []
    assert [row.number for row in await verified(store)] == list(range(50, 64))


async def test_all_records_may_go_but_those_of_the_archives(store: Store, tmp_path: Path) -> None:
    await fill(store, 250)  # as many as are deleted at once
    made = await parts(store, tmp_path / "archive")
    (one,) = await archived(made, 1e10)
    assert one.dropped == 250
    await fill(store, 3, 251)
    (row, *_) = await verified(store)
    assert row.number == 251


async def test_the_count_beforehand_is_that_of_the_files(store: Store, tmp_path: Path) -> None:
    """A clock that ran ahead left a record of the future: nothing from there on is archived yet."""
    await fill(store, 5)
    await store.ledger.claim(entry(6, at=NOW + 600))
    await fill(store, 2, first=7)
    made = await parts(store, tmp_path / "archive")
    counted = await Retention(made).due(NOW + DAY)
    (one,) = await archived(made, NOW + DAY)
    assert counted.count == one.end.count == 5


async def test_records_that_a_sink_has_still_to_send_stay(store: Store, tmp_path: Path) -> None:
    await fill(store, 30)
    made = await parts(store, tmp_path / "archive")
    assert await store.cursors.take("audit_file", "x", now=0, seconds=10, start=12) == 12
    (one,) = await archived(made, 1e10)
    assert one.end.last == 12


async def test_one_process_archives(store: Store, tmp_path: Path) -> None:
    await fill(store, 30)
    made = await parts(store, tmp_path / "archive")
    assert await store.cursors.take(NAME, "another", now=int(made.clock()), seconds=60) == 0
    assert "another process archives" in await refusal(made, 1e10)
    await Retention(made).keep(DAY)
    assert await store.audit_log.base() == NO_BASE
    await store.cursors.release(NAME, "another")
    both = await asyncio.gather(archived(made, DAY), archived(made, DAY), return_exceptions=True)
    files = [one for found in both if isinstance(found, list) for one in found]
    assert len(files) == 1


async def test_whole_days_older_than_the_setting(store: Store, tmp_path: Path) -> None:
    made = await parts(store, tmp_path / "archive")
    now = made.clock()
    midnight = now // DAY * DAY
    for number, at in enumerate((midnight - 3 * DAY, midnight - 2 * DAY - 1, midnight - 2 * DAY, now), 1):
        await store.ledger.claim(entry(number, at))
    retention = Retention(made, rest=0.0)
    assert (await retention.due(midnight - 2 * DAY)).count == 2
    await retention.keep(2 * DAY)
    assert (await store.audit_log.base()).number == 2


# ----------------------------------------------------------------------------------------------------- nothing is lost


async def test_a_broken_chain_is_not_archived(tmp_path: Path) -> None:
    async with opened(SqliteStore(tmp_path / "a.db", audit_key=KEY.audit)) as store:
        await fill(store, 30)
        made = await parts(store, tmp_path / "archive")
        edit = "UPDATE audit SET record = CAST(replace(record, 'refused', 'issued!') AS BLOB) WHERE number = 9"
        await run(str(tmp_path / "a.db"), edit)
        assert "record 9" in await refusal(made, 1e10)
        assert list((tmp_path / "archive").iterdir()) == []
        assert len(await store.audit_log.export()) == 30


async def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    async with opened(SqliteStore(tmp_path / "a.db", audit_key=KEY.audit)) as store:
        await fill(store, 30)
        made = await parts(store, tmp_path / "archive")
        (tmp_path / "file").write_text("")
        for wrong in (tmp_path / "missing", tmp_path / "file"):
            away = Parts(ISSUER, store, KEY, made.vault, Folder(wrong), made.clock)
            assert str(wrong) in await refusal(away, 1e10)
            assert not wrong.is_dir()
        retention = Retention(Parts(ISSUER, store, KEY, made.vault, Folder(tmp_path / "file"), made.clock), rest=0.0)
        await retention.keep(DAY)
        (cursor,) = await store.cursors.list()
        assert str(tmp_path / "file") in cursor.problem
        assert len(await store.audit_log.export()) == 30
        (tmp_path / "file").unlink()
        (tmp_path / "file").mkdir()
        another = Retention(Parts(ISSUER, store, KEY, made.vault, Folder(tmp_path / "file"), made.clock), rest=0.0)
        await another.keep(DAY)
        assert (await store.cursors.list())[0].problem == ""
        assert (await store.audit_log.base()).number == 30


async def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """/dev/full answers each write with ENOSPC."""
    async with opened(SqliteStore(tmp_path / "a.db", audit_key=KEY.audit)) as store:
        await fill(store, 30)
        made = await parts(store, tmp_path / "archive")

        class Full(Folder):
            def settle(self) -> None:
                with self._translated(), Path("/dev/full").open("wb") as disk:
                    disk.write(self.draft_path.read_bytes())

        full = Parts(ISSUER, store, KEY, made.vault, Full(tmp_path / "archive", is_own=True), made.clock)
        assert "No space left" in await refusal(full, 1e10)
        assert len(await store.audit_log.export()) == 30
        assert len(await archived(made, 1e10)) == 1


async def test_after_the_restore_of_a_backup_the_file_of_before_is_named(tmp_path: Path) -> None:
    async with opened(SqliteStore(tmp_path / "a.db", audit_key=KEY.audit)) as store:
        await fill(store, 20)
        await parts(store, tmp_path / "archive")
    shutil.copy(tmp_path / "a.db", tmp_path / "b.db")
    async with opened(SqliteStore(tmp_path / "a.db", audit_key=KEY.audit)) as store:
        await fill(store, 20, 21)
        (before,) = await archived(await parts(store, tmp_path / "archive"), 1e10)
    async with opened(SqliteStore(tmp_path / "b.db", audit_key=KEY.audit)) as store:
        await fill(store, 25, 100)
        made = await parts(store, tmp_path / "archive")
        assert f"{before.path} has other records than the log" in await refusal(made, 1e10)
        assert len(await verified(store)) == 45
        before.path.rename(tmp_path / "of-before")
        (one,) = await archived(made, 1e10)
        assert one.end.last == 45


STEPS = [
    (Retention, "_signed", 0),
    (Folder, "settle", 0),
    (Retention, "_read", 0),
    (Folder, "name", 0),
    (Retention, "_record", 0),
    (Retention, "_drop", 0),
    ("drop", "drop", 2),
]


@pytest.mark.parametrize(("kind", "name", "times"), STEPS, ids=[step[1] for step in STEPS])
async def test_a_process_killed_at_any_step_leaves_rows_or_file(
    tmp_path: Path, kind: Any, name: str, times: int
) -> None:
    data, folder = tmp_path / "a.db", tmp_path / "archive"
    async with opened(SqliteStore(data, audit_key=KEY.audit)) as store:
        await fill(store, 900)
        await parts(store, folder)
        rows = await verified(store)
    child = multiprocessing.get_context("fork").Process(target=_die, args=(data, folder, kind, name, times))
    await asyncio.to_thread(child.start)
    await asyncio.to_thread(child.join)
    assert child.exitcode == -signal.SIGKILL
    async with opened(SqliteStore(data, audit_key=KEY.audit)) as store:
        left = await verified(store)
        base = (await store.audit_log.base()).number
        assert [row for row in left if row.number <= 900] == rows[base:]
        assert base in ((0,) if times == 0 else (500,))
        made = await parts(store, folder)
        # The lease of the killed process must end first.
        later = Parts(ISSUER, store, KEY, made.vault, made.folder, lambda: made.clock() + 1000)
        (one,) = await archived(later, 1000 * 3600)
        assert (one.end.first, one.end.last, one.dropped) == (1, 900, 900 - base)
        assert [path.name for path in folder.iterdir()] == [one.path.name]
        with gzip.open(one.path) as file:
            verification = Verification(KEY.audit)
            found = [row for row, _ in Reading(file, one.path).rows()]
        assert found == rows
        for row in found:
            verification.feed(row)
        verification.finish()
        records = [row for row in await verified(store) if b'"archived"' in row.record]
        assert len(records) == 1


def _die(data: Path, folder: Path, kind: Any, name: str, times: int) -> None:
    asyncio.run(_archive_until(data, folder, kind, name, times))


async def _archive_until(data: Path, folder: Path, kind: Any, name: str, times: int) -> None:
    """Archive, and die of SIGKILL in the call of this method after so many."""
    async with opened(SqliteStore(data, audit_key=KEY.audit)) as store:
        owner = type(store.audit_log) if kind == "drop" else kind
        real, left = getattr(owner, name), times

        def patched(*values: Any) -> Any:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return real(*values)

        setattr(owner, name, patched)
        await archived(await parts(store, folder), 1000 * 3600)
