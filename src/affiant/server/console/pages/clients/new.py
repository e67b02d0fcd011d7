"""The form of a new client: a name, what it may request, and its key; the rest is folded."""

from __future__ import annotations

from affiant.server.console.actions.clients import registering
from affiant.server.console.api import Refusal
from affiant.server.console.pages.page import page
from affiant.server.console.show.records import members
from affiant.server.console.view import Form, View
from affiant.server.request.http import Answer

_MANY = 1000  # APIs


@page("/new/client")
async def show_new_client(view: View) -> Answer:
    return await _show(view, view.query, None)


@registering.register.shows_again
async def _show_refused(view: View, refusal: Refusal) -> Answer:
    return await _show(view, view.form, refusal)


async def _show(view: View, typed: Form, refusal: Refusal | None) -> Answer:
    apis = await view.api.get("/apis", limit=_MANY)
    way = typed.text("by")
    return view.show(
        "clients/new.html",
        status=refusal.status if refusal is not None else 200,
        refusal=refusal,
        typed=typed,
        way=way if way in registering.WAYS else registering.TAB,
        apis=apis["items"],
        public_key=_shown_key(typed.text("public_key")),
        methods=registering.METHODS,
        folded=members.fields(registering.FOLDED, registering.DEFAULTS, typed if refusal is not None else None),
    )


def _shown_key(text: str) -> str:
    """Return the pasted text. Attack: it was a private key, which would then be in a page that is kept."""
    return text if "PRIVATE" not in text and '"d"' not in text and '"k"' not in text else ""
