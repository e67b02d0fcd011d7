"""The counts by minute, hour and day, for plots."""

from functools import partial
from typing import Annotated, Any

import msgspec
from pydantic import Field

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.server.admin.roles import Role
from affiant.server.admin.routes import clients
from affiant.server.admin.routes.operation import UNKNOWN, Call, Reach, Routes
from affiant.server.admin.routes.usage import documents
from affiant.server.admin.routes.usage.documents import Kind, Unit
from affiant.server.admin.routes.usage.used import hours
from affiant.server.registry.kinds import MAX_CLIENT_ID
from affiant.server.request.http import Answer
from affiant.storage.history.counts import ISSUED, KINDS, REFUSED, SECONDS, SERVER, Count, Selection, begin

COUNTS = Routes("counts")
MAX_ACTIVE = 10_000
MAX_POINTS = 1500  # of one series: a day of minutes, two months of hours
_USUAL_POINTS = {"minute": 60, "hour": 24, "day": 30}
_POINTS_AT_ONCE = 60
MAX_CLIENTS = 200  # of one request
Instant = Annotated[int | None, Field(ge=0, le=10**11, description="seconds since 1970")]
Client = Annotated[
    str | None,
    Field(
        max_length=MAX_CLIENT_ID,
        description="of this client; of the whole server, or of all clients of the caller's teams, when left out",
    ),
]


@COUNTS("GET /counts", Role.VIEWER, Reach.TEAMS, answers=documents.Counts, is_long=True, refuses=UNKNOWN)
async def list_counts(
    call: Call,
    unit: Unit = "hour",
    since: Instant = None,
    until: Instant = None,
    client_id: Client = None,
    kind: Annotated[Kind | None, Field(description="all kinds when left out")] = None,
) -> Any:
    """List how often something happened, by minute, hour or day: at most 1,500 of them, by default the latest.

    Minutes are kept for two days, and for the whole server only; hours for 31 days, those of a client for two; days for
    400 days, those of a client for 31.
    """
    if client_id is not None:
        await clients.get(call, client_id)
    start, end = _span(call, unit, since, until)
    kinds = (kind,) if kind is not None else KINDS
    series: dict[tuple[str, str], list[tuple[int, int]]] = {}

    def add(count: Count) -> None:
        series.setdefault((count.kind, count.label), []).append((count.at, count.count))

    piece = SECONDS[unit] * _POINTS_AT_ONCE
    for first in range(start, end, piece):
        selection = Selection(unit, first, min(first + piece, end), (client_id or SERVER,), kinds)
        await call.context.reads.each(partial(call.context.store.counts.list, selection), add)
    shown = [
        {"kind": kind, "label": label, "total": sum(count for _, count in points), "points": points}
        for (kind, label), points in sorted(series.items())
    ]
    document = {"unit": unit, "since": start, "until": end, "client_id": client_id, "series": shown}
    return Answer(200, {}, body=msgspec.json.encode(document))


@COUNTS(
    "GET /counts/clients", Role.VIEWER, Reach.TEAMS, answers=list[documents.ClientHours], is_long=True, refuses=UNKNOWN
)
async def list_client_hours(
    call: Call,
    named: Annotated[str, Field(max_length=MAX_CLIENTS * (MAX_CLIENT_ID + 1), description="clients, between spaces")],
) -> Any:
    """List the tokens and refusals of several clients in each of the last 24 hours, the present one the last."""
    names = tuple(dict.fromkeys(named.split()))
    if not 0 < len(names) <= MAX_CLIENTS:
        raise Rejected(Reason.ADMIN_QUERY, expected=f"1 to {MAX_CLIENTS} clients")
    for name in names:
        await clients.get(call, name)
    unit, start, end = hours(call.now)
    found = {name: documents.ClientHours(client_id=name, issued=[0] * 24, refused=[0] * 24) for name in names}

    def add(count: Count) -> None:
        of = found[count.client_id]
        series = of.issued if count.kind == ISSUED else of.refused
        series[(count.at - start) // SECONDS[unit]] += count.count

    selection = Selection(unit, start, end, names, (ISSUED, REFUSED))
    await call.context.reads.each(partial(call.context.store.counts.list, selection), add)
    return list(found.values())


@COUNTS("GET /counts/active", Role.VIEWER, Reach.TEAMS, answers=documents.Active, is_long=True)
async def count_active(call: Call) -> Any:
    """Count the clients that got a token in this hour or the last one, up to 10,000."""
    span = hours(call.now, 2)
    found = await call.context.store.counts.clients(Selection(*span, kinds=(ISSUED,)))
    return documents.Active(since=span[1], clients=min(found, MAX_ACTIVE))


def _span(call: Call, unit: str, since: int | None, until: int | None) -> tuple[int, int]:
    """Return the first instant and the one after the last, in whole units before and one second after."""
    end = until if until is not None else call.now + 1
    start = begin(unit, since if since is not None else end - SECONDS[unit] * _USUAL_POINTS[unit])
    if not 0 < end - start <= MAX_POINTS * SECONDS[unit]:
        raise Rejected(Reason.ADMIN_QUERY, expected=f"since before until, and at most {MAX_POINTS:,} {unit}s before it")
    return max(start, 0), end
