"""Lists: a page with a cursor for the next one, or all of it as JSON Lines while it is read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Query
from starlette.responses import Response, StreamingResponse

from affiant.server.admin import cursors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from pydantic import BaseModel
    from starlette.requests import Request

    from affiant.server.admin.calls import Call

    # The next items from this place on ("": the beginning), at most so many, and the place after them (None: the end).
    Fetch = Callable[[str, int], Awaitable[tuple[Sequence[BaseModel], str | None]]]

LINES = "application/jsonl"
MAX_LIMIT, DEFAULT_LIMIT = 1000, 100
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="how many at most")]
CursorText = Annotated[
    str | None,
    Query(max_length=cursors.MAX_CHARACTERS, description="`next` of the page before; only with the same filters"),
]


async def answer(request: Request, call: Call, limit: int, cursor: str | None, fetch: Fetch) -> Response:
    """The page, or every item from the cursor on, one a line, where the caller accepts application/jsonl.

    Raises:
        Rejected: ADMIN_CURSOR.
    """
    over = _name(request)
    place = call.desk.cursors.open(cursor, over=over) if cursor is not None else ""
    if LINES in request.headers.get("accept", ""):
        return StreamingResponse(_lines(place, fetch), media_type=LINES)
    items, following = await fetch(place, limit)
    sealed = call.desk.cursors.seal(following, over=over) if following is not None else None
    return _json({"items": [item.model_dump(mode="json") for item in items], "next": sealed})


async def _lines(place: str | None, fetch: Fetch) -> AsyncIterator[bytes]:
    while place is not None:
        items, place = await fetch(place, MAX_LIMIT)
        for item in items:
            yield item.model_dump_json().encode() + b"\n"


def _name(request: Request) -> str:
    """The list: a cursor for one, or for one choice of its items, is none for another."""
    filters = {name: value for name, value in request.query_params.items() if name not in ("cursor", "limit")}
    return json.dumps([request.url.path, filters], sort_keys=True)


def _json(members: dict[str, Any]) -> Response:
    return Response(json.dumps(members), media_type="application/json")
