"""The newest decisions, live, and the same as a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from affiant.server.console.pages.events.filters import Filters
from affiant.server.console.pages.events.live import SHOWN, Full, Tab
from affiant.server.console.pages.events.rows import Row, plot
from affiant.server.console.pages.page import page
from affiant.server.console.show import times
from affiant.server.console.show.records import exports
from affiant.server.console.view import View
from affiant.server.request import http
from affiant.server.request.http import Answer

HEARTBEAT_SECONDS = 10.0  # between two signs of life, and two looks at the session
SPANS = {"5 minutes": 300, "1 hour": 3600, "24 hours": 86_400, "7 days": 604_800}


@page("/activity")
async def show_activity(view: View) -> Answer:
    filters, cursor = Filters(view.query), view.query.maybe("cursor")
    found = await view.api.get("/audit", limit=SHOWN, cursor=cursor, **filters.chosen)
    rows = [Row.of(item) for item in found["items"]]
    return view.show(
        "events/activity.html",
        rows=rows,
        plot=plot(rows),
        is_new=False,
        filters=filters,
        following=found["next"],
        newest=rows[0].number if rows else 0,  # the stream begins there, so that none is lost between page and stream
        is_live=filters.is_open and cursor is None,
        spans={name: int(view.now) - seconds for name, seconds in SPANS.items()},
    )


@page("/activity/stream")
async def stream_activity(view: View) -> Answer:
    if view.scope["method"] != "GET":
        return Answer(200, {}, body=b"", media_type=b"text/event-stream")
    return Answer(200, {}, media_type=b"text/event-stream", stream=_events(view))


@page("/activity/export")
async def export_activity(view: View) -> Answer:
    name = f"activity-{times.machine(view.now).replace(':', '')}"
    return await exports.stream(view, "/audit", name, Filters(view.query).chosen)


async def _events(view: View) -> AsyncGenerator[bytes, None]:
    """Yield server-sent events while the visitor is signed in (HTML Living Standard section 9.2)."""
    yield b"retry: 3000\n\n"
    try:
        with view.live.open(view.visitor, Filters(view.query).pairs, _after(view)) as tab:
            while await _is_signed_in(view):
                yield b": alive\n\n"
                async for piece in _news(tab):
                    yield piece
            yield _event("over", "Your session has ended, or your role was changed. Load the page again.")
    except Full:
        yield _event("over", "As many live pages are open as this server allows. Close one, and load this page again.")


async def _is_signed_in(view: View) -> bool:
    """Whether the session that opened the stream goes on, and may see the same."""
    found, opened = await view.look_again(), view.visitor
    return found is not None and (found.session, found.principal) == (opened.session, opened.principal)


async def _news(tab: Tab) -> AsyncGenerator[bytes, None]:
    """Yield the news of a tab until it is time for a sign of life."""
    loop = asyncio.get_running_loop()
    end = loop.time() + HEARTBEAT_SECONDS
    while (left := end - loop.time()) > 0:
        try:
            news = await asyncio.wait_for(tab.news.get(), left)
        except TimeoutError:
            return
        is_cut, tab.has_missed = news.is_cut or tab.has_missed, False
        yield _event("rows", {"rows": news.rows, "plot": news.plot, "cut": is_cut}, news.number)


def _event(name: str, data: Any, number: int | None = None) -> bytes:
    at = f"id: {number}\n" if number is not None else ""
    return f"{at}event: {name}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"


def _after(view: View) -> int:
    """Return the number of the last record that the page has: a browser that comes back says it in a header."""
    sent = http.header(view.scope, b"last-event-id")
    last = sent[0].decode("latin-1") if sent else view.query.text("after")
    return int(last) if last.isascii() and last.isdecimal() and len(last) < 16 else 0  # noqa: PLR2004
