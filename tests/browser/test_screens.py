"""Every screen: accessible by axe-core, within the width of a phone, readable without JavaScript, in both schemes."""

from collections.abc import Callable, Iterator
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import DEFAULT_OPTIONS, Axe
from playwright.sync_api import Browser, Page, ViewportSize, expect
from tests.browser import world
from tests.browser.conftest import NARROW, WIDE, Visit, sign_in
from tests.browser.screens import SCREENS, Screen, at
from tests.process import Server

Scheme = Literal["light", "dark"]
AXE = Axe()
SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str]]]:
    """A server with a life, and the names in the paths of its screens."""
    with Server(tmp_path_factory.mktemp("lived")) as server:
        server.add_api()
        yield server, world.build(server)


def _serious(page: Page) -> list[str]:
    """Have axe-core, which the page has, judge what is seen of it."""
    found = page.evaluate("options => axe.run(options).then(results => results.violations)", DEFAULT_OPTIONS)
    return [
        f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes']]}"
        for one in found
        if one["impact"] in SERIOUS
    ]


Show = Callable[[Screen], Page]


@pytest.fixture(scope="module", params=["with scripts", "without"])
def visit(request: pytest.FixtureRequest, chromium: Browser, lived: tuple[Server, dict[str, str]]) -> Iterator[Visit]:
    """One visitor for all screens, signed in once; axe-core is a script that is no file of the console."""
    has_scripts = request.param == "with scripts"
    context = chromium.new_context(viewport=WIDE, bypass_csp=has_scripts, java_script_enabled=has_scripts)
    visit = Visit(lived[0], context)
    sign_in(visit, "ann", "owner")
    yield visit
    context.close()


@pytest.fixture(scope="module")
def tab(visit: Visit) -> Page:
    """The one page that shows all screens: to make another takes longer than to show a screen."""
    return visit.open()


@pytest.fixture
def show(visit: Visit, tab: Page, lived: tuple[Server, dict[str, str]]) -> Iterator[Show]:
    """Open a screen; at the end its page may have had no fault."""

    def show(screen: Screen) -> Page:
        tab.goto(f"{visit.base}{at(screen, lived[1])}")
        return tab

    yield show
    tab.goto("about:blank")  # what the screen still does is its own fault, not that of the next one
    faults, visit.faults = visit.faults, []
    assert faults == []


@pytest.mark.parametrize("visit", ["with scripts"], indirect=True)
@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
def test_screen(show: Show, screen: Screen) -> None:
    """In light and dark: nothing serious for axe-core. At 360 px: nothing is wider than the screen."""
    page = show(screen)
    page.evaluate(AXE.axe_script)
    views: tuple[tuple[Scheme, ViewportSize], ...] = (("light", WIDE), ("dark", NARROW))
    for scheme, size in views:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(size)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], (screen.name, size)
        assert _serious(page) == []


@pytest.mark.parametrize("visit", ["without"], indirect=True)
@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
def test_screen_without_javascript(show: Show, screen: Screen) -> None:
    page = show(screen)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert len(page.locator("main").inner_text()) > len(page.locator("h1").inner_text())
