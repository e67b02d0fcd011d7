"""`affiant audit archive`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from affiant.cli.arguments import FOLDER
from affiant.cli.connection.data import find_issuer, open_vault, store_options, with_store
from affiant.cli.connection.local import user
from affiant.cli.operations.records import Duration, Instant
from affiant.cli.output import instant, show
from affiant.server.keys.master_key import MasterKey
from affiant.server.request.audit.archiving.folder import Folder
from affiant.server.request.audit.archiving.keeping import parse_keep
from affiant.server.request.audit.retention import Archived, Due, Parts, Retention
from affiant.server.settings import Settings
from affiant.storage.ports import Store

_REST = 0.2  # of the time that it works: nothing else runs in this process, but a server may use the database


@click.command()
@click.option("--until", type=Instant(), help="records before this instant: a date, or 90d (ago)")
@click.option("--keep", type=Duration(), help="records that are older than this, such as 90d (default: audit_keep)")
@click.option("--to", "to", type=FOLDER, help="another folder than audit_archive; it must exist")
@click.option("--dry-run", is_flag=True, help="only count the records")
@store_options
def archive(until: float | None, keep: int | None, to: Path | None, dry_run: bool, chosen: Settings) -> None:
    """Move old records into signed files.

    Each file is on the disk, and was read back and verified, before its records are deleted. The server may keep
    running. Run the command again after any failure: it goes on where it stopped.

    \b
    affiant audit archive --keep 90d --dry-run
    affiant audit archive --until 2026-10-01
    affiant audit verify affiant-data/audit-archive/*.gz --log
    """
    before = _before(until, keep, chosen)

    async def work(store: Store, key: MasterKey) -> list[Archived] | Due:
        vault = open_vault(chosen, key)
        folder = Folder(to) if to is not None else chosen.archives
        try:
            parts = Parts(await find_issuer(store, chosen), store, key, vault, folder, time.time)
            retention = Retention(parts, by=user(), rest=_REST)
            if dry_run:
                return await retention.due(before)
            return [one async for one in retention.archive(before)]
        finally:
            await vault.close()

    found = with_store(chosen, work)
    if isinstance(found, Due):
        _show_due(found, before)
    else:
        lines = [_line(one) for one in found] or [f"no record is older than {instant(before)}"]
        show({"before": before, "files": [_members(one) for one in found]}, *lines)


def _before(until: float | None, keep: int | None, chosen: Settings) -> float:
    if until is not None and keep is not None:
        raise click.UsageError("give either --until or --keep, not both")
    if until is not None:
        return until
    seconds = keep or parse_keep(chosen.audit_keep)
    if not seconds:
        raise click.UsageError("say which records: --keep 90d, --until 2026-10-01, or the setting audit_keep")
    return time.time() - seconds


def _line(one: Archived) -> str:
    end = one.end
    times = f"{instant(end.since)} to {instant(end.until)}"
    return f"{one.path}: records {end.first} to {end.last}, {times}, signed by {one.thumbprint}"


def _show_due(due: Due, before: float) -> None:
    members = {"before": before, "first": due.first, "count": due.count, "since": due.since, "until": due.until}
    if not due.count:
        show(members, f"no record is older than {instant(before)}")
        return
    last = due.first + due.count - 1
    show(members, f"records {due.first} to {last}, {instant(due.since)} to {instant(due.until)}, would be archived")


def _members(one: Archived) -> dict[str, Any]:
    end = one.end
    return {
        "file": str(one.path),
        "first": end.first,
        "last": end.last,
        "since": end.since,
        "until": end.until,
        "sha256": one.digest,
        "thumbprint": one.thumbprint,
    }
