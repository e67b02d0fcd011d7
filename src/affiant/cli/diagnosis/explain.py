"""`affiant explain`."""

from __future__ import annotations

import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from affiant.cli.connection.data import find_issuer, has_data, shown_place, with_store
from affiant.cli.connection.place import Admin, Place, admin_options, run_admin, segment
from affiant.cli.output import json_option, show
from affiant.errors import ConfigError, RemoteError
from affiant.reasons import Reason
from affiant.server import app
from affiant.server.explain import captured, explanation, remote
from affiant.server.explain.captured import Captured
from affiant.server.explain.explainer import Explainer
from affiant.server.explain.explanation import FAILED, NOT_KNOWN, NOT_REACHED, PASSED, STEPS, Also, Explanation, Line
from affiant.server.explain.fixes import Fix
from affiant.server.keys.master_key import MasterKey
from affiant.server.settings import Settings
from affiant.storage.ports import Store
from affiant.storage.records import NotFound

REFUSED = 4  # the exit code of main.py for what a server refused
_TRACE = re.compile(r"[A-Za-z0-9_-]{12}")
_MARKS = {PASSED: "\u2713", FAILED: "\u2717", NOT_REACHED: "\u2013", NOT_KNOWN: "?"}
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@click.command()
@click.argument("what")
@admin_options
@click.option("--issuer", metavar="URL", help="judge for the server of this issuer, from its metadata alone")
@click.option("--exit-code", is_flag=True, help="end with 4 when the request is refused, for scripts")
@click.option("--at", metavar="TIME", help="judge as of this time: seconds since 1970, or 2026-11-21T08:00:00Z")
@json_option
def explain(what: str, place: Place, issuer: str | None, at: str | None, exit_code: bool, as_json: bool) -> None:
    """Say why a request was refused, or would be: step by step, and what to change first.

    WHAT is the trace_id of an answer, or a client assertion, or an access token, or a whole request: a curl line, a
    form, an HTTP request, a HAR entry. "-" reads it from standard input, and a file's name from the file. Nothing is
    claimed, stored or sent.

    \b
    affiant explain q7Jd0kX2aQpz
    affiant assertion -c billing.affiant.json | affiant explain -
    affiant explain request.har --at 2026-11-21T08:00:00Z

    Ends with 0 when it could explain. With --exit-code: 0 when the request would be let through, 4 when not.
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
    text = f"{_text(found)}\n\n   judged by   {by}"
    show({**explanation.members(found), "judged_by": by}, text, as_json=as_json)
    if exit_code and found.reason is not None:
        sys.exit(REFUSED)


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

    async def work(store: Store, key: MasterKey) -> Explanation:
        record = await store.audit_log.find(trace_id)
        if record is None:
            raise NotFound(f"the audit log in {shown_place(chosen)} has no request with the trace_id {trace_id}")
        return await _explainer(await find_issuer(store, chosen), store, key, chosen).explain_record(record)

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
        _text(found)  # what cannot be shown is found here, too
    except (KeyError, TypeError, ValueError):
        raise RemoteError(f"{place.url} explains it in words that this version does not know") from None
    return found


def _explanation(told: dict[str, Any]) -> Explanation:
    names = ("mark", "note", "expected", "got", "source", "name")
    return Explanation(
        lines=tuple(Line(line["rung"], **{name: line[name] for name in names}) for line in told["ladder"]),
        reason=Reason.from_code(told["reason"]) if told["reason"] else None,
        fix=_fix(told["fix"]),
        client_id=told["client_id"],
        at=told["at"],
        detail=told["detail"] or "",
        observed=tuple(told["observed"]),
        # A server of an earlier version does not say these.
        what=told.get("what") or "",
        also=tuple(
            Also(Reason.from_code(other["reason"]), other["expected"], other["got"], _fix(other["fix"]))
            for other in told.get("also", ())
        ),
        remedy=_fix(told.get("remedy")),
    )


def _fix(told: dict[str, Any] | None) -> Fix | None:
    return Fix(told["line"], told["why"]) if told else None


def _locally(request: Captured, chosen: Settings, now: float) -> Explanation:
    _check_data(chosen)

    async def work(store: Store, key: MasterKey) -> Explanation:
        explainer = _explainer(await find_issuer(store, chosen), store, key, chosen)
        return await explainer.explain(request, now=now)

    return with_store(chosen, work)


def _explainer(issuer: str, store: Store, key: MasterKey, chosen: Settings) -> Explainer:
    return app.build_explainer(issuer=issuer, store=store, master_key=key, options=chosen.options)


def _remotely(request: Captured, issuer: str, now: float) -> Explanation:
    import asyncio

    from affiant.client import flow, transport
    from affiant.system import network

    with network.http_client() as http:
        server = transport.run(flow.discover(issuer, clock=time.time), http)
    return asyncio.run(remote.explain(request, server, now=now))


def _check_data(chosen: Settings) -> None:
    # Asking must not make a server's data where there is none.
    if not has_data(chosen):
        raise ConfigError(
            f"there is no server's data in {shown_place(chosen)}: name the folder with --data, or a server elsewhere"
            " with --issuer URL"
        )


def _text(found: Explanation) -> str:
    moment = datetime.fromtimestamp(found.at, UTC).isoformat(timespec="seconds")
    is_token = found.lines[0].name not in ("", STEPS[1])
    verdict = f"refused: {found.reason.code}" if found.reason else "valid" if is_token else "let through"
    lines = [f"{found.client_id or 'no client named'}   as of {moment}   {verdict}", ""]
    if found.what:
        lines += [f"   {found.what}", ""]
    lines += [text for line in found.lines for text in _line_text(line)]
    if found.detail:
        lines += ["", f"   noted       {found.detail}"]
    if found.fix:
        lines += ["", f"   why         {found.fix.why}", f"   fix         {found.fix.line}"]
    if found.remedy:
        lines += ["", f"   or          {found.remedy.why}"]
        lines += [f"               {found.remedy.line}"] if found.remedy.line else []
    for other in found.also:
        lines += ["", *_also_text(other)]
    if found.observed:
        lines += ["", f"   observed    a stricter policy would refuse it: {', '.join(found.observed)}"]
    # What came may have been chosen to command the terminal that shows it.
    return "\n".join(_CONTROLS.sub("\ufffd", line) for line in lines)


def _line_text(line: Line) -> list[str]:
    head = f" {_MARKS[line.mark]} {line.step:>2} {line.name or STEPS[line.step]:<12} {line.note}".rstrip()
    details = [("expected", line.expected), ("got", line.got), ("rule", line.source)] if line.mark == FAILED else []
    return [head, *(f"      {name:<12} {text}" for name, text in details if text)]


def _also_text(other: Also) -> list[str]:
    lines = [f"   also        {other.reason.code}: {other.reason.value.sentence}"]
    lines += [f"   {name:<11} {text}" for name, text in (("expected", other.expected), ("got", other.got)) if text]
    return [*lines, *([f"   fix         {other.fix.line}"] if other.fix else [])]
