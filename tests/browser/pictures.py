"""Make the pictures of the documentation: every screen, wide and narrow, light and dark.

Usage: python -m tests.browser.pictures FOLDER [SCREEN...]
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, sync_playwright
from tests.browser import world
from tests.browser.conftest import NARROW, WIDE, Visit, chromium_path, sign_in
from tests.browser.screens import SCREENS, Screen, at
from tests.process import Server

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
SIZES = {"wide": WIDE, "narrow": NARROW}
COUNTED_SECONDS = 3  # until the counts of the last requests are in the store


def take(folder: Path, browser: Browser, server: Server, names: dict[str, str], wanted: list[str]) -> None:
    for scheme in SCHEMES:
        for width, size in SIZES.items():
            visit = Visit(server, browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce"))
            sign_in(visit, "ann", "owner")
            for screen in SCREENS:
                if not wanted or screen.name in wanted:
                    _take(folder / f"{screen.name}-{width}-{scheme}.png", visit, screen, names)
            visit.context.close()


def _take(path: Path, visit: Visit, screen: Screen, names: dict[str, str]) -> None:
    page = visit.go(at(screen, names))
    page.screenshot(path=path, animations="disabled", caret="hide")
    page.close()


def main() -> None:
    """Build the world, and take the pictures."""
    folder, wanted = Path(sys.argv[1]), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    path = chromium_path()
    assert path is not None, "Chromium is not installed: apt-get install chromium"
    with tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        with Server(Path(data)) as server:
            server.add_api()
            names = world.build(server)
            time.sleep(COUNTED_SECONDS)
            take(folder, browser, server, names, wanted)
        browser.close()


if __name__ == "__main__":
    main()
