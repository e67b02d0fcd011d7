"""The promises about initial access tokens, on every store: of many that spend the last use, exactly one succeeds."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from tests.stores import nodes

from affiant.storage.entries import AuditRecord, Entry, Revocation
from affiant.storage.ports import Store
from affiant.storage.records import AlreadyExists, Client, InitialAccessToken, NotFound

FULL = InitialAccessToken("t1", b"\x00\xff" * 16, ("read",), ("https://api.example",), 1, 2, 3, ("payment",))


def _token(name: str = "t1", *, uses: int = 1) -> InitialAccessToken:
    return InitialAccessToken(name, name.encode() * 4, (), (), 1_800_000_000, 1_900_000_000, uses)


def _client(number: int = 0) -> Client:
    return Client(f"c{number}", "private_key_jwt")


def _audited(trace_id: str) -> Callable[[object, object], Sequence[Entry]]:
    return lambda before, after: [
        Entry(AuditRecord(1, trace_id, "register", "read", detail=f"{before is None} {after is None}"))
    ]


async def _left(store: Store, digest: bytes) -> int:
    found = await store.initial_access_tokens.find(digest)
    assert found is not None
    return found.uses


async def test_a_token_comes_back_whole(store: Store) -> None:
    await store.initial_access_tokens.add(FULL)
    assert await store.initial_access_tokens.find(FULL.digest) == FULL
    assert await store.initial_access_tokens.find(b"x") is None


async def test_the_newest_comes_first(store: Store) -> None:
    for name in ("a", "b", "c"):
        await store.initial_access_tokens.add(_token(name))
    assert [token.id for token in await store.initial_access_tokens.list()] == ["c", "b", "a"]


async def test_one_name_is_added_once(store: Store) -> None:
    adding = (store.initial_access_tokens.add(_token()) for _ in range(10))
    added = await asyncio.gather(*adding, return_exceptions=True)
    assert added.count(None) == 1
    assert sum(isinstance(result, AlreadyExists) for result in added) == 9


async def test_a_removed_token_registers_no_client(store: Store) -> None:
    await store.initial_access_tokens.add(_token())
    await store.initial_access_tokens.remove("t1", audit=_audited("x"))
    assert await store.initial_access_tokens.list() == []
    with pytest.raises(NotFound):
        await store.clients.add(_client(), spend="t1")
    with pytest.raises(NotFound):
        await store.initial_access_tokens.remove("t1")
    assert await store.clients.find("c0") is None
    found = await store.audit_log.find("x")
    assert found is not None
    assert found["detail"] == "False True"


async def test_a_use_is_spent_with_the_client(store: Store) -> None:
    await store.initial_access_tokens.add(_token(uses=2))
    await store.clients.add(_client(), spend="t1", audit=_audited("x"))
    assert await _left(store, _token().digest) == 1
    found = await store.audit_log.find("x")
    assert found is not None
    assert found["detail"] == "True False"


async def test_one_of_many_spends_the_last_use(store: Store) -> None:
    await store.initial_access_tokens.add(_token())
    adding = (store.clients.add(_client(number), spend="t1", audit=_audited(f"x{number}")) for number in range(20))
    added = await asyncio.gather(*adding, return_exceptions=True)
    assert added.count(None) == 1
    assert sum(isinstance(result, NotFound) for result in added) == 19
    (client,) = await store.clients.list()
    assert await _left(store, _token().digest) == 0
    records = [await store.audit_log.find(f"x{number}") for number in range(20)]
    assert sum(found is not None for found in records) == 1
    assert records[int(client.client_id[1:])] is not None


async def test_of_many_uses_none_is_lost_or_made(store: Store) -> None:
    await store.initial_access_tokens.add(_token(uses=7))
    adding = (store.clients.add(_client(number), spend="t1") for number in range(20))
    added = await asyncio.gather(*adding, return_exceptions=True)
    assert (added.count(None), len(await store.clients.list())) == (7, 7)
    assert await _left(store, _token().digest) == 0


async def test_nodes_share_the_uses(make_store: Callable[..., Store]) -> None:
    async with nodes(make_store) as (one, other):
        await one.initial_access_tokens.add(_token(uses=3))
        adding = ((one, other)[number % 2].clients.add(_client(number), spend="t1") for number in range(10))
        added = await asyncio.gather(*adding, return_exceptions=True)
        assert (added.count(None), sum(isinstance(result, NotFound) for result in added)) == (3, 7)


async def test_a_name_that_is_taken_spends_nothing(store: Store) -> None:
    await store.initial_access_tokens.add(_token())
    await store.clients.add(_client())
    with pytest.raises(AlreadyExists):
        await store.clients.add(_client(), spend="t1", audit=_audited("x"))
    assert await _left(store, _token().digest) == 1
    assert await store.audit_log.find("x") is None


async def test_a_client_goes_with_its_tokens_in_one_commit(store: Store) -> None:
    await store.clients.add(_client())
    ended = Revocation("client", "c0", 1_800_000_000, 1_800_003_600)
    record = AuditRecord(1, "x", "registration", "deleted")
    await store.clients.remove("c0", audit=lambda *_: [Entry(record, revocations=(ended,))])
    assert await store.revocations.find([("client", "c0")]) == [ended]
    assert await store.audit_log.find("x") is not None
