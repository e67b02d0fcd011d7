"""The newest audit records of a server, and those that come after them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from affiant.cli.connection.place import Admin
from affiant.cli.operations.selection import Selection

LOOK_SECONDS = 1.0
MARGIN = 60  # seconds that records may be out of order: clocks of several nodes differ
_PAGE = 1000


async def newest(api: Admin, wanted: Selection, count: int) -> list[Any]:
    """Return at most so many records, the newest first."""
    found: list[Any] = []
    cursor: str | None = None
    while len(found) < count:
        page = await api.get("/audit", limit=min(count - len(found), _PAGE), cursor=cursor, **wanted.query)
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    return found


async def follow(api: Admin, wanted: Selection, count: int, take: Callable[[Any], None]) -> None:
    """Take the newest records, and then each new one, in their order; it never returns."""
    last = await _last(api)
    rows = await newest(api, wanted, count)
    while True:
        for row in reversed(rows):
            take(row)
        seen = max([last, *rows], key=_number)
        await asyncio.sleep(LOOK_SECONDS)
        last = await _last(api)
        rows = await _after(api, wanted, seen) if _number(last) > _number(seen) else []


async def _last(api: Admin) -> dict[str, Any]:
    items = (await api.get("/audit", limit=1))["items"]
    return items[0] if items else {}


async def _after(api: Admin, wanted: Selection, seen: dict[str, Any]) -> list[Any]:
    """The records that fit and have a higher number, the newest first; with a rare choice, too, it reads no others."""
    at = seen.get("record", {}).get("at")
    query = dict(wanted.query)
    if isinstance(at, int | float):
        query["since"] = max(query.get("since", 0.0), at - MARGIN, 0.0)
    found: list[Any] = []
    cursor: str | None = None
    while True:
        page = await api.get("/audit", limit=_PAGE, cursor=cursor, **query)
        new = [row for row in page["items"] if _number(row) > _number(seen)]
        found += new
        cursor = page["next"]
        if cursor is None or len(new) < len(page["items"]):
            return found


def _number(row: dict[str, Any]) -> int:
    return int(row.get("number", 0))
