"""One request of a visitor, as pages and actions see it."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.server.console.api import Api, Refusal, at
from affiant.server.console.show.records import undoing
from affiant.server.console.signin import Visitor
from affiant.server.request.http import Answer, Scope

if TYPE_CHECKING:  # it shows pages
    from affiant.server.console.pages.events.live import Live

HTML = b"text/html; charset=utf-8"
_MOST_FIELDS = 1000
Render = Callable[..., str]


@dataclass
class View:
    """A request, its visitor, and the admin API as he may use it."""

    issuer: str
    base: str  # the path of the console
    path: str  # below the console, as it was sent
    method: str  # GET or POST
    form: Form  # of a POST
    visitor: Visitor
    api: Api
    now: float  # seconds since the epoch
    query: Form
    scope: Scope = field(repr=False)
    live: Live  # the decisions as they come
    look_again: Callable[[], Awaitable[Visitor | None]]  # returns the visitor as he is now, or None
    _render: Render = field(repr=False)
    done: dict[str, Any] | None = None  # the audit record of the action that led here

    async def look_back(self) -> None:
        """Find the record of the action that led here, which the page then shows."""
        trace_id = self.query.text("done")
        if not trace_id:
            return
        with contextlib.suppress(Refusal):
            record = await self.api.get(at("/audit/{}", trace_id))
            is_own = record.get("by") == self.visitor.principal.name
            self.done = record | {"can_undo": is_own and undoing.is_possible(record)} if is_own else None

    def show(self, template: str, *, status: int = 200, **values: Any) -> Answer:
        """Return the page of this template."""
        shown = self._render(template, view=self, **values)
        return Answer(status, {}, body=shown.encode(), media_type=HTML)


class Form:
    """The values of a form or a query, by their names."""

    def __init__(self, values: Mapping[str, list[str]]) -> None:
        self._values = values

    @classmethod
    def parse(cls, text: str) -> Form:
        """Parse an application/x-www-form-urlencoded text; raise TOO_MANY_PARAMETERS above 1,000 fields."""
        try:
            return cls(parse_qs(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
        except ValueError:
            raise Rejected(Reason.TOO_MANY_PARAMETERS, expected=f"at most {_MOST_FIELDS}") from None

    def text(self, name: str) -> str:
        """Return the value, without spaces around it; empty if it is not there."""
        return self._values.get(name, [""])[-1].strip()

    def maybe(self, name: str) -> str | None:
        """Return the value, or None if it is empty."""
        return self.text(name) or None

    def words(self, name: str) -> list[str]:
        """Return the words of all values: a box of a list, or a text with spaces and lines."""
        return [word for value in self._values.get(name, []) for word in value.split()]

    def number(self, name: str) -> int | None:
        """Return the whole number, or None if it is none."""
        text = self.text(name)
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None  # noqa: PLR2004

    def flag(self, name: str) -> bool:
        return self.text(name) in ("on", "yes", "true", "1")

    def has(self, name: str) -> bool:
        return name in self._values

    def pairs(self) -> list[tuple[str, str]]:
        """Return all names and values, in their order."""
        return [(name, value) for name, values in self._values.items() for value in values]


def below(base: str, wanted: str) -> str:
    """Return the page to go to, which is one of the console whatever a form or a query says."""
    # Attack: a link that leads elsewhere. A browser reads `\` as `/`, and skips control characters.
    if not wanted.startswith(f"{base}/") or "\\" in wanted or not (wanted.isascii() and wanted.isprintable()):
        return f"{base}/"
    parts = urlsplit(wanted)
    # And it takes a segment `..`, also an escaped one, for the way out of the console.
    leaves = any(unquote(segment) in (".", "..") for segment in parts.path.split("/"))
    return wanted if not parts.scheme and not parts.netloc and not leaves else f"{base}/"
