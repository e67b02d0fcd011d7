"""The uses of credentials that many workers add, on every store."""

import asyncio
from collections.abc import Callable

from tests.stores import NOW, nodes, opened

from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Store
from affiant.storage.records import Client, KeyUse


def _use(credential: str, count: int = 1, first_at: int = NOW, last_at: int = NOW, client_id: str = "c") -> KeyUse:
    return KeyUse(client_id, credential, count, first_at, last_at)


async def _listed(store: Store, client_id: str = "c") -> list[KeyUse]:
    return sorted(await store.key_uses.list(client_id), key=lambda use: use.credential)


async def test_uses_add_up(store: Store) -> None:
    """Counts are added; the first stays the first, and the last the last, in any order of calls."""
    await store.key_uses.add([_use("a", 3, NOW + 5, NOW + 9), _use("b", 1)])
    await store.key_uses.add([_use("a", 4, NOW + 1, NOW + 7), _use("a", 9, client_id="other")])
    assert await _listed(store) == [_use("a", 7, NOW + 1, NOW + 9), _use("b", 1)]
    assert await _listed(store, "other") == [_use("a", 9, client_id="other")]


async def test_an_unknown_client_has_no_uses(store: Store) -> None:
    await store.key_uses.add([])
    assert await _listed(store) == []
    assert await _listed(store, "c\0") == []


async def test_one_credential_twice_in_one_call(store: Store) -> None:
    await store.key_uses.add([_use("a", 3, NOW + 5, NOW + 9), _use("b"), _use("a", 4, NOW + 1, NOW + 7)])
    assert await _listed(store) == [_use("a", 7, NOW + 1, NOW + 9), _use("b")]


async def test_uses_are_no_change_of_the_registry(store: Store) -> None:
    """Otherwise every node would re-read all clients each second."""
    before = await store.version()
    await store.key_uses.add([_use("a")])
    assert await store.version() == before


async def test_many_add_at_once(make_store: Callable[..., Store]) -> None:
    """Workers and nodes, in different orders: no use is lost, and there is no deadlock."""
    names = [f"k{number}" for number in range(20)]
    async with nodes(make_store, 3) as stores:
        adding = [
            store.key_uses.add([_use(name, 2) for name in (names if number % 2 else names[::-1])])
            for number in range(20)
            for store in stores
        ]
        await asyncio.gather(*adding)
        assert [use.count for use in await _listed(stores[0])] == [120] * len(names)


async def test_they_outlive_a_restart_and_go_with_the_client(make_store: Callable[..., Store]) -> None:
    if make_store is not MemoryStore:
        async with opened(make_store()) as store:
            await store.key_uses.add([_use("a", 5)])
        async with opened(make_store()) as store:
            assert await _listed(store) == [_use("a", 5)]
    async with opened(make_store()) as store:
        await store.key_uses.add([_use("b")])
        await store.clients.add(Client("c", "private_key_jwt"))
        await store.clients.remove("c")
        assert await _listed(store) == []


async def test_uses_of_several_clients_are_listed_together(store: Store) -> None:
    await store.key_uses.add([_use("a", client_id=name) for name in ("c1", "c2", "c3")] + [_use("b", client_id="c1")])
    found = await store.key_uses.list("c1", "c3", "none", "\0")
    assert sorted((use.client_id, use.credential) for use in found) == [("c1", "a"), ("c1", "b"), ("c3", "a")]
    assert await store.key_uses.list() == []
