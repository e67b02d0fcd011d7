"""The cache of clients: what it must never keep."""

import asyncio
from dataclasses import replace

import pytest

from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import directory
from affiant.server.registry.directory import Directory
from affiant.server.request.caller import Caller
from affiant.server.token import policy
from affiant.server.token.grants.base import Authorization
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Api, Client
from affiant.testing import ISSUER

CLIENT = Client("c1", "private_key_jwt")


async def test_record_read_before_a_change_is_not_kept_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that answers over a network may answer the older question last."""
    store, found, changed = MemoryStore(), asyncio.Event(), asyncio.Event()
    await store.clients.add(CLIENT)
    known = Directory(ISSUER, store, MasterKey.from_bytes(bytes(32)), fresh_seconds=0.0)
    find = store.clients.find

    async def late(client_id: str) -> Client | None:
        record = await find(client_id)
        found.set()
        await changed.wait()
        return record

    monkeypatch.setattr(store.clients, "find", late)
    asking = asyncio.create_task(known.client("c1"))
    await found.wait()
    await store.clients.update("c1", lambda client: replace(client, enabled=False))
    await known.refresh()
    changed.set()
    assert (await asking) is not None  # it asked before the change
    now = await known.client("c1")
    assert now is not None
    assert not now.record.enabled


async def test_made_up_names_push_out_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MAX_STRANGERS", 2)
    store = MemoryStore()
    await store.clients.add(CLIENT)
    known = Directory(ISSUER, store, MasterKey.from_bytes(bytes(32)))
    first = await known.client("c1")
    for number in range(5):
        assert await known.client(f"x{number}") is None
    assert await known.client("c1") is first
    assert list(known._strangers) == ["x3", "x4"]


async def test_ever_new_requests_do_not_fill_the_memory() -> None:
    """A client is remembered with what it got, a few times, each of few names."""
    store, names = MemoryStore(), tuple(f"s{number}" for number in range(100))
    await store.apis.add(Api("https://orders.example", "orders", names, is_default=True, created_at=0))
    await store.clients.add(replace(CLIENT, scope=names))
    known = Directory(ISSUER, store, MasterKey.from_bytes(bytes(32)))
    await known.refresh()
    client = await known.client("c1")
    assert client is not None
    caller = Caller(client, client.record.token_endpoint_auth_method)
    for number in range(100):
        for asked in (names[number:], names[: number % 10 + 1]):
            granted = policy.grant(Authorization(asked, ()), caller, known, lifetime=60, now=0)
            assert granted.scope == asked
    assert 1 < len(client.granted) <= policy.MAX_REMEMBERED
    assert all(len(granted.scope) < policy.MAX_NAMES for granted in client.granted.values())
