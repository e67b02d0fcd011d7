"""The console of one node as an ASGI application, without a network; who visits it is given."""

import re
from dataclasses import dataclass
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import httpx2
from tests.admin import ISSUER, NOW, make_context

from affiant.server.admin.roles import Role
from affiant.server.console import app
from affiant.server.console.signin import Visitor
from affiant.storage.ports import Store

CSRF = "csrf-of-the-session"
BASE = f"{ISSUER}/console"


class _Given:
    """Finds the same visitor for every request."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor

    async def find(self, *_: object, **__: object) -> Visitor:
        return self._visitor


@dataclass
class Visit:
    """One visitor of the console."""

    http: httpx2.AsyncClient
    console: app.Console

    async def get(self, path: str) -> httpx2.Response:
        """Open a page, by its path below the console."""
        return await self.http.get(f"{BASE}{path}")

    async def act(self, action: str, /, **form: str) -> httpx2.Response:
        """Press the button of an action and confirm it."""
        return await self.post(f"/actions/{action}", **{"confirmed": "yes", **form})

    async def ask(self, action: str, /, **form: str) -> httpx2.Response:
        """Press the button of an action, up to the page that says what it breaks."""
        return await self.post(f"/actions/{action}", **form)

    async def post(self, path: str, /, **form: str) -> httpx2.Response:
        return await self.http.post(f"{BASE}{path}", data={"csrf": CSRF, **form}, headers={"origin": ISSUER})


def visit(
    store: Store, role: Role = Role.OWNER, name: str = "ann", *, teams: frozenset[str] | None = None, **more: Any
) -> Visit:
    """Visit the console of this store; `more` are members of the admin API's context."""
    console = app.build(make_context(store, **more), clock=lambda: float(NOW))
    console._sessions = _Given(Visitor(name, role, teams, "session", CSRF))  # type: ignore[assignment]
    return Visit(httpx2.AsyncClient(transport=httpx2.ASGITransport(app=console), base_url=ISSUER), console)


def text(page: httpx2.Response) -> str:
    """The text of a page, as a reader sees it."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.text)).split())


def done(answer: httpx2.Response) -> str:
    """The page, below the console, to which an action has led."""
    assert answer.status_code == 303, text(answer)
    parts = urlsplit(answer.headers["location"])
    return f"{parts.path.removeprefix('/console')}?{parts.query}"
