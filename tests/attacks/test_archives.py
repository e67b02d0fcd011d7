"""Attacks on the archived audit log: by someone who writes the database, the archive folder, or both."""

import gzip
import json
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.contract.archiving import ISSUER, KEY, archived, fill, parts, refusal, verified
from tests.stores import opened, run

from affiant.cli.operations.archives.verifying import Chain
from affiant.errors import ConfigError
from affiant.jose import compact, keys
from affiant.server.keys.master_key import MasterKey
from affiant.server.request.audit.archiving.folder import Folder
from affiant.server.request.audit.retention import Parts
from affiant.storage.entries import AuditHead
from affiant.storage.history.archive import TYP, end_line
from affiant.storage.history.audit_chain import Broken, Damage
from affiant.storage.sqlite import SqliteStore

KEYS, IDS = [KEY.audit, None], ["with the master key", "without"]
OTHER = MasterKey.from_bytes(b"o" * 32)


class Log(NamedTuple):
    """A log whose records 1 to 40 are in two files, and a copy of its database from before."""

    store: SqliteStore
    data: Path
    before: Path
    files: tuple[Path, Path]
    made: Parts


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[Log]:
    data, before = tmp_path / "a.db", tmp_path / "before.db"
    async with opened(SqliteStore(data, audit_key=KEY.audit)) as store:
        await fill(store, 60)
        made = await parts(store, tmp_path / "archive")
        await run(str(data), f"VACUUM INTO '{before}'")
        one, two = await archived(made, 41 * 3600.0, most=20)
        yield Log(store, data, before, (one.path, two.path), made)


async def _damage(log: Log, *statements: str) -> tuple[Damage, int]:
    for statement in statements:
        await run(str(log.data), statement)
    with pytest.raises(Broken) as broken:
        await verified(log.store)
    return broken.value.damage, broken.value.number


def _verify(files: Sequence[Path], key: bytes | None = KEY.audit, **options: Any) -> AuditHead:
    chain = Chain(key, expected=None, **options)
    chain.read(files)
    return chain.finish()


def _broken(files: Sequence[Path], key: bytes | None = KEY.audit, **options: Any) -> tuple[Damage, str]:
    with pytest.raises(Broken) as broken:
        _verify(files, key, **options)
    return broken.value.damage, str(broken.value)


async def test_the_log_and_its_files_are_one_chain(log: Log) -> None:
    rows = await verified(log.store)
    assert [row.number for row in rows] == list(range(41, 63))
    base = await log.store.audit_log.base()
    for key in (KEY.audit, None):
        assert _verify(log.files[::-1], key) == AuditHead(40, base.link, 40)
        assert _verify(log.files[1:], key).number == 40


# -------------------------------------------------------------------------------------------------------- the database

_NEXT = "(SELECT link FROM audit WHERE number = 45)"


@pytest.mark.parametrize(
    ("statements", "damage", "number"),
    [
        # Records 41 to 45 are hidden: the base moves over them, with and without the seal of the real one.
        ((f"UPDATE audit_base SET number = 45, link = {_NEXT}", "DELETE FROM audit WHERE number <= 45"), Damage.BASE, 45),
        ((f"UPDATE audit_base SET number = 45, link = {_NEXT}, seal = x''", "DELETE FROM audit WHERE number <= 45"), Damage.BASE, 45),
        (("UPDATE audit_base SET at = at + 1",), Damage.BASE, 40),
        (("UPDATE audit_base SET number = -5",), Damage.BASE, -5),
        (("DELETE FROM audit WHERE number <= 45",), Damage.DELETED, 41),
        # As if nothing had been archived: the records are missing.
        (("UPDATE audit_base SET number = 0, link = zeroblob(32), at = 0, seal = x''",), Damage.DELETED, 1),
        # A record that the log never had, before its base.
        (("INSERT INTO audit VALUES (7, 'x', x'7b7d', x'00')",), Damage.INSERTED, 7),
        (("DELETE FROM audit",), Damage.CUT, 41),
    ],
)  # fmt: skip
async def test_a_base_that_was_moved_is_seen(
    log: Log, statements: tuple[str, ...], damage: Damage, number: int
) -> None:
    assert await _damage(log, *statements) == (damage, number)


async def test_the_base_of_before_is_no_use(log: Log) -> None:
    """The seal of an older base is valid, but the records after it are deleted."""
    old = await log.store.audit_log.base()
    await archived(log.made, 50 * 3600.0)
    await verified(log.store)
    columns = "number = $1, link = $2, at = $3, seal = $4"
    await run(str(log.data), f"UPDATE audit_base SET {columns}", *old)
    assert await _damage(log) == (Damage.DELETED, 41)


async def test_the_seal_is_of_this_server(log: Log) -> None:
    base = await log.store.audit_log.base()
    async with opened(SqliteStore(log.data.with_name("other.db"), audit_key=OTHER.audit)) as other:
        await fill(other, 60)
        made = Parts(
            ISSUER, other, OTHER, log.made.vault, Folder(log.data.with_name("theirs"), is_own=True), log.made.clock
        )
        (one,) = await archived(made, 41 * 3600.0)
        theirs = await other.audit_log.base()
    await run(str(log.data), "UPDATE audit_base SET link = $1, seal = $2", theirs.link, theirs.seal)
    assert await _damage(log) == (Damage.BASE, base.number)
    assert _broken([one.path])[0] is Damage.OTHER_KEY


async def test_nothing_is_archived_from_a_log_with_a_false_base(log: Log) -> None:
    await run(str(log.data), "UPDATE audit_base SET seal = x'00'")
    assert "nothing is archived" in await refusal(log.made, 1e10)


async def test_the_backup_of_before_does_not_fit_the_files(log: Log) -> None:
    """Restored, it has the archived records once more; what was written since then is another chain."""
    async with opened(SqliteStore(log.before, audit_key=KEY.audit)) as store:
        assert len(await verified(store)) == 60
        await fill(store, 3, 200)
        # Up to where the copy was made, the chains are one; that is where the log is compared with the files.
        rows = {row.number: row.link for row in await verified(store)}
        assert rows[40] == _verify(log.files).link


# ----------------------------------------------------------------------------------------------------------- the files


def _rewritten(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> Path:
    lines = change(gzip.decompress(path.read_bytes()).splitlines(keepends=True))
    path.write_bytes(gzip.compress(b"".join(lines)))
    return path


_CHANGES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "a record edited": lambda lines: [*lines[:5], lines[5].replace(b"refused", b"issued!"), *lines[6:]],
    "a record removed": lambda lines: [*lines[:5], *lines[6:]],
    "a record twice": lambda lines: [*lines[:5], lines[4], *lines[5:]],
    "two records exchanged": lambda lines: [*lines[:5], lines[6], lines[5], *lines[7:]],
    "the last record removed": lambda lines: [*lines[:-2], lines[-1]],
    "the first record removed": lambda lines: [lines[0], *lines[2:]],
    "all records removed": lambda lines: [lines[0], lines[-1]],
    "another issuer": lambda lines: [lines[0].replace(b"as.example", b"as.evil.ex"), *lines[1:]],
    "a later first record": lambda lines: [lines[0].replace(b'"first":1,', b'"first":2,'), *lines[1:]],
    "something after the end": lambda lines: [*lines, lines[5]],
    "a space in a line": lambda lines: [*lines[:5], lines[5].replace(b":", b": ", 1), *lines[6:]],
    "the signature of nothing": lambda lines: [*lines[:-1], b'{"end":"a.b.c"}\n'],
    "no header": lambda lines: lines[1:],
    "a newer version": lambda lines: [lines[0].replace(b'archive":1', b'archive":2'), *lines[1:]],
}


@pytest.mark.parametrize("change", _CHANGES.values(), ids=_CHANGES)
@pytest.mark.parametrize("key", KEYS, ids=IDS)
async def test_a_changed_file_is_seen(log: Log, change: Any, key: bytes | None) -> None:
    damage, message = _broken([_rewritten(log.files[0], change)], key)
    assert damage in (Damage.EDITED, Damage.SIGNATURE, Damage.INSERTED)
    assert str(log.files[0]) in message or "record" in message


@pytest.mark.parametrize("key", KEYS, ids=IDS)
async def test_a_truncated_file_is_seen(log: Log, key: bytes | None) -> None:
    whole = log.files[0].read_bytes()
    for size in (2, 10, 100, len(whole) // 2, len(whole) - 1):
        log.files[0].write_bytes(whole[:size])
        assert _broken([log.files[0]], key)[0] in (Damage.CUT, Damage.EDITED)
    log.files[0].write_bytes(gzip.compress(gzip.decompress(whole).rpartition(b'{"end"')[0]))
    assert _broken([log.files[0]], key)[0] is Damage.CUT


async def test_a_file_signed_anew_by_another_key(log: Log) -> None:
    """The forger's key is in the file: saved thumbprints, or the master key, reveal the forgery."""
    stranger, path = keys.generate("ES256"), log.files[0]
    (signing_key,) = await log.store.signing_keys.list()
    mine = keys.parse_public_jwk(json.loads(signing_key.public_jwk)).thumbprint

    def forge(lines: list[bytes]) -> list[bytes]:
        end = compact.parse(json.loads(lines[-1])["end"]).claims
        lines[3] = lines[3].replace(b"refused", b"issued!")

        claims = {**end, "sha256": sha256(b"".join(lines[:-1])).hexdigest(), "jwk": stranger.public().to_jwk()}
        return [*lines[:-1], end_line(compact.sign({"typ": TYP}, claims, stranger))]

    assert _verify([path], None, thumbprints=(mine,)).number == 20
    _rewritten(path, forge)
    assert _broken([path])[0] is Damage.EDITED
    assert _broken([path], None, thumbprints=(mine,))[0] is Damage.SIGNATURE
    # The record of the file in the log names key and digest.
    (record, *_) = [row.record for row in await verified(log.store) if b'"archived"' in row.record]
    assert mine.encode() in record


async def test_a_token_of_the_key_is_no_end(log: Log) -> None:
    stranger = keys.generate("ES256")

    def forge(lines: list[bytes]) -> list[bytes]:
        claims = {**compact.parse(json.loads(lines[-1])["end"]).claims, "jwk": stranger.public().to_jwk()}
        return [*lines[:-1], end_line(compact.sign({"typ": "at+jwt"}, claims, stranger))]

    assert _broken([_rewritten(log.files[0], forge)], None)[0] is Damage.SIGNATURE


@pytest.mark.parametrize("key", KEYS, ids=IDS)
async def test_a_missing_file_is_named(log: Log, key: bytes | None) -> None:
    (third,) = await archived(log.made, 50 * 3600.0)
    one, two = log.files
    assert _verify([one, two, third.path], key).number == 49
    damage, message = _broken([one, third.path], key)
    assert damage is Damage.DELETED
    assert message == f"records 21 to 40 are in no file that was given: one is missing between {one} and {third.path}"
    with pytest.raises(ConfigError, match="has records that"):
        _verify([one, one, two], key)


@pytest.mark.parametrize("key", KEYS, ids=IDS)
async def test_a_file_of_another_server_does_not_follow(log: Log, tmp_path: Path, key: bytes | None) -> None:
    async with opened(SqliteStore(tmp_path / "other.db", audit_key=OTHER.audit)) as store:
        await fill(store, 60)
        made = Parts(ISSUER, store, OTHER, log.made.vault, Folder(tmp_path / "theirs", is_own=True), log.made.clock)
        theirs = await archived(made, 41 * 3600.0, most=20)
    shutil.copy(theirs[1].path, log.files[1])
    damage, message = _broken(log.files, key)
    assert damage is Damage.EDITED
    assert "does not follow" in message
