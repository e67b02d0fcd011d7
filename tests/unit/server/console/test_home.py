"""The overview, the setup and the search as pages: where they lead, and what they never say."""

import pytest
from tests.admin import ADMIN, NOW, open_api
from tests.contract.archiving import fill
from tests.unit.server.console.visits import text, visit

from affiant.server.admin.roles import Role
from affiant.storage.history.base import build_base
from affiant.storage.history.counts import Count
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Api, Client, User

ORDERS = "https://orders.example"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJiaWxsaW5nIn0.c2ln"


async def _new() -> MemoryStore:
    store = MemoryStore()
    await store.users.add(User("ann", "owner", handle="h", created_at=NOW))
    return store


async def _store(*clients: str) -> MemoryStore:
    store = await _new()
    await open_api(store)
    await store.apis.add(Api(ORDERS, "Orders", ("orders.read",), is_default=True, created_at=NOW))
    for name in clients:
        await store.clients.add(Client(name, "private_key_jwt", scope=("orders.read",)))
    return store


async def test_owner_of_a_new_server_is_led_to_the_setup() -> None:
    store = MemoryStore()
    await open_api(store)  # the admin API, and its client, are no beginning
    await store.clients.add(Client("admin", "private_key_jwt", scope=("admin.owner",), resources=(ADMIN,)))
    assert (await visit(store).get("/")).headers["location"] == "/console/setup"
    viewer = await visit(store, Role.VIEWER).get("/")
    assert "Three commands" in text(viewer)


@pytest.mark.parametrize("role", list(Role))
async def test_setup_goes_on_where_it_stopped(role: Role) -> None:
    fresh = text(await visit(await _new(), role).get("/setup"))
    assert ("Create the API" in fresh) is (role is Role.OWNER)
    begun = text(await visit(await _store(), role).get("/setup"))
    assert ("Create the client" in begun) is (role is Role.OWNER)
    assert "Create the API" not in begun
    assert "Waiting for the first request of billing." in text(await visit(await _store("billing"), role).get("/setup"))


async def test_setup_without_a_script_registers_no_client() -> None:
    store = await _store()
    refused = await visit(store).act("setup.client", client_id="billing", scope="orders.read", resource=ORDERS, jwks="")
    assert "it needs JavaScript" in text(refused)
    assert await store.clients.find("billing") is None


async def test_overview_shows_what_was_counted() -> None:
    store = await _store("billing")
    minute = NOW // 60 * 60
    await store.counts.add([Count("minute", minute, "", "refused", "<i>odd</i>", 3)])
    page = await visit(store, Role.VIEWER).get("/")
    assert "3 in the last hour: 100.0 % of the requests" in text(page)
    assert "<i>odd" not in page.text
    assert "Needs attention" in text(page)
    assert "Needs attention" not in text(await visit(store, Role.VIEWER).get("/?parts=figures+chart"))


@pytest.mark.parametrize(
    ("q", "place"), [("billing", "/console/clients/billing"), (ORDERS, "/console/apis/https%3A%2F%2Forders.example")]
)
async def test_whole_name_leads_to_its_page(q: str, place: str) -> None:
    found = await visit(await _store("billing", "billing-eu"), Role.VIEWER).get(f"/search?q={q}")
    assert found.headers["location"] == place


async def test_search_writes_no_record() -> None:
    """Looking for what is not there is no failure of the visitor."""
    store = await _store("billing")
    assert "No name or id is" in text(await visit(store, Role.VIEWER).get("/search?q=nothing-like-this"))
    assert await store.audit_log.newest() == []


@pytest.mark.parametrize("q", [JWT, f"Bearer {JWT}", f"client_assertion={JWT}", "-----BEGIN PRIVATE KEY-----"])
async def test_a_credential_is_neither_searched_nor_shown(q: str) -> None:
    page = await visit(await _store(), Role.VIEWER).get(f"/search?q={q.replace(' ', '%20')}")
    assert "It was not searched" in text(page)
    assert q not in page.text


async def test_search_of_markup() -> None:
    page = await visit(await _store()).get("/search?q=%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>alert" not in page.text


async def test_settings_with_their_sources() -> None:
    page = text(await visit(await _store(), Role.VIEWER).get("/settings"))
    assert "can be issued" in page

    async def obstacles() -> list[str]:
        return ["store: the disk is full"]

    failing = text(await visit(await _store(), Role.VIEWER, obstacles=obstacles).get("/settings"))
    assert "the disk is full" in failing


async def test_settings_show_how_far_sinks_and_archives_are() -> None:
    store = MemoryStore()
    none = text(await visit(store, Role.VIEWER).get("/settings"))
    assert "behind" not in none
    assert "archived" not in none
    await fill(store, 3)
    await store.cursors.take("audit_file", "one", now=NOW, seconds=15, start=3)
    await store.cursors.take("audit_webhook", "two", now=NOW, seconds=15, start=2)
    await store.cursors.advance("audit_webhook", "two", 0, "<b>siem</b> answered 503")
    shown = await visit(store, Role.VIEWER).get("/settings")
    assert "audit_file 0 behind" in text(shown)
    assert "audit_webhook 1 behind" in text(shown)
    assert "<b>siem" not in shown.text
    (first,) = await store.audit_log.export(limit=1)
    await store.audit_log.drop(build_base(1, first.link, at=NOW, key=b"k" * 32))
    assert "are archived in files" in text(await visit(store, Role.VIEWER).get("/settings"))
