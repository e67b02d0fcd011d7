"""A dry run of changes of trusts and rules: judged together, with the role that they need."""

from collections.abc import Sequence
from typing import Any

import pytest
from tests.admin import ADMIN, NOW, asking, member

from affiant.oauth import names
from affiant.server.admin.roles import Principal, Role
from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Rules, Trusts
from affiant.storage.records import Client, Rule, Trust

VIEWER = Principal("v", Role.VIEWER)
RULE = {"trust": "ci", "client_id": "deploy", "conditions": {"repository_id": ["42"]}}
CLIENT = {"token_endpoint_auth_method": names.FEDERATED_JWT}


def change(action: str, kind: str, name: str, /, **members: Any) -> dict[str, Any]:
    return {"action": action, "kind": kind, "name": name, "members": members}


CREATED = [
    change("create", "trust", "ci", name="ci", issuer="https://ci.example"),
    change("create", "client", "deploy", client_id="deploy", **CLIENT),
    change("create", "rule", "deploy", name="deploy", **RULE),
]


async def judge(store: MemoryStore, *changes: dict[str, Any]) -> tuple[list[tuple[str, str]], str]:
    """The kind and name of each change that would be refused, and the role that all need."""
    async with asking(store, VIEWER) as http:
        reply = await http.post(f"{ADMIN}/dry-run", json={"changes": changes})
    assert reply.status_code == 200, reply.text
    assert (await store.trusts.list(), await store.rules.list()) == await stored(store)
    return [(refused["kind"], refused["name"]) for refused in reply.json()["refused"]], reply.json()["needs"]


async def stored(store: MemoryStore) -> tuple[list[Trust], list[Rule]]:
    return await store.trusts.list(), await store.rules.list()


@pytest.fixture
async def store() -> MemoryStore:
    made = MemoryStore()
    await made.clients.add(Client("deploy", names.FEDERATED_JWT, created_at=NOW))
    await made.clients.add(member("owner"))
    await made.trusts.add(Trust("ci", "https://ci.example"))
    await made.rules.add(Rule("deploy", "ci", "deploy"))
    return made


async def test_changes_are_judged_with_those_before_them() -> None:
    assert await judge(MemoryStore(), *CREATED) == ([], "owner")
    assert await judge(MemoryStore(), CREATED[2]) == ([("rule", "deploy")], "operator")
    twice = change("create", "trust", "again", name="again", issuer="https://ci.example")
    assert (await judge(MemoryStore(), *CREATED, twice))[0] == [("trust", "again")]
    assert (await judge(MemoryStore(), twice, change("remove", "trust", "again"), *CREATED))[0] == []


async def test_removals(store: MemoryStore) -> None:
    trust, rule = change("remove", "trust", "ci"), change("remove", "rule", "deploy")
    assert (await judge(store, trust))[0] == [("trust", "ci")]
    assert await judge(store, rule, trust) == ([], "owner")
    assert (await judge(store, rule, trust, rule, trust))[0] == [("rule", "deploy"), ("trust", "ci")]
    client = change("remove", "client", "deploy")
    assert (await judge(store, client, rule))[0] == [("rule", "deploy")]
    assert (await judge(store, client, trust))[0] == []
    renamed = change("create", "rule", "other", name="other", **RULE)
    assert (await judge(store, client, renamed))[0] == [("rule", "other")]


async def test_changes(store: MemoryStore) -> None:
    assert await judge(store, change("update", "rule", "deploy", conditions={"repository_id": ["1"]})) == (
        [],
        "operator",
    )
    assert (await judge(store, change("update", "rule", "deploy", conditions={"sub": ["*"]})))[0] == [
        ("rule", "deploy")
    ]
    assert (await judge(store, change("update", "rule", "deploy", trust="other")))[0] == [("rule", "deploy")]
    assert (await judge(store, change("update", "rule", "nobody", enabled=False)))[0] == [("rule", "nobody")]
    assert await judge(store, change("update", "trust", "ci", replay="reused")) == ([], "operator")
    assert (await judge(store, change("update", "trust", "ci", jwks={"keys": []})))[0] == [("trust", "ci")]
    later = {
        **CREATED[0],
        "name": "b",
        "members": {"name": "b", "issuer": "https://b.example"},
        "then": {"enabled": False},
    }
    assert (await judge(store, later))[0] == []


async def test_an_owner_is_needed_for_clients_that_have_a_role(store: MemoryStore) -> None:
    of_trust = change("update", "trust", "ci", replay="reused")
    rule = change("create", "rule", "admin", name="admin", **{**RULE, "client_id": "owner"})
    assert (await judge(store, rule))[1] == "owner"
    assert (await judge(store, of_trust))[1] == "operator"
    await store.rules.add(Rule("admin", "ci", "owner"))
    assert (await judge(store, of_trust))[1] == "owner"
    assert (await judge(store, change("update", "rule", "admin", enabled=False)))[1] == "owner"


@pytest.mark.attack(14)
async def test_all_trusts_and_rules_are_read_once(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A viewer plans many changes in one request, each of which is judged among all others."""
    reads = list[str]()
    for ports in (Trusts, Rules):
        read = ports.list

        async def counted(self: Any, *, read: Any = read, **more: Any) -> Sequence[Any]:
            reads.append(type(self).__name__)
            found: Sequence[Any] = await read(self, **more)
            return found

        monkeypatch.setattr(ports, "list", counted)
    of_trust, of_rule = (
        change("update", "trust", "ci", replay="reused"),
        change("update", "rule", "deploy", scope=["r"]),
    )
    async with asking(store, VIEWER) as http:
        reply = await http.post(f"{ADMIN}/dry-run", json={"changes": [of_trust, of_rule] * 100})
    assert len(reply.json()["refused"]) == 100  # the rule has no conditions
    assert sorted(reads) == ["Rules", "Trusts"]
