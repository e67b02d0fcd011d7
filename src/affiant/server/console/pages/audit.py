"""The audit log: what was decided and changed, by whom, from what to what; and whether its chain is intact."""

from __future__ import annotations

import json
from typing import Any

from affiant.server.console.pages.page import page
from affiant.server.console.show import times
from affiant.server.console.show.records import exports, undoing
from affiant.server.console.view import View
from affiant.server.request.http import Answer

_PAGE = 50
_SHOWN = ("at", "trace_id", "endpoint", "outcome", "reason")
_EXACT = ("client_id", "endpoint", "outcome", "reason", "by")


@page("/audit")
async def show_audit(view: View) -> Answer:
    filters = _filters(view)
    if exports.is_wanted(view):
        return await exports.stream(view, "/audit", "audit", filters)
    found = await view.api.get("/audit", limit=_PAGE, cursor=view.query.maybe("cursor"), **filters)
    return view.show(
        "audit/audit.html",
        rows=[_row(item) for item in found["items"]],
        following=found["next"],
        filters={name: view.query.text(name) for name in (*_EXACT, "since", "until") if view.query.text(name)},
        # The chain is that of the whole server.
        head=await view.api.get("/audit/head") if view.visitor.principal.limit is None else None,
    )


@page("/audit/verification", method="POST")
async def verify(view: View) -> Answer:
    """By POST: it reads the whole log, and no link of another page may cause that."""
    noted = view.form.maybe("expect")
    found = await view.api.get("/audit/verification", expect=noted)
    return view.show("audit/verified.html", found=found, noted=noted)


@page("/audit/export")
async def export(view: View) -> Answer:
    """Every record with its link, as `affiant audit verify FILE` checks them."""
    return await exports.stream(view, "/audit/export", "audit-chain")


def _filters(view: View) -> dict[str, Any]:
    """Return the filters of the admin API; one that is no instant is left out."""
    found: dict[str, Any] = {name: view.query.maybe(name) for name in _EXACT}
    for name in ("since", "until"):
        found[name] = times.parse(view.query.text(name), view.now)
    return found


def _row(item: dict[str, Any]) -> dict[str, Any]:
    record = {**dict.fromkeys(_SHOWN), **item["record"]}
    at = record["at"]
    return {
        "number": item["number"],
        "record": record,
        "at": at if isinstance(at, int | float) and 0 <= at < times.LAST else None,
        "who": record.get("by") or record.get("client_id") or record.get("client_claimed") or "",
        "what": record.get("subject") or record.get("scope") or record.get("detail") or "",
        "changes": changes(record),
        "can_undo": undoing.is_possible(record),
    }


def changes(record: dict[str, Any]) -> list[tuple[str, str | None, str | None]]:
    """Return each member that a change made differ: its name, its value before and after, None for no value."""
    before, after = _members(record.get("before")), _members(record.get("after"))
    names = [*before, *(name for name in after if name not in before)]
    return [(name, _text(before, name), _text(after, name)) for name in names]


def _members(text: object) -> dict[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _text(members: dict[str, Any], name: str) -> str | None:
    value = members.get(name)
    if value is None:
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
