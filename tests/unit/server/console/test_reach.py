"""Each screen, for a role that may not see all: it shows what this role may see, and is no refusal as a whole."""

import pytest
from tests.admin import MASTER, NOW
from tests.browser.screens import SCREENS, at
from tests.unit.server.console.visits import text, visit

from affiant.server.admin.roles import Role
from affiant.storage.entries import AuditRecord, Entry
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Api, ClaimCondition, Client, Rule, Team, Trust, User

ORDERS = "https://orders.example"
NAMES = {"client": "billing", "api": ORDERS, "trust": "github", "trace": "refusal00000", "user": "ann"}
PAYMENTS = frozenset({"payments"})


async def _server() -> MemoryStore:
    """A server on which the team payments owns clients, an API and a trust; a request of its client was refused."""
    store = MemoryStore(audit_key=MASTER.audit)
    await store.teams.add(Team("payments", created_at=NOW - 60))
    for name, role in (("ann", "owner"), ("eve", "viewer")):
        await store.users.add(User(name, role, handle=f"handle of {name}", created_at=NOW))
    await store.apis.add(Api(ORDERS, "orders", ("orders.read",), is_default=True, created_at=NOW, team="payments"))
    for name, method in (("billing", "private_key_jwt"), ("warehouse", "private_key_jwt"), ("deploy", "federated_jwt")):
        await store.clients.add(Client(name, method, scope=("orders.read",), created_at=NOW - 60, team="payments"))
    await store.trusts.add(Trust("github", "https://token.actions.githubusercontent.com", team="payments"))
    await store.rules.add(Rule("deploy", "github", "deploy", (ClaimCondition("repository_id", ("74",)),)))
    record = AuditRecord(NOW, NAMES["trace"], "token", "refused", reason="assertion.audience", client_id="billing")
    await store.ledger.claim(Entry(record))
    return store


@pytest.mark.parametrize(
    ("role", "teams"),
    [(Role.VIEWER, PAYMENTS), (Role.OPERATOR, PAYMENTS), (Role.VIEWER, None), (Role.OPERATOR, None)],
    ids=["viewer of a team", "operator of a team", "viewer", "operator"],
)
async def test_no_screen_is_refused_as_a_whole(role: Role, teams: frozenset[str] | None) -> None:
    eve = visit(await _server(), role, "eve", teams=teams)
    pages = {screen.name: await eve.get(at(screen, NAMES)) for screen in SCREENS}
    refused = {name: text(page) for name, page in pages.items() if page.status_code != 200}
    assert not refused


async def test_the_audit_log_of_a_team_without_the_chain() -> None:
    store = await _server()
    of_team = text(await visit(store, Role.VIEWER, "eve", teams=PAYMENTS).get("/audit"))
    assert "assertion.audience" in of_team
    assert "limited to payments" in of_team
    assert "Is the chain intact?" not in of_team
    assert "audit-chain.jsonl" not in of_team
    assert "Is the chain intact?" in text(await visit(store, Role.VIEWER, "eve").get("/audit"))
