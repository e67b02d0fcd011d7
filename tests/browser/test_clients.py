"""Clients in a real browser: a key made in the tab, a rotation with a client at work, two tabs, a narrow screen."""

import json
import re
import time
from pathlib import Path

from playwright.sync_api import Locator, Page, expect
from tests.browser.conftest import Enter, Visit


def scope_of_orders(page: Page) -> Locator:
    """Return the box of a scope that other APIs of this server may have too."""
    return page.locator("div").filter(has_text=re.compile(r"^\s*orders\s+https://orders")).get_by_label("orders.read")


def register(visit: Visit, name: str, folder: Path) -> Page:
    """Register a client with a key made in the tab, and keep the downloaded file where the server's commands run."""
    page = visit.go("/new/client")
    page.get_by_label("Name", exact=True).fill(name)
    scope_of_orders(page).check()
    with page.expect_download() as found:
        page.get_by_role("button", name="Register the client").click()
    found.value.save_as(folder / found.value.suggested_filename)
    (folder / found.value.suggested_filename).chmod(0o600)
    assert found.value.suggested_filename == f"{name}.affiant.json"
    return page


def reload_until(page: Page, place: str, text: str) -> None:
    """Reload until the page says this, a pattern, there: uses and counts are written every few seconds."""
    end = time.monotonic() + 30
    while re.search(text, page.locator(place).inner_text()) is None:
        assert time.monotonic() < end, page.locator(place).inner_text()
        page.reload()


def test_key_made_in_the_tab(enter: Enter) -> None:
    """The real command gets a token with the downloaded file; the server never saw the private key."""
    visit = enter()
    sent: list[str] = []
    visit.context.on("request", lambda request: sent.append(request.post_data or ""))
    page = register(visit, "tabbed", visit.server.folder)
    expect(page.get_by_role("heading", level=1)).to_have_text("tabbed is registered")
    file = json.loads((visit.server.folder / "tabbed.affiant.json").read_text())
    assert file["auth_method"] == "private_key_jwt"
    assert not [body for body in sent if file["key"]["d"] in body]
    done = visit.server.run("token", "-c", "tabbed.affiant.json", "--json")
    assert done.returncode == 0, done.stderr
    page.get_by_role("link", name="Open the client").click()
    reload_until(page, "#tab", "Tokens in 24 hours, and in 30 days\n1")


def test_refused_form_keeps_what_was_typed(enter: Enter) -> None:
    visit = enter()
    register(visit, "taken", visit.server.folder)
    page = visit.go("/new/client")
    page.get_by_label("Name", exact=True).fill("taken")
    scope_of_orders(page).check()
    page.get_by_role("button", name="Register the client").click()
    expect(page.get_by_role("alert").first).to_contain_text("taken")
    expect(page.get_by_label("Name", exact=True)).to_have_value("taken")
    expect(scope_of_orders(page)).to_be_checked()
    visit.expect("409")


def test_guarded_rotation(enter: Enter) -> None:
    """The page says which key the client at work uses, before the old one is ended."""
    visit = enter()
    folder = visit.server.folder
    register(visit, "rotated", folder)

    def works() -> bool:
        return visit.server.run("token", "-c", "rotated.affiant.json", "--no-cache").returncode == 0

    assert works()
    page = visit.go("/clients/rotated?tab=credentials")
    with page.expect_download() as found:
        page.get_by_role("button", name="Make the next key").click()
    found.value.save_as(folder / "next.affiant.json")
    (folder / "next.affiant.json").chmod(0o600)
    assert works()
    page.goto(f"{visit.base}/clients/rotated?tab=credentials")
    expect(page.locator("#rotation")).to_contain_text("its successor was not used yet")
    (folder / "next.affiant.json").replace(folder / "rotated.affiant.json")
    assert works()
    reload_until(page, "#rotation", "2 uses of the old key in 24 hours")
    reload_until(page, "#rotation", "was first used|without a use")  # the second one if both were used in one second
    page.get_by_role("button", name="Complete the rotation").click()
    expect(page.get_by_text("rotated used the old key 2 times in the last")).to_be_visible()
    expect(page.get_by_text("affiant client key complete")).to_be_visible()
    page.get_by_role("button", name="Complete the rotation").click()
    expect(page.get_by_role("status").first).to_contain_text("retired")
    expect(page.locator("#rotation")).to_have_count(0)
    assert works()


def test_stale_tab_overwrites_nothing(enter: Enter) -> None:
    visit = enter()
    register(visit, "shared", visit.server.folder)
    stale, fresh = visit.go("/clients/shared?tab=settings"), visit.go("/clients/shared?tab=settings")
    fresh.get_by_label("Owner").fill("payments")
    fresh.get_by_role("button", name="Save").click()
    stale.get_by_label("Owner").fill("somebody else")
    stale.get_by_role("button", name="Save").click()
    expect(stale.get_by_role("alert")).to_contain_text("it was changed in the meantime")
    expect(stale.get_by_label("Owner")).to_have_value("somebody else")
    assert visit.server.affiant("client", "show", "shared")["owner"] == "payments"
    visit.expect("412")
