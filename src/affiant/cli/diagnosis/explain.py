"""`affiant explain`."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import click
import msgspec

from affiant.cli.arguments import read_given
from affiant.cli.connection.admin import segment
from affiant.cli.connection.data import find_issuer, has_data, shown_place, with_store
from affiant.cli.connection.local import build_explainer
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.output import instant, show
from affiant.client.protocol import flow, transport
from affiant.errors import ConfigError, RemoteError
from affiant.server.explain import captured
from affiant.server.explain.captured import Captured
from affiant.server.explain.explainer import Explainer, explain_elsewhere
from affiant.server.explain.explanation import FAILED, NOT_KNOWN, NOT_REACHED, PASSED, STEPS, Also, Explanation, Line
from affiant.server.explain.granted import Granted
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry.federation.nearest import Nearest
from affiant.server.settings import Settings
from affiant.storage.ports import Store
from affiant.storage.records import NotFound
from affiant.system import network

REFUSED = 4  # the exit code of main.py for a refusal by a server
_TRACE = re.compile(r"[A-Za-z0-9_-]{12}")
_MARKS = {PASSED: "\u2713", FAILED: "\u2717", NOT_REACHED: "\u2013", NOT_KNOWN: "?"}
_LONGEST = 1 << 26  # bytes: a HAR file has every request of a session


@click.command()
@click.argument("what", metavar="WHAT|FILE|-")
@admin_options
@click.option("--issuer", metavar="URL", help="judge for the server of this issuer, from its metadata alone")
@click.option("--exit-code", is_flag=True, help="exit with 4 when the request is refused, for scripts")
@click.option("--at", metavar="TIME", help="judge as of this time: seconds since 1970, or 2026-11-21T08:00:00Z")
def explain(what: str, place: Place, issuer: str | None, at: str | None, exit_code: bool) -> None:
    """It prints every check of the request, and what to change first.

    WHAT is the trace_id of an answer, or a client assertion, or an access token, or a whole request: a curl line, a
    form, an HTTP request, a HAR entry. "-" reads it from standard input, and a file's name from the file. Nothing is
    claimed, stored or sent.

    \b
    affiant explain q7Jd0kX2aQpz
    affiant assertion -c billing.affiant.json | affiant explain -
    affiant explain request.har --at 2026-11-21T08:00:00Z

    The exit code is 0 when it could explain. With --exit-code: 0 when the request would be accepted, 4 when not.
    """
    text, chosen = read_given(what, longest=_LONGEST), place.chosen
    now = parse_time(at) if at is not None else time.time()
    if place.is_remote:
        found = _ask(text, place, now if at is not None else None)
    elif _TRACE.fullmatch(text):
        found = _of_trace(text, chosen)
    elif issuer is not None:
        found = _from_metadata(captured.parse(text), issuer, now)
    else:
        found = _here(captured.parse(text), chosen, now)
    by = place.url or issuer or shown_place(chosen)
    show({**msgspec.to_builtins(found), "judged_by": by}, *lines(found), "", f"   judged by   {by}")
    if exit_code and found.code is not None:
        sys.exit(REFUSED)


def parse_time(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(
            f"--at {text!r} is not a time: write 2026-11-21T08:00:00Z, or seconds since 1970"
        ) from None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _of_trace(trace_id: str, chosen: Settings) -> Explanation:
    async def work(store: Store, explainer: Explainer) -> Explanation:
        record = await store.audit_log.find(trace_id)
        if record is None:
            base = await store.audit_log.base()
            older = f"; records until {instant(base.at)} are archived" if base.number else ""
            raise NotFound(f"the audit log in {shown_place(chosen)} has no request with the trace_id {trace_id}{older}")
        return await explainer.explain_record(record)

    return _with_explainer(chosen, work)


def _here(request: Captured, chosen: Settings, now: float) -> Explanation:
    return _with_explainer(chosen, lambda _, explainer: explainer.explain(request, now=now))


def _with_explainer(chosen: Settings, work: Callable[[Store, Explainer], Awaitable[Explanation]]) -> Explanation:
    if not has_data(chosen):
        raise ConfigError(
            f"there is no server's data in {shown_place(chosen)}: name the folder with --data, or a remote server with"
            " --issuer URL"
        )

    async def run(store: Store, key: MasterKey) -> Explanation:
        return await work(store, build_explainer(await find_issuer(store, chosen), store, key, chosen))

    return with_store(chosen, run)


def _from_metadata(request: Captured, issuer: str, now: float) -> Explanation:
    with network.http_client() as http:
        server = transport.run(flow.discover(issuer, clock=time.time), http)
    return asyncio.run(explain_elsewhere(request, server, now=now))


def _ask(text: str, place: Place, at: float | None) -> Explanation:
    """Return the explanation of a remote server."""
    if _TRACE.fullmatch(text):
        answer = place.get(f"/explain/{segment(text)}")
    else:
        answer = place.post("/explain", {"request": text, "at": at})
    return read_answer(answer, place)


def read_answer(answer: object, place: Place) -> Explanation:
    """Return the explanation that the admin API gave."""
    try:
        found = msgspec.convert(answer, Explanation)
        lines(found)  # so that an unknown reason fails here too
    except (KeyError, ValueError):
        raise RemoteError(f"{place.url} explains it in terms that this version does not know") from None
    return found


def lines(found: Explanation) -> list[str]:
    """Return the text of an explanation. What mends the request comes first."""
    is_token = found.lines[0].name != STEPS[1]
    verdict = f"refused: {found.code}" if found.code else "valid" if is_token else "accepted"
    mends = [f"fix  {found.fix.line}", f"     {found.fix.why}"] if found.fix else []
    text = [*mends, ""] if mends and found.code else []
    text += [f"{found.client_id or 'no client named'}   as of {instant(found.at)}   {verdict}", ""]
    if found.what:
        text += [f"   {found.what}", ""]
    text += [text for line in found.lines for text in _line_text(line)]
    text += [text for rule in found.rules for text in ("", *_rule_text(rule))]
    if found.granted:
        text += ["", *_granted_text(found.granted)]
    if found.detail:
        text += ["", f"   noted       {found.detail}"]
    if not found.code and mends:
        text += ["", *mends]
    if found.remedy:
        text += ["", f"   or          {found.remedy.why}"]
        text += [f"               {found.remedy.line}"] if found.remedy.line else []
    for other in found.also:
        text += ["", *_also_text(other)]
    if found.observed:
        text += ["", f"   observed    a stricter policy would refuse it: {', '.join(found.observed)}"]
    return text


def _rule_text(rule: Nearest) -> list[str]:
    state = "" if rule.enabled else ", disabled"
    text = [f"   rule        {rule.trust}/{rule.rule}, for the client {rule.client_id}{state}"]
    for one in rule.conditions:
        mark, got = _MARKS[PASSED if one.met else FAILED], "absent" if one.got is None else json.dumps(one.got)
        text.append(f"    {mark}          {one.claim} {got}")
        if not one.met:
            text.append(f"               expected {' or '.join(map(json.dumps, one.expected))}")
    return text


def _granted_text(granted: Granted) -> list[str]:
    scope, places = " ".join(granted.scope) or "no scope", " and ".join(granted.resource)
    text = [f"   gives       {scope} at {places} for {granted.lifetime} s"]
    for limit in granted.limits:
        of = [] if limit.scope is None else [" ".join(limit.scope) or "no scope"]
        of += [] if limit.resource is None else [" ".join(limit.resource)]
        of += [] if limit.lifetime is None else [f"{limit.lifetime} s"]
        text += [f"               {limit.layer}: {', '.join(of)}"] if of else []
    return text


def _line_text(line: Line) -> list[str]:
    head = f" {_MARKS[line.mark]} {line.step:>2} {line.name:<12} {line.note}".rstrip()
    details = [("expected", line.expected), ("got", line.got), ("rule", line.source)] if line.mark == FAILED else []
    return [head, *(f"      {name:<12} {text}" for name, text in details if text)]


def _also_text(other: Also) -> list[str]:
    lines = [f"   also        {other.reason.code}: {other.reason.value.sentence}"]
    lines += [f"   {name:<11} {text}" for name, text in (("expected", other.expected), ("got", other.got)) if text]
    return [*lines, *([f"   fix         {other.fix.line}"] if other.fix else [])]
