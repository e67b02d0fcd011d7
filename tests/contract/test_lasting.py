"""What a store that lasts promises to one process: what was committed stays, and what was begun is committed or refused."""

import asyncio

import pytest
from tests.stores import at, entry, opened, run

from affiant.errors import StoreError
from affiant.storage.entries import Outcome


async def test_opening_again_keeps_everything(place: str) -> None:
    store = at(place)
    for expected in (Outcome.FIRST, Outcome.REPLAYED):
        async with opened(store):
            assert await store.ledger.claim(entry(1)) is expected
    with pytest.raises(StoreError, match=r"clos|not open"):
        await store.ledger.claim(entry(2))
    with pytest.raises(StoreError, match="not open"):
        await store.clients.list()


async def test_closing_commits_what_is_waiting(place: str) -> None:
    async with opened(at(place)) as store:
        waiting = [asyncio.ensure_future(store.ledger.claim(entry(n))) for n in range(600)]
        await asyncio.sleep(0)
    assert set(await asyncio.gather(*waiting)) == {Outcome.FIRST}
    with pytest.raises(StoreError, match=r"clos|not open"):
        await store.ledger.claim(entry(0))


async def test_who_stopped_waiting_is_no_trouble(place: str) -> None:
    async with opened(at(place)) as store:
        first = asyncio.ensure_future(store.ledger.claim(entry(0)))
        await asyncio.sleep(0)
        waiting = asyncio.ensure_future(store.ledger.claim(entry(1)))
        await asyncio.sleep(0)
        waiting.cancel()
        assert await first is Outcome.FIRST
        assert await store.ledger.claim(entry(2)) is Outcome.FIRST


async def test_the_highest_number_is_remembered(place: str) -> None:
    """Rows that are cut off the end leave it, and it is not given again."""
    async with opened(at(place)) as store:
        for number in range(4):
            await store.ledger.claim(entry(number))
        await run(place, "DELETE FROM audit WHERE number > 2")
        head = await store.audit_log.head()
        assert (head.number, head.given) == (2, 4)
        await store.ledger.claim(entry(5))
        assert [row.number for row in await store.audit_log.export()] == [1, 2, 5]
