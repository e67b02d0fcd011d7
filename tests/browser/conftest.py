"""The console in a real browser: Debian's Chromium, driven by Playwright, against `affiant serve`.

Every page is watched: an error in its console, a request to another host, or markup that ran fails the test.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, ViewportSize, sync_playwright
from tests.process import Server

WIDE, NARROW = ViewportSize(width=1280, height=900), ViewportSize(width=360, height=740)


def chromium_path() -> str | None:
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


# Not for the session: while Playwright runs, its event loop runs in this thread, and no other test can have one.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Chromium, or a skipped test where it is missing."""
    path = chromium_path()
    if path is None:
        pytest.skip("the console's tests need Chromium: apt-get install chromium (or CHROMIUM=/path/to/it)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Visit:
    """One visitor of a console: his browser context, and what went wrong on its pages."""

    server: Server
    context: BrowserContext
    faults: list[str] = field(default_factory=list)

    @property
    def base(self) -> str:
        return f"http://localhost:{self.server.port}/console"

    def open(self) -> Page:
        page = self.context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        page.on("request", self._see)
        return page

    def go(self, path: str = "/") -> Page:
        """Open a page of the console, by its path below it."""
        page = self.open()
        page.goto(f"{self.base}{path}")
        return page

    def expect(self, fault: str) -> None:
        """Forget a fault that the test provokes; fail if it did not happen."""
        found = [one for one in self.faults if fault in one]
        assert found, f"no fault has {fault!r}: {self.faults}"
        self.faults = [one for one in self.faults if one not in found]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text}")

    def _see(self, request: Request) -> None:
        if not request.url.startswith((f"http://localhost:{self.server.port}/", "data:", "blob:")):
            self.faults.append(f"request: {request.url}")


Enter = Callable[..., Visit]


@pytest.fixture
def enter(chromium: Browser, console: Server) -> Iterator[Enter]:
    """Sign in at the console; options are those of a browser context. At the end no page may have had a fault."""
    visits: list[Visit] = []

    def enter(user: str = "ann", *, role: str = "owner", server: Server = console, **options: Any) -> Visit:
        visit = Visit(server, chromium.new_context(**({"viewport": WIDE} | options)))
        visits.append(visit)
        sign_in(visit, user, role)
        return visit

    yield enter
    for visit in visits:
        visit.context.close()
    assert [fault for visit in visits for fault in visit.faults] == []


def sign_in(visit: Visit, user: str, role: str) -> None:
    """Open a link for this user, fill the form as without JavaScript, and send it."""
    made = visit.server.affiant("console", "link", user, "--role", role)
    page = visit.context.new_page()
    url, _, token = made["url"].partition("#")
    page.goto(url)
    page.get_by_label("The part of the link").fill(token)
    page.get_by_role("button", name="Sign in with the link").click()
    page.wait_for_url(lambda url: "sign-in" not in url)
    page.close()


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one API; every test registers clients of its own."""
    with Server(tmp_path_factory.mktemp("console")) as server:
        server.add_api()
        yield server


@pytest.fixture
def page(enter: Enter) -> Page:
    """The first page of an owner."""
    return enter().go()
