"""APIs, trusts, signing keys, tokens and the audit log, with real guards and real jobs behind them."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Page, expect
from tests.browser.conftest import Enter
from tests.loopback import free_port
from tests.platforms import github
from tests.platforms.issuer import Issuer, signed
from tests.process import Server, guarded_api

from affiant.oauth import names

GRANT = {"grant_type": "client_credentials"}
REPOSITORY = github.Repository(owner_id="6500", name="console", id="7400")


@pytest.fixture(scope="module")
def shielded(console: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real API behind our guard, and its identifier, which is its address."""
    identifier = f"http://127.0.0.1:{free_port()}"
    console.add_api(identifier, name="shielded")
    with guarded_api(tmp_path_factory.mktemp("shielded"), console.issuer, identifier):
        yield identifier


def _token(server: Server, name: str, api: str) -> str:
    answer = server.token(**server.proof(name, resource=api, scope="orders.read") | GRANT)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["access_token"]
    return token


def _status(api: str, token: str) -> int:
    return httpx2.get(f"{api}/orders", headers={"Authorization": f"Bearer {token}"}).status_code


def _refused_after(api: str, token: str) -> float:
    """Seconds until the guard refuses the token."""
    began = time.monotonic()
    while _status(api, token) == 200:
        assert time.monotonic() - began < 10, "the guard still takes the token"
        time.sleep(0.02)
    return time.monotonic() - began


def test_revoked_key_and_token_are_refused_by_the_guard(enter: Enter, shielded: str) -> None:
    visit = enter()
    visit.server.affiant("client", "new", "guarded", "--scope", "orders.read", "--resource", shielded)
    first, second = (_token(visit.server, "guarded", shielded) for _ in range(2))
    assert _status(shielded, first) == _status(shielded, second) == 200

    page = visit.go("/tokens")
    page.get_by_label("A jti, or the access token itself").fill(first)
    page.get_by_role("button", name="Find it").click()
    expect(page.get_by_text("not revoked")).to_be_visible()
    page.get_by_role("button", name="Revoke this token").click()
    expect(page.get_by_text("1 token of this jti was issued in the last hour, to guarded (1).")).to_be_visible()
    page.get_by_role("button", name="Revoke", exact=True).click()
    assert _refused_after(shielded, first) < 2
    expect(page.locator("#feed[data-seen]")).to_contain_text("In the feed")
    assert _status(shielded, second) == 200

    page = visit.go("/tokens")
    page.get_by_label("What").select_option("key")
    page.get_by_label("Which", exact=True).fill(visit.server.key("guarded").public().thumbprint)
    page.get_by_label("Client, for a key").fill("guarded")
    page.get_by_role("button", name="See what it ends").click()
    expect(page.get_by_text("2 tokens of this key were issued in the last hour")).to_be_visible()
    page.get_by_role("button", name="Revoke", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Tokens")
    assert _refused_after(shielded, second) < 2


def test_a_trust_by_a_tile_with_a_token_tried_before(enter: Enter) -> None:
    visit = enter()
    server = visit.server
    page = visit.go("/trusts")
    page.get_by_role("link", name="Accept tokens of a platform").click()
    page.get_by_role("link", name="GitHub Actions").click()
    page.get_by_label("repository-id").fill(REPOSITORY.id)
    page.get_by_label("Client", exact=True).fill("console-deploy")
    page.get_by_text("More conditions").click()
    page.get_by_label("Scopes").fill("orders.read")
    page.get_by_text("The trust: keys that this server cannot fetch").click()
    job = github.job(repository=REPOSITORY, audience=server.issuer)
    page.get_by_label("jwks", exact=True).fill(json.dumps(Issuer.of(job).jwks))
    page.get_by_role("button", name="See what it does").click()

    page.get_by_label("A token of the job").fill(signed(github.job(audience=server.issuer), time.time()))
    page.get_by_role("button", name="Judge it").click()
    verdict = page.locator("#verdict")
    expect(verdict.get_by_role("row", name="repository_id no 7400 74")).to_be_visible()
    page.get_by_label("A token of the job").fill(signed(job, time.time()))
    page.get_by_role("button", name="Judge it").click()
    expect(verdict).to_contain_text("would be accepted")
    before = server.token(grant_type=names.JWT_BEARER, assertion=signed(job, time.time()))
    assert before.status_code == 400

    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("cell", name="repository_id=7400")).to_be_visible()
    time.sleep(0.2)  # until the server looks again at what is registered
    answer = server.token(grant_type=names.JWT_BEARER, assertion=signed(job, time.time()))
    assert answer.status_code == 200, answer.text


def test_rotate_the_signing_key(enter: Enter) -> None:
    visit = enter()

    def published() -> set[str]:
        return {key["kid"] for key in httpx2.get(f"{visit.server.issuer}/jwks").json()["keys"]}

    before = published()
    page = visit.go("/keys")
    page.get_by_role("button", name="Announce the next key").first.click()
    expect(page.get_by_role("cell", name="no API yet")).to_be_visible()
    (announced,) = published() - before
    page.get_by_role("button", name="Rotate now").first.click()
    expect(page.get_by_role("heading", name="What this breaks")).to_be_visible()
    page.get_by_role("button", name="Sign with the next key at once").click()
    expect(page.get_by_role("status").first).to_contain_text(announced)
    expect(page.get_by_role("img", name="Signing keys over time")).to_be_visible()


def test_verify_the_audit_chain_and_undo(enter: Enter, tmp_path: Path) -> None:
    visit = enter()
    visit.server.affiant("client", "new", "audited", "--name", "Old", "--scope", "orders.read")
    visit.server.affiant("client", "update", "audited", "--name", "Audited")
    page = visit.go("/audit?outcome=changed")
    head = page.locator("#expect-hint code").inner_text()
    row = page.get_by_role("row", name="client audited").first
    expect(row.locator("del")).to_have_text("Old")
    row.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status").first).to_contain_text("client audited")
    _verify(page, head)

    with page.expect_download() as download:
        page.get_by_role("link", name="audit-chain.jsonl").click()
    download.value.save_as(tmp_path / "audit.jsonl")
    lines = (tmp_path / "audit.jsonl").read_text("utf-8").splitlines()
    assert len(lines) >= int(head.partition(":")[0])


def _verify(page: Page, head: str) -> None:
    page.get_by_label("A head that you saved earlier").fill(head)
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("The chain is intact")
    expect(page.get_by_role("status").first).to_contain_text("no record was cut off")
    page.get_by_role("link", name="Back to the log").click()


def test_an_api_and_its_guard(enter: Enter) -> None:
    page = enter().go("/new/api")
    page.get_by_label("Identifier").fill("https://console.example/a b".replace(" ", "-"))
    page.get_by_label("Name", exact=True).fill("by-console")
    page.get_by_label("scopes").fill("things.read things.write")
    page.get_by_role("button", name="Register the API").click()
    page.get_by_role("link", name="by-console").click()
    page.get_by_role("link", name="Protect it").click()
    page.get_by_role("link", name="Flask").click()
    expect(page.locator("#snippet")).to_contain_text('audience="https://console.example/a-b"')
    expect(page.locator("#snippet")).to_contain_text('guard.flask("things.read")')
    page.get_by_role("link", name="Probe").click()
    page.get_by_label("URL of a route").fill("https://elsewhere.example/")
    page.get_by_role("button", name="Show the commands").click()
    expect(page.get_by_role("alert")).to_contain_text("a good token goes to the API alone")
