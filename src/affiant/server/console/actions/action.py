"""An action: a form that becomes one request to the admin API, or several in their order.

First the visitor sees what it breaks, and the command and call that do the same; then it runs, and the page that he
came from says what was done, from the audit record.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

from affiant.errors import ConfigError
from affiant.server.console.api import Api, Ask, Refusal
from affiant.server.console.show import commands
from affiant.server.console.view import Form, View, below
from affiant.server.request.http import Answer

Build = Callable[[Api, Form], Awaitable[Ask | list[Ask]]]
Breaks = Callable[[Api, Form], Awaitable[list[str]]]
Again = Callable[[View, Refusal], Awaitable[Answer]]
# Fields of the form that are no part of the request.
CSRF, THEN, CONFIRMED, COMMAND, IF_MATCH = "csrf", "then", "confirmed", "as_command", "if_match"
_OWN = {CSRF, CONFIRMED, COMMAND}
ACTIONS: dict[str, Action] = {}


@dataclass
class Action:
    """An action by its name.

    `breaks` says what stops working, each as a sentence with figures; an action that has it asks before it runs.
    `reveals` is the template for an answer with something that is shown once, such as a new secret. `again` shows the
    page of a large form with a refusal, and what was typed; without it a page with the refusal alone is shown. The
    requests of an action that `is_each` do not need each other, and the page says what became of each.
    """

    name: str
    title: str
    build: Build
    reveals: str | None = None
    is_each: bool = False
    breaks: Breaks | None = field(default=None)
    again: Again | None = field(default=None)

    def tells_what_breaks(self, tell: Breaks) -> Breaks:
        """Declare the decorated function as `breaks`."""
        self.breaks = tell
        return tell

    def shows_again(self, show: Again) -> Again:
        """Declare the decorated function as `again`."""
        self.again = show
        return show


def action(name: str, title: str, *, reveals: str | None = None, is_each: bool = False) -> Callable[[Build], Action]:
    """Declare the decorated function, which makes the request of a form; it may raise ConfigError.

    Of several requests the last one is what was done. They are no transaction: a dry run comes first.
    """

    def declare(build: Build) -> Action:
        return ACTIONS.setdefault(name, Action(name, title, build, reveals, is_each))

    return declare


async def run(view: View, name: str) -> Answer | None:
    """Run the action of this name, or ask first; None if there is none."""
    wanted, form = ACTIONS.get(name), view.form
    if wanted is None:
        return None
    try:
        built = await wanted.build(view.api, form)
        asks = built if isinstance(built, list) else [built]
        if form.has(COMMAND) or (wanted.breaks is not None and not form.flag(CONFIRMED)):
            return await _confirm(view, wanted, form, asks)
        if wanted.is_each:
            results = await _send_each(view, asks)
            return view.show("results.html", action=wanted, then=then(view, form), results=results)
        answer = [await view.api.send(ask) for ask in asks][-1]
    except ConfigError as error:
        refusal = Refusal({"status": 422, "title": "this cannot be done", "detail": str(error)})
        return await _refused(view, wanted, form, refusal)
    except Refusal as refusal:
        return await _refused(view, wanted, form, refusal)
    if wanted.reveals is not None:
        return view.show(wanted.reveals, answer=answer.document, form=form, action=wanted, then=then(view, form))
    return see_other(_done(then(view, form), answer.trace_id))


def then(view: View, form: Form) -> str:
    """Return the page to go to, which is one of the console whatever the form says."""
    return below(view.base, form.text(THEN))


async def _send_each(view: View, asks: list[Ask]) -> list[tuple[Ask, str | None, Refusal | None]]:
    """Send one request after the other, and return what became of each: its trace id, or the refusal."""
    results: list[tuple[Ask, str | None, Refusal | None]] = []
    for ask in asks:
        try:
            results.append((ask, (await view.api.send(ask)).trace_id, None))
        except Refusal as refusal:
            results.append((ask, None, refusal))
    return results


def see_other(where: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
    """Return the answer that leads to a page (RFC 9110 section 15.4.4)."""
    return Answer(303, {}, [(b"location", where.encode("ascii")), *headers], body=b"", media_type=b"text/plain")


async def _confirm(view: View, wanted: Action, form: Form, asks: list[Ask]) -> Answer:
    breaks = await wanted.breaks(view.api, form) if wanted.breaks is not None else []
    return view.show(
        "confirm.html",
        action=wanted,
        breaks=breaks,
        fields=_fields(form),
        command="\n".join(filter(None, map(commands.command, asks))) or None,
        curl="\n\n".join(commands.curl(ask, view.issuer) for ask in asks),
        then=then(view, form),
    )


async def _refused(view: View, wanted: Action, form: Form, refusal: Refusal) -> Answer:
    if wanted.again is not None:
        return await wanted.again(view, refusal)
    return view.show(
        "refused.html",
        status=refusal.status,
        action=wanted,
        refusal=refusal,
        fields=_fields(form),
        then=then(view, form),
    )


def _fields(form: Form) -> list[tuple[str, str]]:
    return [(name, value) for name, value in form.pairs() if name not in _OWN]


def _done(where: str, trace_id: str) -> str:
    parts = urlsplit(where)
    others = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "done"]
    return parts._replace(query=urlencode([*others, ("done", trace_id)])).geturl()
