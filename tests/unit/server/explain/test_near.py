"""A mistyped name is found at a cost that does not grow with the registry."""

import pytest

from affiant.server.explain import near
from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Clients
from affiant.storage.records import Client

CROWD = [f"client-{number:05}" for number in range(3000)]


class _Counting:
    """Lists the clients of a store, and counts them."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self.listed = 0

    async def list(self, *, after: str = "", limit: int | None = None) -> list[Client]:
        found = await self._clients.list(after=after, limit=limit)
        self.listed += len(found)
        assert len(found) <= near.PAGE, "so many are compared without a turn of the event loop"
        return found


async def _find(name: str, *registered: str) -> tuple[tuple[str, ...], int]:
    store = MemoryStore()
    for client_id in registered:
        await store.clients.add(Client(client_id, "private_key_jwt"))
    counting = _Counting(store.clients)
    return await near.find(counting, name), counting.listed  # type: ignore[arg-type]


@pytest.mark.parametrize("typed", ["biling", "Billing", "billng", "biilling", "billing ", "illing"])
async def test_name_is_found_among_few(typed: str) -> None:
    found, _ = await _find(typed, "billing", "orders")
    assert found == ("billing",)


@pytest.mark.parametrize("typed", ["biling", "Billing", "billng", "biilling", "client-0299"])
async def test_name_is_found_among_thousands(typed: str) -> None:
    (found,), listed = await _find(typed, "billing", *CROWD)
    assert found == ("client-02999" if typed.startswith("client") else "billing")
    assert listed <= 14 * near.PAGE


@pytest.mark.parametrize("typed", ["q" * 64, "q" * 100_000, "\0", "\ud800"])
async def test_nothing_like_it_is_found_as_quickly(typed: str) -> None:
    found, listed = await _find(typed, "billing", *CROWD)
    assert (found, listed <= 14 * near.PAGE) == ((), True)
