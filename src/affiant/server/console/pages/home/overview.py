"""The overview: what the server does now, and what needs attention."""

from __future__ import annotations

from affiant.server.admin.roles import Role
from affiant.server.console.actions.action import see_other
from affiant.server.console.api import Api, at
from affiant.server.console.origins import Origins
from affiant.server.console.pages.home import chart, figures, first
from affiant.server.console.pages.page import page
from affiant.server.console.rendering import build_link
from affiant.server.console.show import history, plots
from affiant.server.console.show.history import SPANS, Counts, Span, Window
from affiant.server.console.view import View
from affiant.server.request.http import Answer

_HOUR = SPANS["1h"]


@page("/")
async def show_overview(view: View) -> Answer:
    recent = await _counts(view.api, _HOUR, view.now)
    begun = None
    if not recent:
        begun = await first.find(view.api, view.issuer)
        if view.visitor.role is Role.OWNER and not begun.is_set_up:
            return see_other(f"{view.base}/setup")
    name = view.query.text("span") if view.query.text("span") in SPANS else "1h"
    span = SPANS[name]
    counts = recent if span is _HOUR else await _counts(view.api, span, view.now)
    drawn = chart.build(counts, Window.ending(view.now, span), span.title, build_link(view.base))
    # A part that refreshes itself names the parts: the list of troubles is read less often.
    parts = view.query.words("parts")
    attention = await view.api.get("/attention") if not parts or "attention" in parts else None
    active = (await view.api.get("/counts/active"))["clients"]
    return view.show(
        "home/overview.html",
        begun=begun,
        figures=figures.build(recent, Window.ending(view.now, _HOUR), active),
        any=bool(history.total(counts)),
        plot=plots.stacked_bars(drawn),
        legend=plots.legend(drawn),
        chosen=name,
        spans=SPANS,
        attention=attention,
        wants_passkey=not parts and await _wants_passkey(view),
    )


async def _wants_passkey(view: View) -> bool:
    """Whether a visitor with a link could make his first passkey here."""
    if not view.visitor.by_link or Origins(view.issuer).obstacle(view.scope):
        return False
    return not await view.api.get(at("/users/{}/passkeys", view.visitor.name))


async def _counts(api: Api, span: Span, now: float) -> Counts:
    window = Window.ending(now, span)
    return history.read(await api.get("/counts", unit=span.unit, since=window.since, until=window.until))
