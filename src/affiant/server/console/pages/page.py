"""Declare pages: a path below the console, and the function that shows it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote

from affiant.server.admin.routes.operation import compile_path
from affiant.server.console.view import View
from affiant.server.request.http import Answer

Show = TypeVar("Show", bound=Callable[..., Awaitable[Answer]])


class Page(NamedTuple):
    """A page; `show` gets the view, and the names in the path."""

    method: str
    pattern: re.Pattern[str]
    show: Callable[..., Awaitable[Answer]]


PAGES: list[Page] = []


def page(path: str, *, method: str = "GET") -> Callable[[Show], Show]:
    """Declare the decorated function as the page at this path, such as ``/clients/{client_id}``.

    The roles are those of the calls that it makes to the admin API. A page by POST shows what a form asked that may not
    be in a URL, such as a pasted assertion; what changes something is an action.
    """

    def declare(show: Show) -> Show:
        PAGES.append(Page(method, compile_path(path), show))
        return show

    return declare


async def show(view: View, path: str) -> Answer | None:
    """Return the page at this path, as it was sent; None if there is none."""
    for one in PAGES:
        found = one.pattern.fullmatch(path) if one.method == view.method else None
        if found is not None:
            names: dict[str, Any] = {name: unquote(text, errors="replace") for name, text in found.groupdict().items()}
            return await one.show(view, **names)
    return None
