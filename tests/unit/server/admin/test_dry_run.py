"""What one request for a judgement of planned changes may cost, and that it knows of all owners all the same."""

from collections.abc import Sequence
from typing import Any

import pytest
from tests.admin import ADMIN, asking, member

from affiant.server.admin.roles import Principal, Role
from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Clients
from affiant.storage.records import Client

VIEWER = Principal("v", Role.VIEWER)


def demote(name: str) -> dict[str, Any]:
    return {"action": "update", "kind": "client", "name": name, "members": {"scope": []}}


async def judge(store: MemoryStore, *changes: dict[str, Any]) -> list[str]:
    async with asking(store, VIEWER) as http:
        reply = await http.post(f"{ADMIN}/dry-run", json={"changes": changes})
    assert reply.status_code == 200, reply.text
    return [refused["name"] for refused in reply.json()["refused"]]


@pytest.mark.attack(14)
async def test_all_clients_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A viewer can name the last owner a thousand times in one request, and each time another owner is looked for."""
    store, pages = MemoryStore(), list[str]()
    for name in ("a", *(f"client{number}" for number in range(50))):
        await store.clients.add(member(name) if name == "a" else member(name, Role.VIEWER))
    read = Clients.list

    async def counted(self: Clients, *, after: str = "", limit: int = 100) -> Sequence[Client]:
        pages.append(after)
        return await read(self, after=after, limit=limit)

    monkeypatch.setattr(Clients, "list", counted)
    assert await judge(store, *[demote("a")] * 200) == ["a"] * 200
    assert len(pages) <= 2


async def test_owners_of_changes_before_are_counted() -> None:
    store = MemoryStore()
    for name in ("a", "b"):
        await store.clients.add(member(name))
    assert await judge(store, demote("a"), demote("b")) == ["b"]
    remove = {"action": "remove", "kind": "client", "name": "b"}
    assert await judge(store, remove, demote("a")) == ["a"]
    await store.clients.add(member("v", Role.VIEWER))
    raise_ = {**demote("v"), "members": {"scope": [Role.OWNER.scope]}}
    assert await judge(store, raise_, remove, demote("a")) == []
