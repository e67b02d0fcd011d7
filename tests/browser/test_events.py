"""A client is refused: found live, explained, mended from the page; and the debugger, which judges and builds."""

import json
import time
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Page, expect
from tests.browser.conftest import NARROW, Enter
from tests.process import Server

from affiant import testing
from affiant.jose import keys
from affiant.oauth import assertion
from affiant.server.registry.directory import FRESH_SECONDS

GRANT = {"grant_type": "client_credentials"}


def ask(server: Server, name: str, assertion: str | None = None, **more: str) -> dict[str, Any]:
    """Ask for a token, and return the answer."""
    form = server.proof(name, **more) | GRANT
    found: dict[str, Any] = server.token(**form | ({"client_assertion": assertion} if assertion else {})).json()
    return found


def open_live(visit: Any, query: str = "") -> Page:
    page: Page = visit.go(f"/activity{query}")
    expect(page.locator("#state")).to_have_text("live")
    return page


def until_accepted(server: Server, name: str, **more: str) -> None:
    """A change takes effect within FRESH_SECONDS."""
    end = time.monotonic() + 20 * FRESH_SECONDS
    while "access_token" not in (answer := ask(server, name, **more)):
        assert time.monotonic() < end, answer
        time.sleep(FRESH_SECONDS / 2)


def test_refused_found_and_mended(enter: Enter) -> None:
    """Wrong scope: seen live without a reload, opened, let through, and undone."""
    visit = enter()
    server = visit.server
    server.affiant("client", "new", "wide", "--scope", "orders.read")
    server.affiant("api", "update", "orders", "--scope", "orders.read", "--scope", "orders.write")
    page = open_live(visit, "?client_id=wide")
    refused = ask(server, "wide", scope="orders.write")
    row = page.locator("#rows tr", has_text="scope.not_allowed").first
    expect(row).to_be_visible()
    row.get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("scope.not_allowed")
    expect(page.locator("code.id")).to_have_text(refused["trace_id"])
    page.get_by_text("JavaScript", exact=True).click()
    expect(page.get_by_text('form.set("scope", "orders.read");')).to_be_visible()
    page.get_by_role("button", name="Do it").click()
    expect(page.get_by_role("status").first).to_contain_text("client wide")
    until_accepted(server, "wide", scope="orders.write")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Do it")).to_be_visible()


def test_audience_and_key(enter: Enter) -> None:
    visit = enter()
    server = visit.server
    server.affiant("client", "new", "partner", "--scope", "orders.read")
    wrong = ask(server, "partner", server.assertion("partner", audience=f"{server.issuer}/token"))
    page = visit.go(f"/e/{wrong['trace_id']}")
    expect(page.locator("tr.wrong", has_text="got")).to_contain_text("/token")
    page.get_by_role("button", name="Do it").click()
    expect(page.get_by_role("status").first).to_contain_text("client partner")
    key = keys.generate("ES256")
    unknown = ask(server, "partner", server.assertion("partner", key=key))
    page = visit.go(f"/events/{unknown['trace_id']}")
    page.get_by_label("The public key that it signs with").fill(json.dumps(key.public().to_jwk()))
    page.get_by_role("button", name="Register the key").click()
    expect(page.get_by_role("status").first).to_contain_text("client partner")
    time.sleep(1.2 * FRESH_SECONDS)
    token_endpoint = server.assertion("partner", key=key, audience=f"{server.issuer}/token")
    assert "access_token" in ask(server, "partner", token_endpoint)


def test_pause(enter: Enter) -> None:
    """Pause on refuse, pause, and the plot; by keyboard, on a phone, with reduced motion."""
    visit = enter(viewport=NARROW, reduced_motion="reduce")
    server = visit.server
    server.affiant("client", "new", "steady", "--scope", "orders.read")
    page = open_live(visit, "?client_id=steady")
    page.get_by_label("pause on refuse").press("Space")
    ask(server, "steady")
    expect(page.locator("#rows tr")).to_have_count(1)
    ask(server, "steady", scope="nothing")
    expect(page.locator("#rows tr")).to_have_count(2)
    expect(page.locator("#state")).to_have_text("paused: refused")
    assert page.locator("#plot .dot-bad").count() == 2  # one in the legend
    ask(server, "steady")
    page.get_by_role("button", name="Resume").press("Enter")
    expect(page.locator("#rows tr")).to_have_count(3)
    assert page.locator("#rows time[data-local]").count() == 3
    assert page.evaluate("getComputedStyle(document.querySelector('#rows td')).animationName") == "none"
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


def test_markup_is_text(enter: Enter) -> None:
    """What a stranger names, signs and asks for is text in a live row, an event and the debugger."""
    visit = enter()
    server = visit.server
    hostile = "<img src=x onerror=window.ran=1><script>window.ran=1</script>\"'"
    page = open_live(visit)
    forged = assertion.build(hostile, issuer=hostile, signer=keys.generate("ES256"), now=time.time(), lifetime=60)
    form = testing.form(forged, client_id=hostile, scope=hostile, resource=hostile)
    trace: str = server.token(**form).json()["trace_id"]
    row = page.locator("#rows tr", has=page.locator(f"a[href$='{trace}']"))
    expect(row).to_contain_text("<img src=x")
    row.get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("client.unknown")
    expect(page.locator("main")).to_contain_text("<script>")
    assert page.evaluate("window.ran") is None
    page = visit.go("/debugger")
    page.get_by_label("An assertion, an access token").fill(f"curl {server.issuer}/token -d '{urlencode(form)}'")
    page.get_by_role("button", name="Judge it").first.click()
    expect(page.locator("#judged")).to_contain_text("<img src=x")
    page.locator("#offset").fill("60")
    expect(page.locator("#moved")).to_have_text("60 s")
    assert page.evaluate("window.ran") is None


def test_debugger(enter: Enter) -> None:
    """A pasted assertion is judged; moved in time it becomes valid; a file gives its last request."""
    visit = enter()
    server = visit.server
    server.affiant("client", "new", "early", "--scope", "orders.read")
    now = time.time() + 1800
    late = assertion.build("early", issuer=server.issuer, signer=server.key("early"), now=now, lifetime=60)
    page = visit.go("/debugger")
    page.get_by_label("An assertion, an access token").fill(late)
    page.get_by_role("button", name="Judge it").first.click()
    expect(page.locator("#judged h2").first).to_contain_text("assertion.issued_in_future")
    expect(page.locator("tr.wrong", has_text="iat")).to_be_visible()
    expect(page.get_by_text("✓ +30 min", exact=True)).to_be_visible()
    page.locator("#offset").fill("1800")
    expect(page.locator("#judged h2").first).to_have_text("Accepted")
    assert late not in page.url
    entry = {"url": f"{server.issuer}/token", "method": "POST", "headers": [], "postData": {"text": "grant_type=x"}}
    har = json.dumps({"log": {"entries": [{"request": entry, "response": {"content": "x" * 70_000}}]}})
    page.locator("#file").set_input_files({"name": "a.har", "mimeType": "text/plain", "buffer": har.encode()})
    expect(page.locator("#judged h2").first).to_contain_text("request.content_type")


def test_build_one_and_send_it(enter: Enter) -> None:
    """A key is made in the tab, registered, and gets a token; its private half is in no request."""
    visit = enter()
    server = visit.server
    server.affiant("client", "new", "tabbed", "--scope", "orders.read")
    page = visit.go("/debugger")
    bodies: list[str] = []
    page.on("request", lambda request: bodies.append(request.post_data or ""))
    page.get_by_role("button", name="Make a key in this tab").click()
    page.locator("#client").fill("tabbed")
    page.get_by_role("button", name="Judge it").last.click()
    expect(page.locator("#judged h2").first).to_contain_text("key.unknown")
    page.get_by_role("button", name="Register it at the client").click()
    expect(page.locator("#registered")).to_contain_text("Registered")
    time.sleep(1.2 * FRESH_SECONDS)
    page.get_by_role("button", name="Send it to /token").click()
    expect(page.locator("#received")).to_contain_text("HTTP 200")
    expect(page.locator("#received")).to_contain_text("access_token")
    expect(page.locator("#sent")).to_contain_text("client_assertion=ey")
    assert not any('"d"' in body or "%22d%22" in body for body in bodies)
    page.locator("#client").fill("nobody-like-this")
    page.get_by_role("button", name="Register it at the client").click()
    expect(page.locator("#registered")).to_contain_text("no client")
    visit.expect("404")
    page.locator("#client").fill("tabbed")
    page.locator("#aud").fill("https://elsewhere.example")
    page.get_by_role("button", name="Send it to /token").click()
    expect(page.locator("#received")).to_contain_text("HTTP 401")
    visit.expect("401")
    page.get_by_role("link", name="The record of it").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("assertion.audience")


def test_own_key_on_a_phone(enter: Enter) -> None:
    """A credentials file is dropped: client and key are those of the file."""
    visit = enter(viewport=NARROW)
    server = visit.server
    server.affiant("client", "new", "dropped", "--scope", "orders.read")
    page = visit.go("/debugger")
    page.locator("#key-file").set_input_files(server.folder / "dropped.affiant.json")
    expect(page.locator("#client")).to_have_value("dropped")
    page.get_by_role("button", name="Judge it").last.click()
    expect(page.locator("#judged h2").first).to_have_text("Accepted")
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
