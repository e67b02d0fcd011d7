"""One decision, and why it was made."""

from __future__ import annotations

import json
from typing import Any

from affiant.errors.reasons import Reason
from affiant.server.console.actions.action import see_other
from affiant.server.console.api import Refusal, at
from affiant.server.console.pages.events import languages
from affiant.server.console.pages.events.explained import MARKS, explain
from affiant.server.console.pages.events.rows import Members, Row
from affiant.server.console.pages.page import page
from affiant.server.console.show import times
from affiant.server.console.view import View
from affiant.server.request.http import Answer

NEIGHBOURS = 10
_ABSENT = 404
# The endpoints whose callers climb the ladder; the records of others say all that there is.
_EXPLAINED = frozenset({"token", "introspect", "revoke", "client-keys"})
_CODES = frozenset(reason.code for reason in Reason)
_JSON = ("claims", "nearest", "before", "after")  # members that are JSON texts


@page("/e/{trace_id}")
async def lead_to_event(view: View, trace_id: str) -> Answer:
    return see_other(f"{view.base}{at('/events/{}', trace_id)}")


@page("/events/{trace_id}")
async def show_event(view: View, trace_id: str) -> Answer:
    try:
        record = Members(await view.api.get(at("/audit/{}", trace_id)))
    except Refusal as refusal:
        if refusal.status not in (_ABSENT, 400):
            raise
        is_all = view.visitor.principal.limit is None  # the log is that of the whole server
        head = await view.api.get("/audit/head") if is_all else {}
        until = head.get("archived_until")
        return view.show("events/absent.html", status=_ABSENT, trace_id=trace_id, archived_until=until)
    found = await view.api.get(at("/explain/{}", trace_id)) if _has_ladder(record) else None
    client = record["client_id"] or record["client_claimed"]
    return view.show(
        "events/event.html",
        row=Row.of({"number": 0, "record": record}),
        record=record,
        members=_members(record),
        explained=await explain(view, found) if found is not None else None,
        sentence=_sentence(record),
        neighbours=await _neighbours(view, client) if client else [],
        client=client,
        is_registered=record["client_id"] is not None or record["reason"] != Reason.CLIENT_UNKNOWN.code,
        marks=MARKS,
        languages=languages.NAMES,
    )


def _has_ladder(record: Members) -> bool:
    """Whether the record is of a request that climbed the ladder, and of reasons that this version knows."""
    codes = [record["reason"], *(record["also"] or "").split()]
    is_known = all(code is None or code in _CODES for code in codes)
    return is_known and record["endpoint"] in _EXPLAINED and bool(record["client_id"] or record["reason"])


async def _neighbours(view: View, client: str) -> list[Row]:
    found = await view.api.get("/audit", client_id=client, limit=NEIGHBOURS)
    return [Row.of(item) for item in found["items"]]


def _members(record: Members) -> list[tuple[str, str, bool]]:
    """Return the name, the text, and whether it is JSON, of each member."""
    return [(name, _text(name, value), name in _JSON) for name, value in record.items()]


def _text(name: str, value: Any) -> str:
    if name == "at":
        return f"{value} ({times.moment(value)})"
    if name not in _JSON or not isinstance(value, str):
        return str(value)
    try:
        return json.dumps(json.loads(value), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):  # cut to its longest length
        return value


def _sentence(record: Members) -> str:
    """Return what was decided, where no ladder says it."""
    if record["subject"]:
        return f"{record['by'] or record['client_id'] or 'Someone'}: {record['subject']} was {record['outcome']}."
    return f"The endpoint {record['endpoint']} answered: {record['outcome']}."
