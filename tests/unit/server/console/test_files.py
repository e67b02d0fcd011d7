"""The files of the console: one address each, which a browser asks for again when it has changed."""

import re
from urllib.parse import urljoin

import httpx2
from tests.browser.screens import SCREENS
from tests.unit.server.console.visits import BASE, Visit, visit

from affiant.storage.memory import MemoryStore

_SCRIPT = re.compile(r'<script type="module" src="([^"]+)">')
_IMPORT = re.compile(r'^import .* from "([^"]+)";', re.MULTILINE)


async def _file(ann: Visit, url: str, **headers: str) -> httpx2.Response:
    found = await ann.http.get(url, headers=headers)
    assert found.status_code < 400, url
    return found


async def test_a_module_has_one_address() -> None:
    """By two addresses a browser would run it twice, with its listeners."""
    ann = visit(MemoryStore())
    paths = [screen.path for screen in SCREENS if "{" not in screen.path]
    pages = [await ann.get(path) for path in paths]
    urls = {urljoin(f"{BASE}/", src) for page in pages for src in _SCRIPT.findall(page.text)}
    assert f"{BASE}/static/console.js" in urls
    known = set[str]()
    while new := urls - known:
        known |= new
        for url in new:
            urls |= {urljoin(url, name) for name in _IMPORT.findall((await _file(ann, url)).text)}
    assert len({url.partition("?")[0] for url in urls}) == len(urls)


async def test_a_file_is_asked_for_again() -> None:
    ann = visit(MemoryStore())
    url = f"{BASE}/static/console.js"
    first = await _file(ann, url)
    assert first.headers["cache-control"] == "no-cache"
    again = await _file(ann, url, **{"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
