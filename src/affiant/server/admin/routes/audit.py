"""The audit log: its records, the verification of its chain, and explanations of refused requests."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from pydantic import Field

from affiant.server.admin import changes, documents, lists, models
from affiant.server.admin.access.store import for_explaining
from affiant.server.admin.documents import Question
from affiant.server.admin.lists import PAGE, CursorText, Limit, Piece, Source
from affiant.server.admin.roles import Role
from affiant.server.admin.routes import clients
from affiant.server.admin.routes.operation import UNKNOWN, Call, ClientId, Reach, Routes
from affiant.server.request.audit.sinks import lag
from affiant.server.request.http import Answer
from affiant.storage.entries import OUT_OF_ORDER, AuditBase, AuditRow, Entry
from affiant.storage.history import audit_chain
from affiant.storage.history.audit_chain import Broken
from affiant.storage.records import NotFound
from affiant.system.text import instant as shown

AUDIT, EXPLAIN = Routes("audit"), Routes("explain")
Result = TypeVar("Result")
_SCANNED = 10_000  # records read for one page: a rare filter gives short pages, not a long wait
Text = Annotated[str | None, Field(max_length=512)]
Instant = Annotated[float | None, Field(ge=0, le=1e11, allow_inf_nan=False, description="seconds since 1970")]
TraceId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Head = Annotated[
    str | None, Field(pattern=r"^[0-9]{1,18}:[0-9a-f]{64}$", description="a head that was noted down earlier")
]
AfterNumber = Annotated[int | None, Field(ge=0, le=2**62, description="only records after the one of this number")]
SinkName = Annotated[str, Field(pattern=r"^audit_[a-z]{1,32}$")]
After = Annotated[int, Field(ge=0, le=2**62, description="begin after the record of this number")]


@dataclass(frozen=True)
class Choice:
    """The records that a list of the audit log has; a member that is None chooses nothing."""

    client_id: str | None = None
    since: float | None = None
    until: float | None = None
    after: int | None = None
    exact: Mapping[str, str | None] = field(default_factory=dict)  # by the name of the member

    @property
    def is_narrow(self) -> bool:
        chosen = (self.client_id, self.since, self.until, self.after, *self.exact.values())
        return any(value is not None for value in chosen)

    @cached_property
    def written(self) -> list[bytes]:
        """The chosen texts as a record has them: the store passes over most records, which are never decoded."""
        texts = [text for text in (self.client_id, *self.exact.values()) if text is not None]
        # Control characters and half a surrogate pair have several spellings (AuditRecord.to_json).
        return [msgspec.json.encode(text) for text in texts if text.isascii() and text.isprintable()]

    def has(self, row: AuditRow, members: dict[str, Any]) -> bool:
        at = members.get("at")
        at = at if isinstance(at, int | float) else 0.0
        return (
            bool(members)  # not one of another team
            and all(value is None or members.get(name) == value for name, value in self.exact.items())
            and self.client_id in (None, members.get("client_id"), members.get("client_claimed"))
            and (self.since is None or at >= self.since)
            and (self.until is None or at < self.until)
            and (self.after is None or row.number > self.after)
        )

    def ends_before(self, row: AuditRow, *, now: float) -> bool:
        """Whether no record before this one is chosen."""
        # The clocks of nodes differ: a record may be a little older than the one before it.
        is_older = self.since is not None and instant(row, now=now) < self.since - OUT_OF_ORDER
        return is_older or (self.after is not None and row.number <= self.after)


@AUDIT("GET /audit", Role.VIEWER, Reach.TEAMS, answers=models.page(documents.AuditRow), is_list=True)
async def list_audit(
    call: Call,
    client_id: Text = None,
    endpoint: Text = None,
    outcome: Text = None,
    reason: Text = None,
    by: Text = None,
    subject: Text = None,
    since: Instant = None,
    until: Instant = None,
    after: AfterNumber = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> Any:
    """List the records, the newest first. A page of a rare filter may be short or empty, and have a next one."""
    exact = {"endpoint": endpoint, "outcome": outcome, "reason": reason, "by": by, "subject": subject}
    choice = Choice(client_id, since, until, after, exact)

    async def read(place: str, most: int) -> Piece[AuditRow]:
        before, log = int(place) if place else None, call.context.store.audit_log
        rows, following = await log.search(choice.written, before=before, looked=most, limit=PAGE)
        if following is None or choice.ends_before(following, now=call.now):
            return Piece(rows, None, most)
        newest = before - 1 if before is not None else rows[0].number if rows else following.number
        return Piece(rows, str(following.number + 1), newest - following.number if len(rows) == PAGE else most)

    def show(row: AuditRow) -> list[documents.AuditRow]:
        members = members_of(row)
        return [documents.AuditRow(number=row.number, record=members)] if choice.has(row, members) else []

    is_narrow = choice.is_narrow or call.who.limit is not None
    source = Source(read, lambda row: str(row.number), show, scan=_SCANNED if is_narrow else 0)
    return await lists.answer(call, limit, cursor, source)


@AUDIT("GET /audit/head", Role.VIEWER, Reach.SERVER, answers=documents.AuditHead)
async def show_audit_head(call: Call) -> Any:
    """Show the head of the log. Store it elsewhere, and verify the log against it later."""
    head = await call.context.store.audit_log.head()
    base = await call.context.store.audit_log.base()
    return documents.AuditHead(
        number=head.number,
        link=head.link.hex(),
        head=audit_chain.build_head(head),
        base=base.number,
        archived_until=base.at if base.number else None,
    )


@AUDIT("GET /audit/sinks", Role.VIEWER, Reach.SERVER, answers=documents.Sinks)
async def list_sinks(call: Call) -> Any:
    """List the audit sinks that began and were not removed: the last record that each has, and how far it is behind."""
    store = call.whole
    behind = await lag.lags(store, call.request.now)
    return documents.Sinks(
        items=[
            documents.Sink(
                name=cursor.name,
                number=cursor.number,
                records_behind=behind[cursor.name].records,
                seconds_behind=behind[cursor.name].seconds,
                problem=cursor.problem or None,
            )
            for cursor in await store.cursors.list()
            if cursor.name in behind
        ]
    )


@AUDIT("DELETE /audit/sinks/{name}", Role.OWNER, Reach.SERVER, status=204, refuses=UNKNOWN)
async def remove_sink(call: Call, name: SinkName) -> None:
    """Forget a sink that is no longer configured: records that it did not get may then be archived."""
    if name not in {cursor.name for cursor in await call.whole.cursors.list()}:
        raise NotFound(f"there is no audit sink {name}")
    # Order: the record first. A failure in between leaves the cursor, and this can be repeated.
    await call.whole.ledger.claim(Entry(changes.record(call, f"sink {name}", outcome="removed")))
    await call.whole.cursors.remove(name)


@AUDIT("GET /audit/verification", Role.VIEWER, Reach.SERVER, answers=documents.Verification, is_long=True)
async def verify_audit(call: Call, expect: Head = None) -> Any:
    """Verify the whole chain; name the first record that was edited, deleted, inserted or moved."""
    expected = audit_chain.parse_head(expect) if expect is not None else None
    log = call.context.store.audit_log
    base = await log.base()
    verification = audit_chain.Verification(call.context.master_key.audit, base=base, expected=expected)
    given = (await log.head()).given  # Order: before the rows, because other nodes add to both
    async for _ in _walk(call, _Start(None, base), verification.feed, verification.rebase):
        pass
    try:
        head = verification.finish(given)
    except Broken as broken:
        return documents.Verification(
            holds=False,
            number=broken.number,
            message=str(broken),
            code=f"audit.{broken.damage.value}",
            trace_id=broken.trace_id,
            base=base.number,
        )
    return documents.Verification(holds=True, number=head.number, head=audit_chain.build_head(head), base=base.number)


@AUDIT("GET /audit/export", Role.VIEWER, Reach.SERVER, answers=None, is_list=True, refuses=UNKNOWN)
async def export_audit(call: Call, after: After = 0) -> Answer:
    """Export all records, the oldest first, one a line as `affiant audit verify FILE` checks them."""
    log = call.context.store.audit_log
    base = await log.base()
    before = await log.export(after=after - 1, limit=1) if after > base.number else []
    if after > base.number and (not before or before[0].number != after):
        raise NotFound(f"there is no record number {after}")
    if 0 < after < base.number:
        raise NotFound(f"record number {after} is archived: the log begins after {base.number}")

    previous = before[0].link if before else base.link

    def rebase(moved: AuditBase) -> None:
        nonlocal previous
        previous = moved.link

    def build(row: AuditRow) -> bytes:
        nonlocal previous
        line = audit_chain.build_line(row, previous)
        previous = row.link
        return line + b"\n"

    async def lines() -> AsyncGenerator[bytes, None]:
        async for page in _walk(call, _Start(after or None, base), build, rebase):
            yield b"".join(page)

    return lists.stream(lines())


class _Start(NamedTuple):
    after: int | None  # None begins before every number, forged ones too
    base: AuditBase


async def _walk(
    call: Call, start: _Start, work: Callable[[AuditRow], Result], rebase: Callable[[AuditBase], None]
) -> AsyncIterator[list[Result]]:
    """Yield the rendering of every record after this number, page by page.

    `rebase` gets the new base when the records that come next were archived.
    """
    log, after = call.context.store.audit_log, start.after

    async def fetch() -> list[AuditRow]:
        nonlocal after
        last = start.base.number if after is None else after
        while (rows := await log.export(after=after, limit=PAGE)) and rows[0].number > last + 1:
            # Order: after the rows. A base moves with the deletion of its rows, so it is not before the gap.
            base = await log.base()
            if base.number <= last:
                break  # records are missing
            rebase(base)
            after = last = base.number
        return rows

    def numbered(row: AuditRow) -> tuple[int, Result]:
        return row.number, work(row)

    while page := await call.context.reads.each(fetch, numbered):
        yield [result for _, result in page]
        after = page[-1][0]


@AUDIT("GET /audit/{trace_id}", Role.VIEWER, Reach.TEAMS, answers=dict[str, Any], refuses=UNKNOWN)
async def show_record(call: Call, trace_id: TraceId) -> Any:
    """Show the record of one request."""
    return await get(call, trace_id)


async def get(call: Call, trace_id: str) -> dict[str, Any]:
    """Return the record of this request; raise NotFound if there is none."""
    found = await call.context.store.audit_log.find(trace_id)
    if found is None:
        base = await call.context.store.audit_log.base()
        older = f"; records until {shown(base.at)} are archived" if base.number else ""
        raise NotFound(
            f"there is no record with the trace id {trace_id}: an API's own trace ids are not in this log{older}"
        )
    return found


def instant(row: AuditRow, *, now: float) -> float:
    """Return the time of a record; now for a damaged one, which says nothing of those before it."""
    at = members_of(row).get("at")
    return at if isinstance(at, int | float) else now


def members_of(row: AuditRow) -> dict[str, Any]:
    """Return the members of a record; of one that is no longer JSON, its bytes in hexadecimal."""
    try:
        return msgspec.json.decode(row.record, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {"unreadable": row.record.hex()}


@EXPLAIN("POST /explain", Role.VIEWER, Reach.TEAMS, answers=documents.Explanation, is_long=True)
async def explain_request(call: Call, question: Question) -> Any:
    """Judge a request step by step, without claiming, storing or sending anything."""
    from affiant.server.explain import captured  # noqa: PLC0415 - few calls need it

    at = question.at if question.at is not None else call.request.now
    asked = captured.parse(question.request)
    explainer = call.context.explainer(store=for_explaining(call.whole, call.context.store))
    return await _shown(call, await explainer.explain(asked, now=at, trust=question.trust))


@EXPLAIN(
    "GET /explain/{trace_id}", Role.VIEWER, Reach.TEAMS, answers=documents.Explanation, refuses=UNKNOWN, is_long=True
)
async def explain_record(call: Call, trace_id: TraceId) -> Any:
    """Explain the decision about a request, from its record."""
    record = await get(call, trace_id)
    explainer = call.context.explainer(store=for_explaining(call.whole, call.context.store))
    return await _shown(call, await explainer.explain_record(record))


@EXPLAIN(
    "GET /clients/{client_id}/token-preview",
    Role.VIEWER,
    Reach.TEAMS,
    answers=documents.TokenPreview,
    refuses=UNKNOWN,
)
async def preview_token(call: Call, client_id: ClientId, resource: Text = None) -> Any:
    """Show what an access token of this client would contain, for one API or the usual one. None is issued."""
    await clients.get(call, client_id)
    explainer = call.context.explainer(store=for_explaining(call.whole, call.context.store))
    found = await explainer.preview(client_id, (resource,) if resource else ())
    if found is None:
        raise clients.unknown(client_id)
    return msgspec.to_builtins(found)


async def _shown(call: Call, found: Any) -> Any:
    """Return the explanation without the rules of others; raise NotFound for the token of a platform that is theirs."""
    shown, store = msgspec.to_builtins(found), call.context.store
    if call.who.limit is None:
        return shown
    is_seen = found.client_id is not None and await store.clients.find(found.client_id) is not None
    if found.trust is not None and not is_seen and await store.trusts.find(found.trust) is None:
        raise NotFound("the token is for no trust and for no client of your teams")
    mine = {rule.name for rule in await store.rules.list()}
    return {**shown, "rules": [rule for rule in shown["rules"] if rule["rule"].rpartition("/")[2] in mine]}
