"""`affiant db`: backups of the database, and what to do when it is damaged."""

from __future__ import annotations

import time
from pathlib import Path

import click

from affiant.cli.connection.data import KEY_CHECK, check_data, check_mark, store_options, with_new_store, with_store
from affiant.cli.output import json_option, show
from affiant.errors import ConfigError
from affiant.jose.claims import LEEWAY
from affiant.server.keys import master_key
from affiant.server.keys.master_key import MasterKey
from affiant.server.request.identifiers import new_trace_id
from affiant.server.settings import Settings
from affiant.storage.entries import AuditRecord, Entry
from affiant.storage.ports import Store
from affiant.storage.records import RESTORED_AT
from affiant.storage.sqlite import copies
from affiant.storage.sqlite.store import FILE_NAME

_FILE = click.Path(path_type=Path, dir_okay=False, readable=False)


@click.group()
def db() -> None:
    """The database: backup, restore, check, migrate.

    These work on the data itself, where it is: there is no --url for them.
    """


@db.command()
@click.argument("file", type=_FILE)
@store_options
@json_option
def backup(file: Path, chosen: Settings, as_json: bool) -> None:
    """Write a copy of the database to FILE, whole and as of one moment, while the server runs.

    \b
    affiant db backup /backup/affiant-2026-11-21.db

    The master key is not in it: keep it apart, or the copy cannot be used.
    """
    copies.backup(_existing(chosen), file)
    show({"file": str(file), "bytes": file.stat().st_size}, f"backup {file}  (without the master key)", as_json=as_json)


@db.command()
@click.argument("file", type=_FILE)
@store_options
@json_option
def restore(file: Path, chosen: Settings, as_json: bool) -> None:
    """Put the backup in FILE in the place of the database. The server must be stopped.

    \b
    affiant db restore /backup/affiant-2026-11-21.db

    Which assertions were used since the backup is not known. So those that were made before now are refused until they
    have expired, and new ones for the first half minute.
    """
    _check_sqlite(chosen)
    now = int(time.time())
    chosen.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Before anything is moved: without its key the copy is of no use.
    key, mark = master_key.load(chosen.data), copies.find_setting(file, KEY_CHECK)
    if mark is not None:
        check_mark(mark, key)
    kept = copies.restore(file, chosen.data / FILE_NAME, now=now)
    with_store(chosen, lambda store, _: _note(store, now, str(file)))
    before = f"; what was there is {kept}" if kept else ""
    text = f"restored {chosen.data / FILE_NAME}{before}\nnew assertions are taken in {LEEWAY} s"
    show({"restored_at": now, "kept": str(kept) if kept else None}, text, as_json=as_json)


@db.command()
@store_options
@json_option
def restored(chosen: Settings, as_json: bool) -> None:
    """Say that the database was restored by other means: a snapshot, pg_restore. The server may run.

    Without it, an assertion that was used after the backup was made could be used once more.
    """
    now = int(time.time())

    async def work(store: Store, _: MasterKey) -> None:
        await store.settings.put(RESTORED_AT, str(now))
        await _note(store, now, "by other means")

    with_store(chosen, work)
    show({"restored_at": now}, f"noted; new assertions are taken in {LEEWAY} s", as_json=as_json)


@db.command()
@store_options
@json_option
def check(chosen: Settings, as_json: bool) -> None:
    """Read the whole database, and say whether it is damaged. The server may run."""
    path = _existing(chosen)
    copies.check(path)
    show(
        {"file": str(path), "whole": True}, f"{path} is whole; for its audit log: affiant audit verify", as_json=as_json
    )


@db.command()
@store_options
@json_option
def migrate(chosen: Settings, as_json: bool) -> None:
    """Bring the database to the form that this version needs. `affiant serve` does the same when it starts."""

    async def work(store: Store, _: MasterKey) -> int:
        return await store.version()

    with_new_store(chosen, work)
    show({"migrated": True}, "the database has the form that this version needs", as_json=as_json)


async def _note(store: Store, now: int, what: str) -> None:
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
            "this is for SQLite: with PostgreSQL use pg_dump and pg_restore, and after restoring  affiant db restored"
        )
