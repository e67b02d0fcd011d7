"""A client is refused: found live, explained, mended from the page; and the debugger, which judges and builds."""

import json
import time
from typing import Any

from playwright.sync_api import Page, expect
from tests.browser.conftest import NARROW, Enter
from tests.process import Server

from affiant.jose import keys
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
    page.get_by_role("button", name="Go on").press("Enter")
    expect(page.locator("#rows tr")).to_have_count(3)
    assert page.locator("#rows time[data-local]").count() == 3
    assert page.evaluate("getComputedStyle(document.querySelector('#rows td')).animationName") == "none"
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
