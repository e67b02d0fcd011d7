"""`affiant audit`."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from affiant.cli.connection.place import Admin, Place, admin_options, existing, run_admin, segment
from affiant.cli.operations import following
from affiant.cli.operations.selection import ALL, Selection, selection_options
from affiant.cli.output import Listing, json_option, show, show_list
from affiant.errors import ConfigError, RemoteError
from affiant.server.keys import master_key
from affiant.server.keys.master_key import MasterKey
from affiant.storage import audit_chain
from affiant.storage.audit_chain import Broken, Damage, Verification
from affiant.storage.entries import AuditHead, AuditRow
from affiant.storage.records import NotFound
from affiant.system.text import printable

_FILE = click.Path(path_type=Path, dir_okay=False, readable=False)
_BLOCK = 1 << 16
_TRACE = re.compile(r"[A-Za-z0-9_-]{12}")
_COLUMNS = ("NUMBER", "AT (UTC)", "TRACE", "ENDPOINT", "OUTCOME", "WHO", "WHAT")
BROKEN = 1
_LAST = 10**11  # seconds since 1970: a record that somebody edited may say any number


class _Head(click.ParamType[AuditHead]):
    name = "NUMBER:LINK"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> AuditHead:
        try:
            return audit_chain.parse_head(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.group()
def audit() -> None:
    """The audit log: one record for each decision, each chained to the one before.

    \b
    affiant audit show
    affiant audit verify
    """


@audit.command()
@click.argument("file", type=_FILE, required=False)
@click.option("--expect", type=_Head(), metavar="NUMBER:LINK", help="a head that `affiant audit head` printed earlier")
@click.option("--gaps", is_flag=True, help="FILE is a selection (--since, --client ...): records are missing from it")
@admin_options
@json_option
def verify(file: Path | None, expect: AuditHead | None, gaps: bool, place: Place, as_json: bool) -> int:
    """Check the chain, and name the first record that was edited, deleted, inserted or moved.

    Checks the log of the data folder, or FILE, an export. Exit code 0: the chain holds. 1: it is broken.

    The chain is keyed with the master key: whoever can write the database but has not that key cannot mend what they
    changed. That the newest records were cut off, the records alone cannot show. It is noticed while the database
    remembers the highest number it gave; to be sure, note the head down elsewhere, and give it with --expect.

    \b
    affiant audit verify
    affiant audit verify --expect 1204:9f86d081...
    affiant audit verify audit.jsonl
    """
    if gaps and file is None:
        raise click.UsageError("--gaps goes with a FILE: the log itself has no gaps")
    try:
        if file is None:
            head = _verify_log(place, expect)
        else:
            head = _verify_file(file, _key(place.chosen.data), expect, _resumed if gaps else Verification.feed)
    except Broken as broken:
        return _tell(broken, as_json=as_json)
    what = (
        f"the chain holds, {head.number} records" if not gaps else "each record of the selection is as it was written"
    )
    lines = [f"{what}; head {audit_chain.build_head(head)}"]
    if expect is None:
        lines.append("Records cut off the end show only against a head that was noted down: see --expect.")
    with _quietly():
        show({**_head_members(head), "expected": expect is not None}, "\n".join(lines), as_json=as_json)
    return 0


@audit.command()
@admin_options
@json_option
def head(place: Place, as_json: bool) -> None:
    """Print the head: number and link of the newest record.

    Keep it where nobody who can write the database can write, and give it to `affiant audit verify --expect` later:
    that shows whether records were cut off the end, or all was rewritten. It does not check the chain.
    """

    async def work(api: Admin) -> Any:
        return await api.get("/audit/head")

    found = run_admin(_existing(place), work)
    show(found, found["head"], as_json=as_json)


@audit.command()
@selection_options
@click.option("--format", type=click.Choice(["jsonl"]), default="jsonl", show_default=True, help="one record a line")
@admin_options
@click.option("--json", is_flag=True, help="print an error as a JSON document; records are JSON Lines in any case")
def export(wanted: Selection, place: Place, **_: Any) -> None:
    """Print the records, one JSON object a line: number, previous link, link and record.

    Keep the lines as they are: `affiant audit verify FILE` checks them byte for byte (with --gaps, when you selected).

    \b
    affiant audit export > audit.jsonl
    affiant audit export --since 2026-11-01 --client billing | jq .record
    """
    block = bytearray()

    def take(line: bytes) -> None:
        if wanted == ALL or wanted.has(_members(audit_chain.parse_line(line)[0])):
            block.extend(line + b"\n")
        if len(block) >= _BLOCK:
            _write(block)
            block.clear()

    async def work(api: Admin) -> None:
        await api.lines("/audit/export", take)
        _write(block)

    with _quietly():
        run_admin(_existing(place), work)


@audit.command("show")
@click.argument("trace", required=False)
@selection_options
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=20, show_default=True, help="how many")
@click.option("-f", "--follow", is_flag=True, help="go on with each new record; with --json, one a line")
@admin_options
@json_option
def show_(trace: str | None, wanted: Selection, count: int, follow: bool, place: Place, as_json: bool) -> None:
    """Show the newest records, or the one with this trace id.

    \b
    affiant audit show -n 50
    affiant audit show --client billing --refused --since 2h
    affiant audit show --refused --follow
    affiant audit show Jx0vT9qkU2aa
    """
    if trace is not None and (follow or wanted != ALL):
        raise click.UsageError("a trace id names one record: give it without --follow and without filters")
    if follow and wanted.until is not None:
        raise click.UsageError("--follow has no end: give it without --until")

    async def work(api: Admin) -> Any:
        if trace is not None:
            # Beside the records stand other things of the log; no trace id is spelt as they are.
            record = await api.get(f"/audit/{segment(trace)}") if _TRACE.fullmatch(trace) else {}
            if record.get("trace_id") != trace:
                raise NotFound(f"there is no record with the trace id {printable(trace)}")
            return record
        if follow:
            await following.follow(api, wanted, count, functools.partial(_print_row, as_json=as_json))
        return list(reversed(await following.newest(api, wanted, count)))

    with _quietly():
        found = run_admin(_existing(place), work)
        if isinstance(found, dict):
            text = "\n".join(f"{name:<15}{printable(str(value))}" for name, value in found.items())
            show(found, text, as_json=as_json)
        else:
            none = "no records yet" if wanted == ALL else "no record is like this"
            show_list(found, Listing(_COLUMNS, _cells, _summary, none), as_json=as_json)


def _print_row(row: dict[str, Any], *, as_json: bool) -> None:
    click.echo(json.dumps(row) if as_json else _summary(row))
    sys.stdout.flush()


def _verify_log(place: Place, expected: AuditHead | None) -> AuditHead:
    noted = audit_chain.build_head(expected) if expected is not None else None

    async def work(api: Admin) -> Any:
        return await api.get("/audit/verification", expect=noted)

    found = run_admin(_existing(place), work)
    try:
        if found["holds"]:
            return audit_chain.parse_head(found["head"] or "")
        damage = Damage((found["code"] or "").removeprefix("audit."))
    except ValueError:
        raise RemoteError(f"{place.url} says of its log what this version does not know") from None
    raise Broken(found["message"] or damage.value, damage=damage, number=found["number"], trace_id=found["trace_id"])


def _verify_file(
    file: Path, key: MasterKey, expected: AuditHead | None, feed: Callable[[Verification, AuditRow, bytes], None]
) -> AuditHead:
    verification = Verification(key.audit, expected=expected)
    try:
        with file.open("rb") as lines:
            for place, line in enumerate(lines, 1):
                try:
                    row, previous = audit_chain.parse_line(line)
                except ValueError as error:
                    raise ConfigError(f"{file}:{place} is not a line of an export: {error}") from None
                feed(verification, row, previous)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    return verification.finish()


def _resumed(verification: Verification, row: AuditRow, previous: bytes) -> None:
    verification.resume(row, previous)
    verification.feed(row, previous)


def _existing(place: Place) -> Place:
    """The place, if there is a log: an empty one that was just made would hold together, and mislead."""
    if not existing(place).is_remote:
        _require_key(place.chosen.data)
    return place


def _key(folder: Path) -> MasterKey:
    _require_key(folder)
    return master_key.load(folder)


def _require_key(folder: Path) -> None:
    """A key made anew would find every record wrong."""
    if not os.environ.get(master_key.ENVIRONMENT) and not (folder / master_key.FILE_NAME).exists():
        raise NotFound(
            f"the chain is keyed with the master key, and there is none in {folder}: give the server's data folder with"
            f" --data, or the key in {master_key.ENVIRONMENT}"
        )


def _tell(broken: Broken, *, as_json: bool) -> int:
    members = {
        "message": str(broken),
        "exit_code": BROKEN,
        "code": f"audit.{broken.damage.value}",
        "number": broken.number,
        "trace_id": broken.trace_id,
    }
    with _quietly():
        if as_json:
            click.echo(json.dumps({"ok": False, "error": members}))
        else:
            click.echo(f"affiant: the audit log is broken: {broken}", err=True)
    return BROKEN


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Let a reader go away in the middle; click would end with 1, which means a broken chain here."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered would fail again at the end of the process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write(block: bytearray) -> None:
    sys.stdout.buffer.write(block)
    sys.stdout.buffer.flush()


def _head_members(head: AuditHead) -> dict[str, Any]:
    return {"number": head.number, "link": head.link.hex(), "head": audit_chain.build_head(head)}


def _members(row: AuditRow) -> dict[str, Any]:
    try:
        return msgspec.json.decode(row.record, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {"unreadable": row.record.hex()}


def _summary(row: dict[str, Any]) -> str:
    _, when, *words = map(str, _cells(row))
    return f"{row['number']:>6}  {when}  " + "  ".join(map(printable, words))


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    members = row["record"]
    at = members.get("at")
    is_instant = isinstance(at, int | float) and 0 <= at < _LAST
    when = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}" if is_instant else "?"
    who = members.get("client_id") or members.get("by") or f"({members.get('client_claimed', '-')})"
    what = members.get("reason") or members.get("subject") or f"scope {members.get('scope', '-')}"
    words = (members.get("trace_id", "?"), members.get("endpoint", "?"), members.get("outcome", "?"))
    return row["number"], when, *words, who, what
