"""Lists: a page with a cursor for the next one, or all of it as JSON Lines while it is read.

A cursor is the place at which a list continues, under a MAC, because a caller must not make one (CVE-2026-33504).
"""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, Field

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import base64url
from affiant.server.admin.calls import Call
from affiant.server.admin.reads import Reads
from affiant.server.keys.master_key import MasterKey
from affiant.server.request.http import Answer

_Shown = tuple[str, list[bytes]]  # the place after a row, and its items
Row = TypeVar("Row")
_MAC_BYTES = 32
LINES = "application/jsonl"
MAX_LIMIT, DEFAULT_LIMIT = 1000, 100
MAX_CURSOR = 1024  # characters
PAGE = 250  # rows that are read at once: PostgreSQL's are decoded in one piece
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT, description="how many at most")]
CursorText = Annotated[
    str | None,
    Field(max_length=MAX_CURSOR, description="`next` of the page before; only with the same filters"),
]


class Piece(NamedTuple, Generic[Row]):
    """Rows that were read at once, the place after them (None: the end of the list), and how many were looked at."""

    rows: Sequence[Row]
    following: str | None
    looked: int


@dataclass(frozen=True, slots=True)
class Source(Generic[Row]):
    """The rows of a list, and how to show them."""

    # Returns the rows after a place ("": the beginning); looks at no more than so many, and returns PAGE at most.
    read: Callable[[str, int], Awaitable[Piece[Row]]]
    place: Callable[[Row], str]  # returns the place of a row
    show: Callable[[Row], Iterable[BaseModel]]  # returns the items of a row
    scan: int = 0  # how many rows to read for one page, if few rows have items; 0 if the limit counts rows

    @classmethod
    def paged(
        cls,
        fetch: Callable[[str, int], Awaitable[Sequence[Any]]],
        place: Callable[[Any], str],
        show: Callable[[Any], Iterable[BaseModel]],
        *,
        scan: int = 0,
    ) -> Source[Any]:
        """Return the source of rows that are all looked at: `fetch` returns fewer than so many only at the end."""

        async def read(after: str, most: int) -> Piece[Any]:
            size = min(most, PAGE)
            rows = await fetch(after, size)
            return Piece(rows, place(rows[-1]) if len(rows) == size else None, len(rows))

        return Source(read, place, show, scan)

    @classmethod
    def of(cls, rows: Sequence[Any], show: Callable[[Any], BaseModel]) -> Source[Any]:
        """Return the source of rows that the store returns all at once, each with one item."""

        async def fetch(place: str, limit: int) -> list[tuple[int, Any]]:
            start = int(place or 0)
            return list(enumerate(rows[start : start + limit], start + 1))

        return cls.paged(fetch, lambda row: str(row[0]), lambda row: [show(row[1])])


async def answer(call: Call, limit: int, cursor: str | None, source: Source[Any]) -> Answer:
    """Return the page, or every item from the cursor on, one a line, if the caller accepts application/jsonl."""
    over = _name(call)
    cursors = Cursors(call.context.master_key)
    place = cursors.open(cursor, over=over) if cursor is not None else ""
    reading = _Reading(call.context.reads, source)
    if LINES in (call.header("accept") or ""):
        return stream(reading.lines(place))
    items, following = await reading.page(place, limit)
    sealed = cursors.seal(following, over=over) if following is not None else None
    body = b'{"items":[%b],"next":%b}' % (b",".join(items), json.dumps(sealed).encode())
    return Answer(200, {}, body=body)


def stream(lines: AsyncGenerator[bytes, None]) -> Answer:
    """Return an answer of JSON Lines, sent as they are made."""
    return Answer(200, {}, media_type=LINES.encode(), stream=lines)


class _Reading(Generic[Row]):
    """One source, read in slices."""

    def __init__(self, reads: Reads, source: Source[Row]) -> None:
        self._reads = reads
        self._source = source

    async def page(self, place: str | None, limit: int) -> tuple[list[bytes], str | None]:
        """Return the items of one page, and the place after it; None at the end of the list."""
        items: list[bytes] = []
        left = self._source.scan or limit
        while place is not None and left:
            rows, following, looked = await self._rows(place, left)
            left = max(left - looked, 0)
            for place_of_row, shown in rows:
                items += shown
                if self._source.scan and len(items) >= limit:
                    return items, place_of_row
            place = following
        return items, place

    async def lines(self, place: str | None) -> AsyncGenerator[bytes, None]:
        """Yield all items, some lines at once."""
        while place is not None:
            rows, place, _ = await self._rows(place, self._source.scan or PAGE)
            if lines := b"".join(item + b"\n" for _, items in rows for item in items):
                yield lines

    async def _rows(self, place: str, most: int) -> Piece[_Shown]:
        following, looked = None, 0

        async def fetch() -> Sequence[Row]:
            nonlocal following, looked
            rows, following, looked = await self._source.read(place, most)
            return rows

        return Piece(await self._reads.each(fetch, self._shown), following, looked)

    def _shown(self, row: Row) -> _Shown:
        return self._source.place(row), [item.model_dump_json().encode() for item in self._source.show(row)]


class Cursors:
    """Makes and reads cursors; all workers and nodes of a server accept each other's."""

    def __init__(self, master_key: MasterKey) -> None:
        self._key = master_key.digest("admin cursors")

    def seal(self, place: str, *, over: str) -> str:
        """Return a cursor for this place in a list; `over` names the list, by its route and filters."""
        data = place.encode()
        return base64url.encode(self._mac(data, over) + data)

    def open(self, cursor: str, *, over: str) -> str:
        """Return the place; raise ADMIN_CURSOR for a cursor of another list, or of another maker."""
        try:
            data = base64url.decode(cursor)
        except ValueError:
            raise Rejected(Reason.ADMIN_CURSOR) from None
        mac, place = data[:_MAC_BYTES], data[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(place, over)):
            raise Rejected(Reason.ADMIN_CURSOR)
        return place.decode()

    def _mac(self, place: bytes, over: str) -> bytes:
        # The length separates the two: no list and place has the bytes of another list and place.
        name = over.encode()
        return hmac.digest(self._key, b"%d " % len(name) + name + place, sha256)


def _name(call: Call) -> str:
    """Return the name of the list with its filters: a cursor is valid for one such name only."""
    filters = {name: value for name, value in call.query.items() if name not in ("cursor", "limit")}
    return json.dumps([call.path, filters], sort_keys=True)
