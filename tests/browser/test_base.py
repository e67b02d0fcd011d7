"""What every page of the console has: keys, no request elsewhere, no error."""

from playwright.sync_api import Page, expect
from tests.browser.conftest import Enter


def test_keys(page: Page) -> None:
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.locator("h1").click()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("g c")
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("g")
    page.keyboard.press("c")
    expect(page.get_by_role("heading", level=1)).to_have_text("Clients")


def test_disable_and_undo(enter: Enter) -> None:
    visit = enter()
    visit.server.affiant("client", "new", "undone")
    page = visit.go("/clients/undone")
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_role("heading", name="What this breaks")).to_be_visible()
    expect(page.get_by_text("affiant client disable undone")).to_be_visible()
    page.get_by_role("button", name="Disable the client").click()
    expect(page.get_by_role("status").first).to_contain_text("client undone")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Disable")).to_be_visible()


def test_two_tabs(enter: Enter) -> None:
    visit = enter()
    visit.server.affiant("client", "new", "twice")
    stale, fresh = visit.go("/clients/twice"), visit.go("/clients/twice")
    fresh.get_by_role("button", name="Disable").click()
    fresh.get_by_role("button", name="Disable the client").click()
    stale.get_by_role("button", name="Disable").click()
    stale.get_by_role("button", name="Disable the client").click()
    expect(stale.get_by_role("alert")).to_contain_text("it was changed in the meantime")
    visit.expect("412")
