"""Teams: what they own and may grant, and who changes that."""

import pytest
from tests.admin import NOW
from tests.unit.server.console.visits import done, text, visit

from affiant.server.admin.roles import Role
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Api, Team, User

HERE = "/console/settings/teams"
ORDERS, STOCK = "https://orders.example", "https://stock.example"


@pytest.fixture
async def store() -> MemoryStore:
    """A team that owns one of two APIs, and an operator whose role is limited to it."""
    store = MemoryStore()
    await store.teams.add(Team("payments", contact="pay@example.com", created_at=NOW))
    await store.apis.add(Api(ORDERS, "Orders", ("orders.read",), is_default=True, created_at=NOW, team="payments"))
    await store.apis.add(Api(STOCK, "Stock", ("stock.read",), is_default=False, created_at=NOW))
    await store.users.add(User("ann", "owner", handle="h1", created_at=NOW))
    await store.users.add(User("bob", "operator", ("payments",), handle="h2", created_at=NOW))
    return store


async def test_team_shows_what_it_has(store: MemoryStore) -> None:
    page = text(await visit(store).get("/settings/teams/payments"))
    for one in ("pay@example.com", ORDERS, "bob operator", STOCK):
        assert one in page


async def test_what_a_team_may_grant_is_changed(store: MemoryStore) -> None:
    ann = visit(store)
    form = {"team": "payments", "contact": "", "resources": STOCK, "scope": "stock.read", "then": f"{HERE}/payments"}
    page = text(await ann.get(done(await ann.act("team.change", **form))))
    assert "team payments: changed" in page
    team = await store.teams.find("payments")
    assert team is not None
    assert (team.contact, team.resources, team.scope) == (None, (STOCK,), ("stock.read",))


async def test_team_that_owns_something_stays(store: MemoryStore) -> None:
    ann = visit(store)
    done(await ann.act("team.new", team="ops", contact="", then=HERE))
    done(await ann.act("team.remove", team="ops", then=HERE))
    assert "Not done" in text(await ann.act("team.remove", team="payments", then=HERE))
    assert [team.name for team in await store.teams.list()] == ["payments"]


async def test_limited_operator_reads_its_team_alone(store: MemoryStore) -> None:
    bob = visit(store, Role.OPERATOR, "bob", teams=frozenset({"payments"}))
    page = text(await bob.get("/settings/teams/payments"))
    assert ORDERS in page
    assert STOCK not in page
    assert "ann" not in page
    assert (await bob.act("team.change", team="payments", scope="", then=HERE)).status_code == 403


async def test_user_is_limited_to_a_team(store: MemoryStore) -> None:
    ann = visit(store)
    assert "payments" in text(await ann.get("/settings/users/bob"))
    done(await ann.act("user.change", user="bob", role="viewer", then="/console/settings/users/bob"))
    bob = await store.users.find("bob")
    assert bob is not None
    assert bob.teams == ()
