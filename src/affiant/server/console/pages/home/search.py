"""The search box: a whole name or id leads straight to its page."""

from __future__ import annotations

import re
from typing import Any

from affiant.server.console.actions.action import see_other
from affiant.server.console.pages.page import page
from affiant.server.console.rendering import build_link
from affiant.server.console.view import View
from affiant.server.request.http import Answer

# Attack: whoever reads a URL over a shoulder, or in the log of a proxy, gets what was searched. A token or an assertion
# is not shown again, and the page's script does not even send it here.
_CREDENTIAL = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.|BEGIN [A-Z ]*PRIVATE KEY|client_secret=|\"d\"\s*:")
_LONGEST = 512
_PLACES = {"client": "clients", "api": "apis", "trust": "trusts", "rule": "rules", "event": "events"}


@page("/search")
async def show_search(view: View) -> Answer:
    wanted = view.query.text("q")
    if _CREDENTIAL.search(wanted):
        return view.show("home/search.html", wanted="", hits=[], is_complete=True, has_credential=True)
    found: dict[str, Any] = {"hits": [], "is_complete": True}
    if wanted:
        found = await view.api.get("/search", q=wanted[:_LONGEST])
    hits = [(hit, _where(view.base, hit)) for hit in found["hits"]]
    exact = [where for hit, where in hits if hit["is_exact"]]
    if len(exact) == 1:
        return see_other(exact[0])
    return view.show(
        "home/search.html", wanted=wanted, hits=hits, is_complete=found["is_complete"], has_credential=False
    )


def _where(base: str, hit: dict[str, Any]) -> str:
    """Return the page of a find."""
    link = build_link(base)
    kind, name = hit["kind"], hit["name"]
    if kind == "key":
        return link("clients", hit["client_id"], tab="credentials")
    if kind == "signing key":
        return link("keys")
    if kind == "token":
        return link("tokens", jti=name)
    return link(_PLACES[kind], name)
