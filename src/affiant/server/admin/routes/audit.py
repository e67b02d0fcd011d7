"""The audit log: what was decided, and whether the log still is what was written."""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import Path, Query
from starlette.requests import Request
from starlette.responses import StreamingResponse

from affiant.reasons import Reason
from affiant.server.admin import documents, lists
from affiant.server.admin.lists import CursorText, Limit
from affiant.server.admin.roles import Role
from affiant.server.admin.routes.declared import Call, Routes
from affiant.storage import audit_chain
from affiant.storage.audit_chain import Broken
from affiant.storage.entries import GENESIS, AuditRow
from affiant.storage.records import NotFound

ROUTES = Routes("audit")
_SCANNED = 10_000  # records that are looked at for one page: a rare choice gives short pages, never a long wait
_PAGE = 1000
Text = Annotated[str | None, Query(max_length=512)]
Instant = Annotated[float | None, Query(ge=0, le=1e11, allow_inf_nan=False, description="seconds since 1970")]
TraceId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Head = Annotated[
    str | None, Query(pattern=r"^[0-9]{1,18}:[0-9a-f]{64}$", description="a head that was noted down earlier")
]
After = Annotated[int, Query(ge=0, le=2**62, description="begin after the record of this number")]


@ROUTES("GET /audit", Role.VIEWER, answers=documents.page(documents.AuditRow), is_list=True)
async def list_audit(
    request: Request,
    call: Call,
    client_id: Text = None,
    endpoint: Text = None,
    outcome: Text = None,
    reason: Text = None,
    by: Text = None,
    since: Instant = None,
    until: Instant = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> Any:
    """List the records, the newest first. A page of a rare choice may be short, or empty, and have a next one."""
    exact = {"endpoint": endpoint, "outcome": outcome, "reason": reason, "by": by}
    wanted = {name: value for name, value in exact.items() if value is not None}

    def has(members: dict[str, Any]) -> bool:
        at = members.get("at") or 0.0
        return (
            all(members.get(name) == value for name, value in wanted.items())
            and client_id in (None, members.get("client_id"), members.get("client_claimed"))
            and (since is None or at >= since)
            and (until is None or at < until)
        )

    async def fetch(place: str, limit: int) -> tuple[list[documents.AuditRow], str | None]:
        return await _search(call, has, int(place) if place else None, limit)

    return await lists.answer(request, call, limit, cursor, fetch)


async def _search(
    call: Call, has: Callable[[dict[str, Any]], bool], before: int | None, limit: int
) -> tuple[list[documents.AuditRow], str | None]:
    """The newest records before this number that are wanted, and where to go on; None at the end of the log."""
    found: list[documents.AuditRow] = []
    looked = 0
    while looked < _SCANNED:
        rows = await call.desk.store.audit_log.newest(before=before, limit=_PAGE)
        if not rows:
            return found, None
        for row in rows:
            before, looked = row.number, looked + 1
            if has(members := members_of(row)):
                found.append(documents.AuditRow(number=row.number, record=members))
                if len(found) == limit:
                    return found, str(before)
    return found, str(before)


@ROUTES("GET /audit/head", Role.VIEWER, answers=documents.AuditHead)
async def show_audit_head(call: Call) -> Any:
    """Where the log ends: keep it elsewhere, and have the log verified against it later."""
    head = await call.desk.store.audit_log.head()
    return documents.AuditHead(number=head.number, link=head.link.hex(), head=audit_chain.build_head(head))


@ROUTES("GET /audit/verification", Role.VIEWER, answers=documents.Verification)
async def verify_audit(call: Call, expect: Head = None) -> Any:
    """Check the whole chain, and name the first record that was edited, deleted, inserted or moved."""
    expected = audit_chain.parse_head(expect) if expect is not None else None
    verification = audit_chain.Verification(call.desk.master_key.audit, expected=expected)
    log = call.desk.store.audit_log
    given = (await log.head()).given  # before the rows: more are added to both meanwhile
    async for row in audit_chain.walk(log):
        verification.feed(row)
    try:
        head = verification.finish(given)
    except Broken as broken:
        return documents.Verification(
            holds=False,
            number=broken.number,
            message=str(broken),
            code=f"audit.{broken.damage.value}",
            trace_id=broken.trace_id,
        )
    return documents.Verification(holds=True, number=head.number, head=audit_chain.build_head(head))


@ROUTES("GET /audit/export", Role.VIEWER, answers=None, is_list=True, refuses=(Reason.ADMIN_NOT_FOUND,))
async def export_audit(call: Call, after: After = 0) -> StreamingResponse:
    """All records from the oldest on, one a line as `affiant audit verify FILE` checks them."""
    log = call.desk.store.audit_log
    before = await log.export(after=after - 1, limit=1) if after else []
    if after and (not before or before[0].number != after):
        raise NotFound(f"there is no record number {after}")

    async def lines() -> Any:
        previous = before[0].link if before else GENESIS
        async for row in audit_chain.walk(log, after=after or None):
            yield audit_chain.build_line(row, previous) + b"\n"
            previous = row.link

    return StreamingResponse(lines(), media_type=lists.LINES)


@ROUTES("GET /audit/{trace_id}", Role.VIEWER, answers=dict[str, Any], refuses=(Reason.ADMIN_NOT_FOUND,))
async def show_record(call: Call, trace_id: TraceId) -> Any:
    """Show the record of one request."""
    return await get(call, trace_id)


async def get(call: Call, trace_id: str) -> dict[str, Any]:
    """The record of this request.

    Raises:
        NotFound: there is none.
    """
    found = await call.desk.store.audit_log.find(trace_id)
    if found is None:
        raise NotFound(f"there is no record with the trace id {trace_id}: an API's own trace ids are not in this log")
    return found


def members_of(row: AuditRow) -> dict[str, Any]:
    """What a record says; one that was damaged until it is no JSON, as hexadecimal digits."""
    try:
        return msgspec.json.decode(row.record, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {"unreadable": row.record.hex()}
