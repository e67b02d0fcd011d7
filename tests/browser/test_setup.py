"""The first visit to a new server: at most five clicks, nothing typed, until a token has arrived."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.browser.conftest import Enter, Visit
from tests.process import Server

MOST_CLICKS = 5


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Server]:
    """A server on which nothing is registered."""
    with Server(tmp_path) as server:
        yield server


class Hand:
    """Presses buttons, and counts them."""

    def __init__(self, page: Page) -> None:
        self.page, self.clicks = page, 0

    def press(self, name: str) -> None:
        self.clicks += 1
        self.page.get_by_role("button", name=name, exact=True).click()


def _visitor(enter: Enter, server: Server) -> Visit:
    """A visitor who is not signed in."""
    visit = enter(server=server)
    visit.context.clear_cookies()
    return visit


def test_first_token(enter: Enter, new: Server) -> None:
    page = _visitor(enter, new).open()
    page.goto(new.affiant("console", "link", "ann", "--role", "owner")["url"])
    hand = Hand(page)
    hand.press("Sign in with the link")
    expect(page).to_have_title("Set up · affiant")  # an owner is led there
    expect(page.get_by_text(f"{new.issuer}/token")).to_have_count(1)

    hand.press("Create the API")
    expect(page.get_by_role("link", name="https://api.example")).to_be_visible()
    with page.expect_download() as downloading:
        hand.press("Create the client")
    downloading.value.save_as(new.folder / "billing.affiant.json")
    expect(page.get_by_text("Waiting for the first request of billing.")).to_be_visible()
    curl = page.locator("#curl").inner_text()
    hand.press("Get a token here")
    expect(page.get_by_text("The token has arrived.")).to_be_visible()
    expect(page.get_by_role("heading", name="Your first token")).to_contain_text("done")
    expect(page.locator("#answer")).to_contain_text('"access_token"')
    assert hand.clicks <= MOST_CLICKS

    # The file and the line on the page are as good as the page.
    assert json.loads((new.folder / "billing.affiant.json").read_text())["client_id"] == "billing"
    (new.folder / "billing.affiant.json").chmod(0o600)  # as the page says: a browser saves it for all to read
    assert new.affiant("token", "-c", "billing.affiant.json")["access_token"]
    form = dict(line.strip().removeprefix("-d ").split("=", 1) for line in curl.split(" \\\n")[1:])
    assert new.token(**form).json()["scope"] == "orders.read orders.write"
    # The private half stayed in the tab.
    assert '"d"' not in json.dumps(new.affiant("client", "show", "billing"))


def test_goes_on_where_it_stopped(enter: Enter, new: Server) -> None:
    visit = enter(server=new)
    new.add_api("https://api.example")
    new.affiant("client", "new", "billing")
    page = visit.go("/setup")
    expect(page.get_by_role("button", name="Create the client")).to_have_count(0)
    expect(page.get_by_text("chmod 600 billing.affiant.json && affiant token -c billing.affiant.json")).to_be_visible()
    new.affiant("token", "-c", "billing.affiant.json")  # elsewhere, and the page sees it
    expect(page.get_by_text("The token has arrived.")).to_be_visible()
    page.set_input_files("#key-file", new.folder / "billing.affiant.json")
    page.get_by_role("button", name="Get a token here").click()
    expect(page.locator("#answer")).to_contain_text("HTTP 200")


def test_a_name_that_is_taken(enter: Enter, new: Server) -> None:
    visit = enter(server=new)
    new.add_api("https://api.example")
    page = visit.go("/setup")
    new.affiant("client", "new", "billing")  # by somebody else, meanwhile
    page.get_by_role("button", name="Create the client").click()
    expect(page.get_by_role("alert")).to_contain_text("admin.exists")
    visit.expect("409")
