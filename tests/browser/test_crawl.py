"""Every link of the console leads somewhere, and no text of a stranger becomes markup, in a browser that would run it."""

from collections.abc import Iterator
from urllib.parse import urldefrag, urlsplit

import httpx2
import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page
from tests.browser import world
from tests.browser.conftest import Enter
from tests.process import Server

from affiant.jose import base64url

# Each would show itself: by a dialog, a request to another place, an element that no template has.
MARKUP = "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>{{7*7}}"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose names, labels, claims and requests are full of markup, by those who may choose them."""
    with Server(tmp_path_factory.mktemp("hostile")) as server:
        server.add_api()
        world.build(server)
        server.affiant("client", "new", "named", "--name", MARKUP, "--owner", MARKUP[:40])
        server.affiant("api", "new", MARKUP[:60], "--identifier", "https://evil.example/%3Cimg%20src=x%3E")
        _ask(server)
        yield server


def _ask(server: Server) -> None:
    headers = {"user-agent": MARKUP, "x-forwarded-for": MARKUP, "accept-language": MARKUP}
    claims = base64url.encode(b'{"iss":"<img src=x onerror=alert(3)>","sub":"<script>","aud":"<b>","jti":"<i>"}')
    header = base64url.encode(b'{"alg":"ES256","kid":"<img src=x onerror=alert(4)>","typ":"<u>"}')
    for form in (
        {"grant_type": MARKUP, "client_id": MARKUP, "scope": MARKUP, "resource": MARKUP},
        {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": f"{header}.{claims}.{base64url.encode(bytes(64))}",
        },
        server.proof("billing", scope=MARKUP) | world.GRANT,
        server.proof("billing", resource=f"https://x.example/{MARKUP}") | world.GRANT,
    ):
        assert httpx2.post(f"{server.issuer}/token", data=form, headers=headers).status_code < 500


def _links(page: Page, base: str) -> set[str]:
    script = "links => links.map(link => new URL(link.getAttribute('href'), location).href)"  # also those of a plot
    found = page.eval_on_selector_all("a[href]", script)
    return {urldefrag(link)[0] for link in found if urlsplit(link).path.startswith(urlsplit(base).path)}


def _kind(url: str) -> tuple[str, str]:
    """Name the kind of a page: an event is like another, and so is a list from another place on."""
    parts = urlsplit(url)
    segments = parts.path.split("/")
    is_event = len(segments) > 3 and segments[2] in ("events", "e", "tokens")
    query = "&".join(sorted({word.partition("=")[0] for word in parts.query.split("&")}))
    tab = next((word for word in parts.query.split("&") if word.startswith("tab=")), "")
    return ("/".join(segments[:3]) if is_event else parts.path, f"{query} {tab}")


def _strange(page: Page) -> list[str]:
    """Return what a page has that no template makes; 49 is 7 * 7, of a template made of what was sent."""
    found = {
        "headings": page.locator("h1").count() - 1,
        "elements": page.locator("main img, main script, main iframe").count(),
        "templates": page.get_by_text("49", exact=True).count(),
    }
    return [f"{page.url}: {what}" for what, count in found.items() if count]


@pytest.mark.parametrize("pages", [40, pytest.param(300, marks=pytest.mark.soak)])
def test_every_link_leads_somewhere(enter: Enter, hostile: Server, pages: int) -> None:
    """From the first page on: no dialog, no error, no image of a stranger, each page with one heading."""
    visit = enter(server=hostile)
    page = visit.go("/")
    page.on("dialog", lambda dialog: visit.faults.append(f"dialog: {dialog.message}"))
    waiting, seen = sorted(_links(page, visit.base)), {_kind(f"{visit.base}/")}
    events = 0
    while waiting and len(seen) < pages:
        url = waiting.pop(0)
        is_event = "/events/" in url
        if _kind(url) in seen and not (is_event and events < 8):
            continue
        seen.add(_kind(url))
        events += is_event
        try:
            answer = page.goto(url)
        except PlaywrightError as error:  # a file, which is downloaded
            assert "Download is starting" in str(error), url
            continue
        if answer is None or not answer.ok:
            visit.faults.append(f"{url}: {answer}")
            continue
        visit.faults += _strange(page)
        waiting += sorted(_links(page, visit.base) - set(waiting))
    assert len(seen) > 8
