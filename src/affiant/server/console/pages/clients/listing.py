"""The list of clients: searched page by page, changed together, exported as it is filtered."""

from __future__ import annotations

import time
from typing import Any

from affiant.server.console.api import Api
from affiant.server.console.pages.clients import search
from affiant.server.console.pages.clients.search import Search
from affiant.server.console.pages.page import page
from affiant.server.console.show import plots
from affiant.server.console.show.records import exports
from affiant.server.console.view import View
from affiant.server.request.http import Answer

_SHOWN = 50  # clients of a page; a search shows whole pages of the admin API, so a few more
_PIECE = 100  # clients that a search reads at once
# A page of 100,000 clients is searched in pieces: after this long it shows what it has, and a link to go on.
_BUDGET_SECONDS = 0.15


@page("/clients")
async def show_clients(view: View) -> Answer:
    wanted = search.parse(view.query.text("q"), now=view.now)
    if exports.is_wanted(view):
        return await exports.stream(view, "/clients", "clients", keep=wanted.fits)
    found, following, searched = await _find(view.api, wanted, view.query.maybe("cursor"))
    hours = await _hours(view.api, [client["client_id"] for client in found])
    return view.show(
        "clients/list.html",
        clients=found,
        hours=hours,
        sparkline=plots.sparkline,
        following=following,
        searched=searched,
        search=wanted,
        examples=search.EXAMPLES,
        keys_in_use=search.keys_in_use,
        is_first=not view.query.has("cursor"),
    )


async def _find(api: Api, wanted: Search, cursor: str | None) -> tuple[list[Any], str | None, int]:
    """Return the clients of one page, the cursor of the next one, and how many were read for it."""
    found, read = list[Any](), 0
    began = time.perf_counter()
    while True:
        piece = await api.get("/clients", limit=_SHOWN if wanted.is_empty else _PIECE, cursor=cursor)
        found += [client for client in piece["items"] if wanted.fits(client)]
        cursor, read = piece["next"], read + len(piece["items"])
        if cursor is None or len(found) >= _SHOWN or time.perf_counter() - began > _BUDGET_SECONDS:
            return found, cursor, read


async def _hours(api: Api, names: list[str]) -> dict[str, list[int]]:
    """Return the tokens of each client in each of the last 24 hours."""
    if not names:
        return {}
    counted = await api.get("/counts/clients", named=" ".join(names))
    return {one["client_id"]: one["issued"] for one in counted}
