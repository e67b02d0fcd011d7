"""`affiant explain`."""

from __future__ import annotations

import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from affiant.cli.data import find_issuer, has_data, shown_place, with_store
from affiant.cli.operations.road import admin_options, run_admin, segment
from affiant.cli.output import json_option, show
from affiant.errors import ConfigError, RemoteError
from affiant.reasons import Reason
from affiant.server import app
from affiant.server.explain import captured, remote, walk
from affiant.server.explain.fixes import Fix
from affiant.storage.records import NotFound

if TYPE_CHECKING:
    from affiant.cli.operations.road import Admin, Place
    from affiant.server.explain.captured import Captured
    from affiant.server.explain.walk import Explanation, Line
    from affiant.server.keys.master_key import MasterKey
    from affiant.server.settings import Settings
    from affiant.storage.ports import Store

_TRACE = re.compile(r"[A-Za-z0-9_-]{12}")
_MARKS = {walk.PASSED: "\u2713", walk.FAILED: "\u2717", walk.NOT_REACHED: "\u2013", walk.NOT_KNOWN: "?"}
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@click.command()
@click.argument("what")
@admin_options
@click.option("--issuer", metavar="URL", help="judge for the server of this issuer, from its metadata alone")
@click.option("--at", metavar="TIME", help="judge as of this time: seconds since 1970, or 2026-11-21T08:00:00Z")
@json_option
def explain(what: str, place: Place, issuer: str | None, at: str | None, as_json: bool) -> None:
    """Say why a request was refused, or would be: rung by rung, and what to change first.

    WHAT is the trace_id of an answer, or a client assertion, or a whole request: a curl line, a form, an HTTP request,
    a HAR entry. "-" reads it from standard input, and a file's name from the file. Nothing is claimed, stored or sent.

    \b
    affiant explain q7Jd0kX2aQpz
    affiant assertion -c billing.affiant.json | affiant explain -
    affiant explain request.har --at 2026-11-21T08:00:00Z

    Ends with 0 when the request would be let through, with 4 when not.
    """
    text, chosen = _read(what), place.chosen
    if place.is_remote:
        found = _elsewhere(text, place, _instant(at) if at is not None else None)
    elif _TRACE.fullmatch(text):
        found = _of_trace(text, chosen)
    else:
        request = captured.parse(text)
        now = _instant(at) if at is not None else time.time()
        found = _remotely(request, issuer, now) if issuer is not None else _locally(request, chosen, now)
    by = place.url or issuer or shown_place(chosen)
    show({**walk.members(found), "judged_by": by}, f"{_told(found)}\n\n   judged by   {by}", as_json=as_json)
    sys.exit(4 if found.reason is not None else 0)


def _read(what: str) -> str:
    if what == "-":
        return sys.stdin.buffer.read().decode("utf-8", "replace").strip()
    # A JWT or a form may be longer than any file's name.
    if len(what) < 256 and Path(what).is_file():  # noqa: PLR2004
        return Path(what).read_text("utf-8", "replace").strip()
    return what.strip()


def _instant(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"--at {text!r} is no time: write 2026-11-21T08:00:00Z, or seconds since 1970") from None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _of_trace(trace_id: str, chosen: Settings) -> Explanation:
    _check_data(chosen)

    async def work(store: Store, _: MasterKey) -> Explanation:
        record = await store.audit_log.find(trace_id)
        if record is None:
            raise NotFound(f"the audit log in {shown_place(chosen)} has no request with the trace_id {trace_id}")
        return walk.recorded(record, issuer=await find_issuer(store, chosen))

    return with_store(chosen, work)


def _elsewhere(text: str, place: Place, at: float | None) -> Explanation:
    """What the server elsewhere says, over its admin API."""

    async def work(api: Admin) -> dict[str, Any]:
        if _TRACE.fullmatch(text):
            told: dict[str, Any] = await api.get(f"/explain/{segment(text)}")
        else:
            told = await api.post("/explain", {"request": text, "at": at})
        return told

    told = run_admin(place, work)
    try:
        found = _explanation(told)
        _told(found)  # what cannot be shown is found here, too
    except (KeyError, TypeError, ValueError):
        raise RemoteError(f"{place.url} explains it in words that this version does not know") from None
    return found


def _explanation(told: dict[str, Any]) -> Explanation:
    names = ("rung", "mark", "note", "expected", "got", "source")
    return walk.Explanation(
        lines=tuple(walk.Line(**{name: line[name] for name in names}) for line in told["ladder"]),
        reason=Reason.from_code(told["reason"]) if told["reason"] else None,
        fix=Fix(told["fix"]["line"], told["fix"]["why"]) if told["fix"] else None,
        client_id=told["client_id"],
        at=told["at"],
        detail=told["detail"] or "",
        observed=tuple(told["observed"]),
    )


def _locally(request: Captured, chosen: Settings, now: float) -> Explanation:
    _check_data(chosen)

    async def work(store: Store, key: MasterKey) -> Explanation:
        issuer = await find_issuer(store, chosen)
        options = app.Options(
            auth_methods=chosen.methods,
            demands=chosen.demands,
            certificates=chosen.certificates,
            mtls_url=chosen.mtls_url,
        )
        explainer = app.build_explainer(issuer=issuer, store=store, master_key=key, options=options)
        return await explainer.explain(request, now=now)

    return with_store(chosen, work)


def _remotely(request: Captured, issuer: str, now: float) -> Explanation:
    import asyncio

    import httpx2

    from affiant.client import flow, transport

    with httpx2.Client() as http:
        server = transport.run(flow.discover(issuer, clock=time.time), http)
    return asyncio.run(remote.explain(request, server, now=now))


def _check_data(chosen: Settings) -> None:
    # Asking must not make a server's data where there is none.
    if not has_data(chosen):
        raise ConfigError(
            f"there is no server's data in {shown_place(chosen)}: name the folder with --data, or a server elsewhere"
            " with --issuer URL"
        )


def _told(found: Explanation) -> str:
    moment = datetime.fromtimestamp(found.at, UTC).isoformat(timespec="seconds")
    verdict = f"refused: {found.reason.code}" if found.reason else "let through"
    lines = [f"{found.client_id or 'no client named'}   as of {moment}   {verdict}", ""]
    lines += [line for rung in found.lines for line in _told_line(rung)]
    if found.detail:
        lines += ["", f"   noted       {found.detail}"]
    if found.fix:
        lines += ["", f"   why         {found.fix.why}", f"   fix         {found.fix.line}"]
    if found.observed:
        lines += ["", f"   observed    a stricter policy would refuse it: {', '.join(found.observed)}"]
    # What came may have been chosen to command the terminal that shows it.
    return "\n".join(_CONTROLS.sub("\ufffd", line) for line in lines)


def _told_line(line: Line) -> list[str]:
    head = f" {_MARKS[line.mark]} {line.rung:>2} {walk.RUNGS[line.rung]:<12} {line.note}".rstrip()
    details = (
        [("expected", line.expected), ("got", line.got), ("rule", line.source)] if line.mark == walk.FAILED else []
    )
    return [head, *(f"      {name:<12} {text}" for name, text in details if text)]
