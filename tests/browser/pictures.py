"""Make the pictures of the documentation: every screen, wide and narrow, light and dark.

Usage: python -m tests.browser.pictures FOLDER [SCREEN...]
"""

import asyncio
import math
import shutil
import subprocess
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

from affiant.storage.history.counts import HOUR, ISSUED, LATENCY, MINUTE, REFUSED, SECONDS, SERVER, Count
from affiant.storage.sqlite import SqliteStore

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
                    name = screen.name.replace(",", "").replace(" ", "-")
                    _take(folder / f"{name}-{width}-{scheme}.png", visit, screen, names)
            visit.context.close()


def _take(path: Path, visit: Visit, screen: Screen, names: dict[str, str]) -> None:
    page = visit.go(at(screen, names))
    page.screenshot(path=path, animations="disabled", caret="hide")
    page.close()
    if shutil.which("pngquant"):  # a third of the size
        subprocess.run(["pngquant", "--force", "--ext", ".png", "--skip-if-larger", "64", path], check=False)


async def remember(server: Server) -> None:
    """Give the server a week before this hour, as its counts would tell it: days and nights, and a bad hour."""
    now, counts = int(time.time()), list[Count]()
    for unit in (MINUTE, HOUR):
        size = SECONDS[unit]
        for ago in range(1, (24 * 60 if unit == MINUTE else 7 * 24)):
            at = (now // size - ago) * size
            wave = 1.5 + math.sin(at % 86_400 / 86_400 * 2 * math.pi - 2) + math.sin(at * 0.7) / 8
            many = int(wave * 40 * size / 60)
            counts += [Count(unit, at, SERVER, ISSUED, "", many), Count(unit, at, SERVER, LATENCY, "1", many)]
            bad = 4 if 20 <= ago * size / 60 <= 34 else 0.3
            counts.append(Count(unit, at, SERVER, REFUSED, "assertion.audience", int(bad * size / 60)))
            counts.append(Count(unit, at, SERVER, REFUSED, "assertion.expired", int(wave * size / 60)))
    store = SqliteStore(server.data / "affiant.db")
    await store.open()
    try:
        await store.counts.add(counts)
    finally:
        await store.close()


def main() -> None:
    """Build the world, and take the pictures."""
    folder, wanted = Path(sys.argv[1]), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    path = chromium_path()
    assert path is not None, "Chromium is not installed: apt-get install chromium"
    with tempfile.TemporaryDirectory() as data, Server(Path(data)) as server:
        server.add_api()
        asyncio.run(remember(server))
        names = world.build(server)
        time.sleep(COUNTED_SECONDS)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            take(folder, browser, server, names, wanted)
            browser.close()


if __name__ == "__main__":
    main()
