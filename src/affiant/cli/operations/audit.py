"""`affiant audit`."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec

from affiant.cli.arguments import FILE
from affiant.cli.connection.admin import Admin, segment
from affiant.cli.connection.data import check_data, find_key
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.operations import records
from affiant.cli.operations.archives.archive import archive
from affiant.cli.operations.archives.verifying import Chain, Checked
from affiant.cli.operations.records import ALL, Selection, selection_options
from affiant.cli.operations.sinks import sinks
from affiant.cli.output import Listing, instant, is_json, print_json, show, show_list
from affiant.errors import RemoteError
from affiant.server.keys import key_source
from affiant.server.settings import Settings
from affiant.storage.entries import AuditHead, AuditRow
from affiant.storage.history import audit_chain
from affiant.storage.history.audit_chain import Broken, Damage
from affiant.storage.records import NotFound
from affiant.system.text import printable
from affiant.system.values import Value

_BLOCK = 1 << 16
_TRACE = re.compile(r"[A-Za-z0-9_-]{12}")
_COLUMNS = ("NUMBER", "AT (UTC)", "TRACE", "ENDPOINT", "OUTCOME", "WHO", "WHAT")
BROKEN = 1
_LAST = 10**11  # seconds since 1970: an edited record may say any number


class _Head(click.ParamType[AuditHead]):
    name = "NUMBER:LINK"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> AuditHead:
        try:
            return audit_chain.parse_head(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.group()
def audit() -> None:
    """The log has one record for each decision, and each record is chained to the one before.

    \b
    affiant audit show
    affiant audit verify
    """


audit.add_command(archive)
audit.add_command(sinks)


class _Wanted(Value, frozen=True):
    """The log or the files to verify."""

    files: tuple[Path, ...]
    log: bool
    gaps: bool
    expect: AuditHead | None
    key: tuple[str, ...]


def _wanted(command: Callable[..., Any]) -> Callable[..., Any]:
    @click.argument("files", metavar="[FILE]...", type=FILE, nargs=-1)
    @click.option("--log", is_flag=True, help="the log must go on where the last FILE ends")
    @click.option("--gaps", is_flag=True, help="FILE is a selection (--since, --client ...): records are missing")
    @click.option("--expect", type=_Head(), metavar="NUMBER:LINK", help="a head that `affiant audit head` printed")
    @click.option("--key", multiple=True, metavar="THUMBPRINT", help="only this key may have signed; can be repeated")
    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        given = {name: options.pop(name) for name in _Wanted.__struct_fields__}
        return command(*arguments, wanted=_Wanted(**given), **options)

    return run


@audit.command()
@_wanted
@admin_options
def verify(wanted: _Wanted, place: Place) -> int:
    """Check the chain of records.

    It names the first record that was edited, deleted, inserted or moved, in the log of the data folder or in each
    FILE, an archive or an export. Several are verified as one chain; with --log the log must go on where they end. Exit
    code 0: the chain is intact. 1: it is broken.

    The chain is keyed with the master key: an attacker who can write the database but does not have that key cannot
    hide a change. The records alone cannot show that the newest ones were cut off. That is noticed as long as the
    database remembers the highest number it gave; to be sure, save the head elsewhere, and pass it with --expect.

    Without the master key only the signature of an archive is verified: say with --key which key it must be.

    \b
    affiant audit verify
    affiant audit verify --expect 1204:9f86d081...
    affiant audit verify affiant-data/audit-archive/*.gz --log
    affiant audit verify audit.jsonl
    """
    files = wanted.files
    if wanted.gaps and (len(files) != 1 or wanted.log):
        raise click.UsageError("--gaps needs one FILE: the log itself has no gaps")
    if wanted.log and not files:
        raise click.UsageError("--log goes with FILE: without one the log is verified")
    try:
        found = _verify_files(wanted, place) if files else _Verified(_verify_log(place, wanted.expect))
    except Broken as broken:
        return _show_broken(broken)
    with _quietly():
        show(_verified_members(found, wanted), *_verified_lines(found, wanted))
    return 0


class _Verified(NamedTuple):
    head: AuditHead
    files: Sequence[Checked] = ()
    is_keyed: bool = True


def _verify_files(wanted: _Wanted, place: Place) -> _Verified:
    chosen = place.chosen
    is_keyed = key_source.find(chosen.data, chosen.master_key_file).exists
    if wanted.log or wanted.expect is not None or wanted.gaps:
        _require_key(chosen)
    chain = Chain(
        find_key(chosen).audit if is_keyed else None,
        # With the log, only it knows whether it has the record.
        expected=None if wanted.log else wanted.expect,
        thumbprints=wanted.key,
        gaps=wanted.gaps,
    )
    chain.read(wanted.files)
    head = chain.finish()
    return _Verified(_go_on(place, head, wanted) if wanted.log else head, chain.files, is_keyed)


def _go_on(place: Place, end: AuditHead, wanted: _Wanted) -> AuditHead:
    """Verify that the log goes on after this record, which is in it or the last before it."""
    try:
        head = _verify_log(place, end)
    except Broken as broken:
        if broken.damage is not Damage.ARCHIVED:
            raise
        message = f"{broken}; the files that were given end at record {end.number}: the next one is missing"
        raise Broken(message, damage=Damage.DELETED, number=end.number + 1) from None
    if wanted.expect is not None:
        _verify_log(place, wanted.expect)
    return head


def _verified_members(found: _Verified, wanted: _Wanted) -> dict[str, Any]:
    head = found.head
    members = {"number": head.number, "link": head.link.hex(), "head": audit_chain.build_head(head)}
    files = [
        {
            "file": str(file.path),
            "first": file.first,
            "last": file.last.number,
            "thumbprint": file.key.thumbprint if file.key else None,
            "sha256": file.sha256 or None,
        }
        for file in found.files
    ]
    return {**members, "expected": wanted.expect is not None, "chain": found.is_keyed, "files": files}


def _verified_lines(found: _Verified, wanted: _Wanted) -> list[str]:
    lines = [
        f"{file.path}: records {file.first} to {file.last.number}, signed by {file.key.thumbprint}"
        for file in found.files
        if file.key is not None
    ]
    if not found.is_keyed:
        which = "the keys are those that were given" if wanted.key else "compare each with a thumbprint kept elsewhere"
        lines.append(f"each file is as it was signed: {which}. Not verified without the master key: the chain")
        return lines
    what = (
        "no record of the selection was changed" if wanted.gaps else f"the chain is intact, {found.head.number} records"
    )
    lines.append(f"{what}; head {audit_chain.build_head(found.head)}")
    if found.files and found.files[0].first > 1 and not wanted.gaps:
        lines.append(f"Records 1 to {found.files[0].first - 1} are in none of the files.")
    if wanted.expect is None:
        lines.append("Records cut off the end show only against a head that was saved before: see --expect.")
    return lines


@audit.command()
@admin_options
def head(place: Place) -> None:
    """Print number and link of the newest record.

    Save it where an attacker who can write the database cannot, and pass it to `affiant audit verify --expect` later:
    that shows whether records were cut off the end, or the whole log was rewritten. This command does not check the
    chain.
    """
    _check_log(place)
    found = place.get("/audit/head")
    show(found, found["head"])


@audit.command()
@selection_options
@click.option("--format", type=click.Choice(["jsonl"]), default="jsonl", show_default=True, help="one record a line")
@admin_options
def export(wanted: Selection, place: Place, **_: Any) -> None:
    """Print records as JSON Lines.

    Each line has the number, the previous link, the link and the record. Keep the lines as they are:
    `affiant audit verify FILE` checks them byte for byte (with --gaps, if you selected). With --json, only an error is
    one JSON document.

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

    _check_log(place)
    with _quietly():
        place.run(work)


@audit.command("show")
@click.argument("trace", required=False)
@selection_options
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=20, show_default=True, help="how many")
@click.option("-f", "--follow", is_flag=True, help="go on with each new record; with --json, one a line")
@admin_options
def show_(trace: str | None, wanted: Selection, count: int, follow: bool, place: Place) -> None:
    """Show records, newest first.

    Or show the one record with this trace id.

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

    async def work(api: Admin) -> list[Any]:
        if follow:
            await records.follow(api, wanted, count, _print_row)
        return list(reversed(await records.newest(api, wanted, count)))

    _check_log(place)
    with _quietly():
        if trace is not None:
            record = _find(place, trace)
            show(record, *(f"{name:<15}{value}" for name, value in record.items()))
        else:
            empty = "no records yet" if wanted == ALL else "no record matches"
            show_list(place.run(work), Listing(_COLUMNS, _cells, _summary, empty))


def _find(place: Place, trace: str) -> dict[str, Any]:
    # The log has other documents too; no trace id is spelt as they are.
    record: dict[str, Any] = place.get(f"/audit/{segment(trace)}") if _TRACE.fullmatch(trace) else {}
    if record.get("trace_id") != trace:
        raise NotFound(f"there is no record with the trace id {printable(trace)}")
    return record


def _print_row(row: dict[str, Any]) -> None:
    if is_json():
        print_json(row)
    else:
        click.echo(printable(_summary(row)))
    sys.stdout.flush()


def _verify_log(place: Place, expected: AuditHead | None) -> AuditHead:
    _check_log(place)
    saved = audit_chain.build_head(expected) if expected is not None else None
    found = place.get("/audit/verification", expect=saved)
    try:
        if found["holds"]:
            return audit_chain.parse_head(found["head"] or "")
        damage = Damage((found["code"] or "").removeprefix("audit."))
    except ValueError:
        raise RemoteError(f"{place.url} reports on its log in terms that this version does not know") from None
    raise Broken(found["message"] or damage.value, damage=damage, number=found["number"], trace_id=found["trace_id"])


def _check_log(place: Place) -> None:
    """Raise NotFound if there is no log: an empty one that was just made would verify, and mislead."""
    if not place.is_remote:
        check_data(place.chosen)
        _require_key(place.chosen)


def _require_key(chosen: Settings) -> None:
    """Raise NotFound if there is no master key: every record would be wrong under a new one."""
    if not key_source.find(chosen.data, chosen.master_key_file).exists:
        raise NotFound(
            f"the chain is keyed with the master key, and there is none in {chosen.data}: give the server's data folder"
            f" with --data, or the key in {key_source.ENVIRONMENT} or {key_source.SETTING}"
        )


def _show_broken(broken: Broken) -> int:
    members = {
        "message": str(broken),
        "exit_code": BROKEN,
        "code": f"audit.{broken.damage.value}",
        "number": broken.number,
        "trace_id": broken.trace_id,
    }
    with _quietly():
        if is_json():
            print_json({"ok": False, "error": members})
        else:
            click.echo(f"affiant: the audit log is broken: {broken}", err=True)
    return BROKEN


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Let the reader of a pipe leave early; click would exit with 1, which means a broken chain here."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # The rest of the buffer would fail again at the end of the process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write(block: bytearray) -> None:
    sys.stdout.buffer.write(block)
    sys.stdout.buffer.flush()


def _members(row: AuditRow) -> dict[str, Any]:
    try:
        return msgspec.json.decode(row.record, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {"unreadable": row.record.hex()}


def _summary(row: dict[str, Any]) -> str:
    number, *words = _cells(row)
    return f"{number:>6}  " + "  ".join(map(str, words))


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    members = row["record"]
    at = members.get("at")
    is_instant = isinstance(at, int | float) and 0 <= at < _LAST
    when = instant(at).removesuffix(" UTC") if is_instant else "?"
    who = members.get("client_id") or members.get("by") or f"({members.get('client_claimed', '-')})"
    what = members.get("reason") or members.get("subject") or f"scope {members.get('scope', '-')}"
    words = (members.get("trace_id", "?"), members.get("endpoint", "?"), members.get("outcome", "?"))
    return row["number"], when, *words, who, what
