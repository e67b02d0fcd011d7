"""Where a visit begins: the search box, the keys."""

from playwright.sync_api import expect
from tests.browser.conftest import Enter


def test_search(enter: Enter) -> None:
    visit = enter()
    visit.server.affiant("client", "new", "sought", "sought-too")
    page = visit.go("/search")
    box = page.locator("#search")
    box.fill("sought")
    box.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("sought")  # a whole name leads to its page

    box.fill("sough")
    box.press("Enter")
    page.wait_for_url("**/search?q=sough")  # and its scripts have run
    page.keyboard.press("/")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="sought-too")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("sought-too")


def test_a_token_is_not_searched(enter: Enter) -> None:
    """A script sends it to the debugger by POST; without a script it is not shown again."""
    visit = enter()
    visit.server.affiant("client", "new", "pasted")
    assertion = visit.server.assertion("pasted")
    page = visit.go("/search")
    page.route("**/console/debugger", lambda route: route.fulfill(body="here"))
    with page.expect_request("**/console/debugger") as sent:
        page.locator("#search").fill(f"Bearer {assertion}")
        page.locator("#search").press("Enter")
    assert sent.value.method == "POST"
    assert assertion not in sent.value.url

    page = visit.go(f"/search?q={assertion}")
    expect(page.get_by_role("status").first).to_contain_text("It was not searched")
    assert assertion not in page.content()


def test_chart_follows_what_happens(enter: Enter) -> None:
    """A token that is asked for elsewhere is on the page without a reload; its bar leads to the request."""
    visit = enter()
    server = visit.server
    server.affiant("client", "new", "charted", "--scope", "orders.read")
    server.affiant("token", "-c", "charted.affiant.json", "--no-cache")
    page = visit.go("/")
    chart = page.locator("#chart")
    before = chart.inner_text()  # other tests may have been refused by this server
    proof = server.proof("charted") | {"client_assertion": server.assertion("charted", lifetime=86_400)}
    assert server.token(**proof, grant_type="client_credentials").status_code == 401
    expect(chart).not_to_have_text(before, use_inner_text=True, timeout=20_000)
    chart.locator("svg.plot").get_by_role("link", name="assertion.lifetime").last.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Activity")
    expect(page.get_by_role("cell", name="charted").first).to_be_visible()
