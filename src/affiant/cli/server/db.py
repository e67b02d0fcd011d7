"""`affiant db`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from affiant.cli.arguments import FILE
from affiant.cli.connection.data import (
    KEY_CHECK,
    check_data,
    check_mark,
    load_key,
    store_options,
    with_new_store,
    with_store,
)
from affiant.cli.output import note, show
from affiant.errors import ConfigError
from affiant.jose.claims import LEEWAY
from affiant.server.keys.master_key import SETTING, MasterKey, Rings
from affiant.server.settings import Settings
from affiant.storage.entries import AuditRecord, Entry
from affiant.storage.ports import Store
from affiant.storage.records import BACKED_UP_AT, RESTORED_AT
from affiant.storage.sqlite import copies
from affiant.storage.sqlite.store import FILE_NAME
from affiant.system.identifiers import new_trace_id


@click.group()
def db() -> None:
    """These commands work on the data itself: they have no --url."""


@db.command()
@click.argument("file", type=FILE)
@store_options
def backup(file: Path, chosen: Settings) -> None:
    """Copy the database while the server runs.

    FILE is whole and as of one moment.

    \b
    affiant db backup /backup/affiant-2026-11-21.db

    The master key is not in it: store it separately, or the copy is of no use.
    """
    path, now = _existing(chosen), int(time.time())
    copies.backup(path, file)
    try:
        copies.put_setting(path, BACKED_UP_AT, str(now))  # without the master key, which a backup does not need
    except ConfigError as error:
        note(f"the time of this backup was not noted for affiant doctor: {error}")
    show({"file": str(file), "bytes": file.stat().st_size}, f"backup {file}  (without the master key)")


@db.command()
@click.argument("file", type=FILE)
@store_options
def restore(file: Path, chosen: Settings) -> None:
    """Put a backup in place.

    The server must be stopped.

    \b
    affiant db restore /backup/affiant-2026-11-21.db

    The backup does not know which assertions were used after it. So assertions made before now are refused until they
    have expired, and new ones for the first half minute.
    """
    _check_sqlite(chosen)
    now = int(time.time())
    chosen.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Order: before anything is moved, since the copy is of no use without its key.
    key = load_key(chosen).opened(Rings.parse(copies.find_setting(file, SETTING)))
    mark = copies.find_setting(file, KEY_CHECK)
    if mark is not None:
        check_mark(mark, key)
    kept = copies.restore(file, chosen.data / FILE_NAME, now=now)
    with_store(chosen, lambda store, _: _record(store, now, str(file)))
    show(
        {"restored_at": now, "kept": str(kept) if kept else None},
        f"restored {chosen.data / FILE_NAME}" + (f"; the database before is {kept}" if kept else ""),
        f"new assertions are accepted in {LEEWAY} s",
    )


@db.command()
@store_options
def restored(chosen: Settings) -> None:
    """Note a restore by other means.

    Such as a snapshot or pg_restore; the server may run. Without it, an assertion that was used after the backup could
    be used once more.
    """
    now = int(time.time())

    async def work(store: Store, _: MasterKey) -> None:
        await store.settings.put(RESTORED_AT, str(now))
        await _record(store, now, "by other means")

    with_store(chosen, work)
    show({"restored_at": now}, f"noted; new assertions are accepted in {LEEWAY} s")


@db.command("backed-up")
@store_options
def backed_up(chosen: Settings) -> None:
    """Note a backup by other means.

    Such as a snapshot or pg_dump; the server may run. `affiant doctor` warns when the last one is old.
    """
    now = int(time.time())
    with_store(chosen, lambda store, _: store.settings.put(BACKED_UP_AT, str(now)))
    show({"backed_up_at": now}, "noted")


@db.command()
@store_options
def check(chosen: Settings) -> None:
    """Look for damage in the database.

    It reads the whole database; the server may run.
    """
    path = _existing(chosen)
    copies.check(path)
    show({"file": str(path), "whole": True}, f"{path} is whole; for its audit log: affiant audit verify")


@db.command()
@store_options
def migrate(chosen: Settings) -> None:
    """Migrate the database to this version.

    `affiant serve` does the same when it starts.
    """
    with_new_store(chosen, lambda store, _: store.version())
    show({"migrated": True}, "the database has the schema of this version")


async def _record(store: Store, now: int, what: str) -> None:
    record = AuditRecord(
        at=now, trace_id=new_trace_id(), endpoint="db", outcome="restored", detail=f"restored from {what}"[:256]
    )
    await store.ledger.claim(Entry(record))


def _existing(chosen: Settings) -> Path:
    _check_sqlite(chosen)
    check_data(chosen)
    return chosen.data / FILE_NAME


def _check_sqlite(chosen: Settings) -> None:
    if chosen.database is not None:
        raise ConfigError(
            "this is for SQLite: with PostgreSQL use pg_dump, and then  affiant db backed-up;"
            " pg_restore, and then  affiant db restored"
        )
