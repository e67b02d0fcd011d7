"""A change of one client that depends on another one: judged in the commit, on every store."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from tests.stores import nodes

from affiant.errors import Error
from affiant.storage.ports import Store
from affiant.storage.records import Client, NotFound
from affiant.storage.registry import OtherClient

A, B = Client("a", "private_key_jwt"), Client("b", "private_key_jwt")


class AloneError(Error):
    """Nobody is left."""


def needing(client_id: str) -> OtherClient:
    def check(before: Client, after: Client | None, other: Client | None) -> None:
        is_lost = before.enabled and (after is None or not after.enabled)
        if is_lost and (other is None or not other.enabled):
            raise AloneError

    return OtherClient(client_id, check)


def off(client: Client) -> Client:
    return replace(client, enabled=False)


async def test_check_gets_the_stored_clients(store: Store) -> None:
    seen: list[tuple[Client, Client | None, Client | None]] = []
    for client in (A, B):
        await store.clients.add(client)
    for name in ("b", "nobody", "", "a"):
        await store.clients.update(
            "a", lambda client: client, condition=OtherClient(name, lambda *args: seen.append(args))
        )
    await store.clients.remove("a", condition=OtherClient("b", lambda *args: seen.append(args)))
    assert seen == [(A, A, B), (A, A, None), (A, A, None), (A, A, A), (A, None, B)]


async def test_a_refused_change_is_not_made(store: Store) -> None:
    audited: list[object] = []
    await store.clients.add(A)
    before = await store.version()

    def audit(*change: object) -> list[object]:
        audited.append(change)
        return []

    for attempt in (
        lambda: store.clients.update("a", off, audit=audit, condition=needing("b")),  # type: ignore[arg-type]
        lambda: store.clients.remove("a", audit=audit, condition=needing("b")),  # type: ignore[arg-type]
    ):
        with pytest.raises(AloneError):
            await attempt()
    with pytest.raises(NotFound):
        await store.clients.remove("nobody", condition=needing("a"))
    assert (await store.clients.find("a"), await store.version(), audited) == (A, before, [])


@pytest.mark.parametrize("make_store", ["sqlite", "postgres"], indirect=True)
async def test_one_of_two_that_end_each_other_stays(make_store: Callable[..., Store]) -> None:
    """On two nodes at once; removed or disabled, one client always stays."""
    async with nodes(make_store) as (first, second):
        ends: list[Callable[[Store, str, str], Awaitable[object]]] = [
            lambda store, name, other: store.clients.remove(name, condition=needing(other)),
            lambda store, name, other: store.clients.update(name, off, condition=needing(other)),
        ]
        for number, (end_a, end_b) in enumerate(itertools.product(ends, repeat=2)):
            for _ in range(5):
                a, b = f"a{number}{_}", f"b{number}{_}"
                for name in (a, b):
                    await first.clients.add(Client(name, "private_key_jwt"))
                done = await asyncio.gather(end_a(first, a, b), end_b(second, b, a), return_exceptions=True)
                assert [type(result) for result in done].count(AloneError) == 1, done
                left = [client for name in (a, b) if (client := await second.clients.find(name)) and client.enabled]
                assert len(left) == 1
