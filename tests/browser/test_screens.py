"""Every screen: accessible by axe-core, within the width of a phone, readable without JavaScript, in both schemes."""

from collections.abc import Iterator
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from tests.browser import world
from tests.browser.conftest import NARROW, WIDE, Enter
from tests.browser.screens import SCREENS, Screen, at
from tests.process import Server

Scheme = Literal["light", "dark"]
SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str]]]:
    """A server with a life, and the names in the paths of its screens."""
    with Server(tmp_path_factory.mktemp("lived")) as server:
        server.add_api()
        yield server, world.build(server)


def _serious(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes']]}"
        for one in found
        if one["impact"] in SERIOUS
    ]


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
def test_screen(enter: Enter, lived: tuple[Server, dict[str, str]], screen: Screen) -> None:
    """In light and dark: nothing serious for axe-core. At 360 px: nothing is wider than the screen."""
    server, names = lived
    visit = enter(server=server, bypass_csp=True)  # axe-core is a script that is no file of the console
    page = visit.go(at(screen, names))
    schemes: tuple[Scheme, ...] = ("light", "dark")
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        for size in (WIDE, NARROW):
            page.set_viewport_size({"width": size["width"], "height": size["height"]})
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], (screen.name, size)
            assert _serious(page) == []


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
def test_screen_without_javascript(enter: Enter, lived: tuple[Server, dict[str, str]], screen: Screen) -> None:
    server, names = lived
    page = enter(server=server, java_script_enabled=False).go(at(screen, names))
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert len(page.locator("main").inner_text()) > len(page.locator("h1").inner_text())
