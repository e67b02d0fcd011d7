"""Search finds whatever has a name or an id, and for a caller limited to teams what these own."""

from dataclasses import replace
from typing import Any

import pytest
from tests.admin import OWNER, asking
from tests.stores import NOW, entry

from affiant.jose import keys
from affiant.server.admin.roles import Principal, Role
from affiant.server.registry.credentials import keys as client_keys
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Api, Client


@pytest.fixture
async def store() -> MemoryStore:
    """Two clients of different teams, one with a key; an API; a request."""
    store = MemoryStore()
    held = client_keys.build(keys.generate("ES256").public(), now=NOW)
    await store.clients.add(Client("billing", "private_key_jwt", keys=(replace(held, kid="k-2026"),), team="payments"))
    await store.clients.add(Client("billing-eu", "private_key_jwt", team="europe"))
    await store.apis.add(Api("https://orders.example", "Orders", (), is_default=True, created_at=NOW, team="payments"))
    await store.ledger.claim(entry(1, trace_id="trace-1"))
    return store


async def search(store: MemoryStore, q: str, who: Principal = OWNER) -> list[tuple[Any, ...]]:
    async with asking(store, who) as http:
        found = (await http.get("/search", params={"q": q})).json()
    return [(hit["kind"], hit["name"], hit["client_id"], hit["is_exact"]) for hit in found["hits"]]


async def test_names_and_their_beginnings(store: MemoryStore) -> None:
    assert await search(store, "billing") == [
        ("client", "billing", None, True),
        ("client", "billing-eu", None, False),
    ]
    assert await search(store, "https://o") == [("api", "https://orders.example", None, False)]
    assert await search(store, "nothing-of-the-kind") == []


async def test_ids(store: MemoryStore) -> None:
    assert await search(store, "trace-1") == [("event", "trace-1", None, True)]


async def test_key_by_kid_and_by_thumbprint(store: MemoryStore) -> None:
    await store.clients.update("billing-eu", lambda client: replace(client, keys=(_key("kid-long-enough"),)))
    thumbprint = client_keys.thumbprint((await store.clients.find("billing-eu")).keys[0])  # type: ignore[union-attr]
    for text in ("kid-long-enough", thumbprint):
        assert await search(store, text) == [("key", text, "billing-eu", True)]


async def test_only_what_the_teams_own(store: MemoryStore) -> None:
    limited = Principal("user:eve", Role.VIEWER, is_user=True, teams=frozenset({"europe"}))
    assert await search(store, "billing", limited) == [("client", "billing-eu", None, False)]
    assert await search(store, "https://o", limited) == []
    assert await search(store, "trace-1", limited) == []


def _key(kid: str) -> Any:
    return replace(client_keys.build(keys.generate("ES256").public(), now=NOW), kid=kid)
