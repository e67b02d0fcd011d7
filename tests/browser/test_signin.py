"""Sign-in in a real browser: a link, then a passkey of a virtual authenticator; sessions that end."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect
from tests.browser.conftest import Enter, Visit
from tests.process import Server

_AUTHENTICATOR = {
    "protocol": "ctap2",
    "ctap2Version": "ctap2_1",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture
def visit(chromium: Browser, console: Server) -> Iterator[Visit]:
    """A browser in which no user is signed in."""
    made = Visit(console, chromium.new_context())
    yield made
    made.context.close()
    assert made.faults == []


def _link(visit: Visit, user: str, *options: str) -> str:
    return str(visit.server.affiant("console", "link", user, *options)["url"])


def _open_link(visit: Visit, user: str, *options: str) -> Page:
    page = visit.open()
    page.goto(_link(visit, user, *options))
    return page


def _authenticator(page: Page) -> tuple[CDPSession, str]:
    cdp = page.context.new_cdp_session(page)
    cdp.send("WebAuthn.enable")
    return cdp, cdp.send("WebAuthn.addVirtualAuthenticator", {"options": _AUTHENTICATOR})["authenticatorId"]


def _sign_out(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_a_link_signs_in_once(visit: Visit) -> None:
    """Looking at its page takes nothing, and its token stays in no address."""
    url = _link(visit, "once", "--role", "viewer")
    for _ in range(2):
        visit.context.request.get(url)
        visit.context.request.head(url)
    page = visit.open()
    page.goto(url)
    token = url.partition("#")[2]
    expect(page.locator("#token")).to_have_value(token)
    assert token not in page.url
    page.get_by_role("button", name="Sign in with the link").click()
    expect(page.get_by_role("link", name="once · viewer")).to_be_visible()
    assert page.evaluate("document.cookie") == "", "no script reads the cookie"
    assert token not in visit.server.child.err + visit.server.child.out if visit.server.child else ""
    _sign_out(page)
    page.goto(url)
    page.get_by_role("button", name="Sign in with the link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("was used, has expired")
    expect(page.get_by_text("affiant console link")).to_be_visible()
    visit.expect("403")


def test_then_a_page(visit: Visit) -> None:
    """A visitor without a session comes to the page that was asked for, also by a link from elsewhere."""
    page = visit.open()
    page.goto(f"{visit.base}/clients?limit=5")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.locator("#token").fill(_link(visit, "asks", "--role", "viewer").partition("#")[2])
    page.get_by_role("button", name="Sign in with the link").click()
    expect(page).to_have_url(f"{visit.base}/clients?limit=5")
    elsewhere = visit.context.new_page()
    elsewhere.set_content(f'<a href="{visit.base}/clients">look</a>')
    elsewhere.get_by_role("link").click()
    expect(elsewhere.get_by_role("heading", level=1)).to_have_text("Clients")


def test_a_passkey(visit: Visit) -> None:
    """Made after a link; then it signs in without a name; its count goes up; removed, it ends its session."""
    page = _open_link(visit, "keys", "--role", "viewer")
    cdp, authenticator = _authenticator(page)
    page.get_by_role("button", name="Sign in with the link").click()
    page.get_by_role("link", name="keys · viewer").click()
    page.get_by_label("Name of the device").fill("laptop <b>x</b>")
    page.get_by_role("button", name="Make a passkey").click()
    expect(page.get_by_role("cell", name="laptop <b>x</b>")).to_be_visible()
    credentials = cdp.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})["credentials"]
    assert [(one["rpId"], one["isResidentCredential"]) for one in credentials] == [("localhost", True)]
    page.get_by_role("button", name="Make a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("already has a passkey")
    for _ in range(2):
        _sign_out(page)
        page.get_by_role("button", name="Sign in with a passkey").click()
        expect(page.get_by_role("link", name="keys · viewer")).to_be_visible()
    page.goto(f"{visit.base}/account")
    expect(page.get_by_text("by passkey")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("needs a link to sign in again")).to_be_visible()
    page.get_by_role("button", name="Remove the passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("the passkey was not accepted")
    visit.expect("403")


def test_a_cloned_passkey_is_refused(visit: Visit) -> None:
    page = _open_link(visit, "clone", "--role", "viewer")
    cdp, authenticator = _authenticator(page)
    page.get_by_role("button", name="Sign in with the link").click()
    page.goto(f"{visit.base}/account")
    page.get_by_role("button", name="Make a passkey").click()
    expect(page.get_by_role("button", name="Remove")).to_be_visible()
    (credential,) = cdp.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})["credentials"]
    _sign_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("link", name="clone · viewer")).to_be_visible()
    _sign_out(page)
    cdp.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": authenticator})
    copy = cdp.send("WebAuthn.addVirtualAuthenticator", {"options": _AUTHENTICATOR})["authenticatorId"]
    cdp.send("WebAuthn.addCredential", {"authenticatorId": copy, "credential": credential | {"signCount": 0}})
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("the passkey was not accepted")
    visit.expect("403")


def test_without_user_verification_no_passkey(visit: Visit) -> None:
    page = _open_link(visit, "unverified", "--role", "viewer")
    cdp, authenticator = _authenticator(page)
    page.get_by_role("button", name="Sign in with the link").click()
    page.goto(f"{visit.base}/account")
    cdp.send("WebAuthn.setUserVerified", {"authenticatorId": authenticator, "isUserVerified": False})
    page.get_by_role("button", name="Make a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was done")


def test_at_an_address_the_page_says_what_to_do(visit: Visit) -> None:
    page = visit.context.new_page()
    page.goto(f"http://127.0.0.1:{visit.server.port}/console/sign-in")
    expect(page.get_by_text(f"open http://localhost:{visit.server.port} instead")).to_be_visible()
    page.locator("#token").fill(_link(visit, "address", "--role", "viewer").partition("#")[2])
    page.get_by_role("button", name="Sign in with the link").click()
    expect(page.get_by_role("link", name="address · viewer")).to_be_visible()


def test_a_stolen_cookie_is_seen_and_ended(visit: Visit, chromium: Browser) -> None:
    page = _open_link(visit, "victim", "--role", "operator")
    page.get_by_role("button", name="Sign in with the link").click()
    expect(page.get_by_role("link", name="victim · operator")).to_be_visible()
    thief = chromium.new_context(user_agent="the thief's")
    thief.add_cookies(visit.context.cookies())  # type: ignore[arg-type]
    stolen = thief.new_page()
    stolen.goto(f"{visit.base}/clients")
    expect(stolen.get_by_role("heading", level=1)).to_have_text("Clients")
    _sign_out(page)
    stolen.goto(f"{visit.base}/clients")
    expect(stolen.get_by_role("heading", level=1)).to_have_text("Sign in")
    thief.close()


def test_an_owner_ends_the_session_of_another(enter: Enter) -> None:
    owner, other = enter("boss"), enter("other", role="viewer")
    (session,) = owner.server.affiant("console", "sessions", "other")
    page = other.go("/account")
    expect(page.get_by_text("this one")).to_be_visible()
    owner.server.affiant("console", "end", session["id"][:12])
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
