"""Lists: a page with a cursor for the next one, or all of it as JSON Lines while it is read."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, Field

from affiant.server.admin.calls import Call
from affiant.server.admin.reads import cursors
from affiant.server.admin.reads.slices import Slices
from affiant.server.request.http import Answer

_Shown = tuple[str, list[bytes]]  # the place after a row, and its items

Row = TypeVar("Row")
LINES = "application/jsonl"
MAX_LIMIT, DEFAULT_LIMIT = 1000, 100
PAGE = 250  # rows that are read at once: PostgreSQL's are decoded in one piece
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT, description="how many at most")]
CursorText = Annotated[
    str | None,
    Field(max_length=cursors.MAX_CHARACTERS, description="`next` of the page before; only with the same filters"),
]


@dataclass(frozen=True, slots=True)
class Source(Generic[Row]):
    """The rows of a list, and how to show them."""

    # Returns the rows after a place ("": the beginning), at most so many; fewer only at the end.
    fetch: Callable[[str, int], Awaitable[Sequence[Row]]]
    place: Callable[[Row], str]  # returns the place of a row
    show: Callable[[Row], Iterable[BaseModel]]  # returns the items of a row
    scan: int = 0  # how many rows to read for one page, if few rows have items; 0 if the limit counts rows


async def answer(call: Call, limit: int, cursor: str | None, source: Source[Any]) -> Answer:
    """Return the page, or every item from the cursor on, one a line, if the caller accepts application/jsonl."""
    over = _name(call)
    place = call.desk.cursors.open(cursor, over=over) if cursor is not None else ""
    reading = _Reading(call.desk.reads, source)
    if LINES in (call.header("accept") or ""):
        return stream(reading.lines(place))
    items, following = await reading.page(place, limit)
    sealed = call.desk.cursors.seal(following, over=over) if following is not None else None
    body = b'{"items":[%b],"next":%b}' % (b",".join(items), json.dumps(sealed).encode())
    return Answer(200, {}, body=body)


def stream(lines: AsyncGenerator[bytes, None]) -> Answer:
    """Return an answer of JSON Lines, sent as they are made."""
    return Answer(200, {}, media_type=LINES.encode(), stream=lines)


class _Reading(Generic[Row]):
    """One source, read in slices."""

    def __init__(self, slices: Slices, source: Source[Row]) -> None:
        self._slices = slices
        self._source = source

    async def page(self, place: str | None, limit: int) -> tuple[list[bytes], str | None]:
        """Return the items of one page, and the place after it; None at the end of the list."""
        items: list[bytes] = []
        left = self._source.scan or limit
        while place is not None and left:
            rows, following = await self._rows(place, min(left, PAGE))
            left -= len(rows)
            for place_of_row, shown in rows:
                items += shown
                if self._source.scan and len(items) >= limit:
                    return items, place_of_row
            place = following
        return items, place

    async def lines(self, place: str | None) -> AsyncGenerator[bytes, None]:
        """Yield all items, some lines at once."""
        while place is not None:
            rows, place = await self._rows(place, PAGE)
            if lines := b"".join(item + b"\n" for _, items in rows for item in items):
                yield lines

    async def _rows(self, place: str, size: int) -> tuple[list[_Shown], str | None]:
        rows = await self._slices.each(lambda: self._source.fetch(place, size), self._shown)
        return rows, rows[-1][0] if len(rows) == size else None

    def _shown(self, row: Row) -> _Shown:
        return self._source.place(row), [item.model_dump_json().encode() for item in self._source.show(row)]


def _name(call: Call) -> str:
    """Return the name of the list with its filters: a cursor is valid for one such name only."""
    filters = {name: value for name, value in call.query.items() if name not in ("cursor", "limit")}
    return json.dumps([call.path, filters], sort_keys=True)
