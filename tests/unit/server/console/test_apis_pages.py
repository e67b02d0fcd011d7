"""APIs: register, change and remove; how each verifies its tokens, and a probe that the console does not send."""

import shlex
import subprocess
from urllib.parse import quote

import pytest
from reference import snippets
from tests.admin import NOW, open_api
from tests.unit.server.console.visits import done, text, visit

from affiant.server.admin.roles import Role
from affiant.server.console.show.guards import probing, protect
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Api, Client

ORDERS = "https://orders.example"
PAGE = f"/apis/{quote(ORDERS, safe='')}"


async def _store() -> MemoryStore:
    store = MemoryStore()
    await open_api(store)
    await store.apis.add(Api(ORDERS, "orders", ("orders.read", "orders.write"), is_default=True, created_at=NOW))
    await store.clients.add(Client("billing", "client_secret_basic", scope=("orders.read",), resources=(ORDERS,)))
    await store.clients.add(Client("other", "client_secret_basic", scope=("orders.write",), resources=("https://x",)))
    return store


async def test_register_and_change() -> None:
    ann = visit(MemoryStore())
    assert "No API is registered yet" in text(await ann.get("/apis"))
    made = {"identifier": ORDERS, "name": "orders", "scopes": "orders.read orders.write", "signing_alg": "default"}
    await ann.act("api.new", **made)
    page = await ann.get(PAGE)
    assert "orders.write" in text(page)

    etag = (await ann.get(f"{PAGE}?tab=settings")).text.split('name="if_match" value="')[1].split('"')[0]
    etag = etag.replace("&#34;", '"')
    form = {"identifier": ORDERS, "scopes": "orders.read", "access_token_lifetime": "300", "if_match": etag}
    shown = text(await ann.post("/actions/api.update", **form, as_command="1"))
    assert f"affiant api update {ORDERS} --scope orders.read --access-token-lifetime 300" in shown
    page = await ann.get(done(await ann.act("api.update", **form, then=f"/console{PAGE}")))
    assert "5 minutes" in text(page)
    stale = await ann.act("api.update", **{**form, "access_token_lifetime": "600"})
    assert stale.status_code == 412
    assert "since you opened the page" in text(stale)


async def test_undo_gives_no_value_back() -> None:
    ann = visit(await _store())
    where = done(await ann.act("api.update", identifier=ORDERS, signing_alg="PS256", team="", then=f"/console{PAGE}"))
    trace_id = where.partition("done=")[2]
    await ann.act("undo", trace_id=trace_id)
    assert "the server's algorithm" in text(await ann.get(PAGE))


async def test_who_holds_its_scopes() -> None:
    page = await visit(await _store()).get(PAGE)
    assert "orders.read billing orders.write none" in text(page)


async def test_removal_says_what_ends_and_other_roles_cannot() -> None:
    store = await _store()
    asked = text(await visit(store).ask("api.remove", identifier=ORDERS))
    assert "all that were issued end within two seconds" in asked
    assert "No token for it was issued in the last hour." in asked
    assert (await visit(store, Role.OPERATOR).act("api.remove", identifier=ORDERS)).status_code == 403
    assert (await visit(store, Role.VIEWER).act("api.update", identifier=ORDERS, name="x")).status_code == 403


def test_snippets_are_those_of_the_pages() -> None:
    assert snippets.FILE.read_text("utf-8") == snippets.build(), "run: python -m reference"


@pytest.mark.parametrize("name", [one.name for one in protect.snippets()])
async def test_snippets_are_filled_in(name: str) -> None:
    page = await visit(await _store()).get(f"{PAGE}?tab=protect&with={name}")
    shown = text(page)
    assert page.status_code == 200
    assert "https://mcp.example" not in shown
    assert "urn:rabbitmq" not in shown
    api = {"identifier": "https://api.corp", "scopes": ["a.b"]}
    filled = protect.fill(protect.choose(name), "https://as.corp", api)
    assert filled is not None
    assert not [one for one in (protect.ISSUER, protect.AUDIENCE, protect.SCOPE) if one in filled]


@pytest.mark.parametrize("scope", ['a"b', "a'b", "a$b", "a`b", "a;b", "a{b"])
def test_no_snippet_has_what_would_be_escaped(scope: str) -> None:
    api = {"identifier": ORDERS, "scopes": [scope]}
    assert protect.fill(protect.choose("flask"), "https://as.example", api) is None


async def test_a_probe_is_for_a_client_of_the_api() -> None:
    store = await _store()
    await store.apis.add(Api("https://x", "x", ("orders.write",), is_default=False, created_at=NOW))
    assert "affiant token -c billing.affiant.json" in text(await visit(store).get(f"{PAGE}?tab=probe"))
    page = await visit(store).get(f"/apis/{quote('https://x', safe='')}?tab=probe")
    assert "affiant token -c other.affiant.json" in text(page)


def test_a_probe_runs_and_marks() -> None:
    """The commands, by a shell in which `affiant` prints a token and `curl` answers as an API would."""
    probe = probing.build({"identifier": ORDERS, "scopes": []}, f"{ORDERS}/x?a='b", "billing", "https://other.example")
    assert not probe.problem
    stand_in = 'affiant() { echo "$*" | tr -d " "; }\nsleep() { :; }\n'
    stand_in += 'curl() { case "$*" in *other*) echo 401;; *probe*) echo 200;; *) echo 404;; esac; }\n'
    done = subprocess.run(["sh", "-c", stand_in + probe.script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["✓ good: 404", "✓ other-audience: 401", "✗ expired: 200"]
    stand_in += "affiant() { :; }\n"  # which fails
    done = subprocess.run(["sh", "-c", stand_in + probe.script], capture_output=True, text=True, check=True)
    assert "✓" not in done.stdout


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example",
        "https://orders.example.evil.example/",
        "https://orders.example@evil.example/",
        "http://orders.example/",
        "https://orders.example/../x",
        "https://orders.example/%2E%2e/x",
        "https://orders.example\\@evil.example",
        "https://orders.example/ x",
        "https://[",
    ],
)
def test_a_good_token_goes_to_the_api_alone(url: str) -> None:
    probe = probing.build({"identifier": ORDERS, "scopes": []}, url, "billing", "")
    assert probe.problem
    assert not probe.script


@pytest.mark.parametrize("identifier", ["https://o.example/a", "https://o.example/a/"])
def test_below(identifier: str) -> None:
    assert probing.is_below("https://o.example/a/b", identifier)
    assert not probing.is_below("https://o.example/ab", identifier)


def test_names_are_quoted() -> None:
    probe = probing.build({"identifier": "urn:a'b$(id)", "scopes": []}, "http://127.0.0.1:9/$(id)", "a", "")
    assert not probe.problem
    words = shlex.split(probe.script.splitlines()[1])
    assert "http://127.0.0.1:9/$(id))" in words


async def test_markup_in_names() -> None:
    store = MemoryStore()
    await store.apis.add(Api(ORDERS, "<script>alert", (), is_default=True, created_at=NOW))
    for tab in ("", "protect", "probe", "settings"):
        page = await visit(store).get(f"{PAGE}?tab={tab}&url=<script>alert&client_id=<script>alert")
        assert "<script>alert" not in page.text
    assert "<script>alert" not in (await visit(store).get("/apis")).text
