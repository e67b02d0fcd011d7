"""Named cursors with a lease, on every store."""

import asyncio
from collections.abc import Callable

from tests.stores import NOW, at, nodes, opened, race, start

from affiant.storage.history.cursors import Cursor
from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Store


async def _take(store: Store, holder: str, now: int = NOW, *, seconds: int = 30) -> int | None:
    return await store.cursors.take("file", holder, now=now, seconds=seconds)


async def test_one_holder_at_a_time(store: Store) -> None:
    """The first gets it, keeps it and renews it; another waits for the end of its lease, to the second."""
    assert await _take(store, "a") == 0
    assert await store.cursors.advance("file", "a", 5)
    assert await _take(store, "b", NOW + 29) is None
    assert await _take(store, "a", NOW + 29) == 5
    assert await _take(store, "b", NOW + 58) is None
    assert await _take(store, "b", NOW + 59) == 5
    assert await _take(store, "a", NOW + 59) is None


async def test_who_lost_the_lease_moves_nothing(store: Store) -> None:
    """A process that slept through its lease learns it at its next step, and its problem is not noted either."""
    await _take(store, "a")
    assert await store.cursors.advance("file", "a", 7)
    await _take(store, "b", NOW + 30)
    assert not await store.cursors.advance("file", "a", 9, "refused")
    assert await store.cursors.list() == [Cursor("file", 7, "b", NOW + 60)]
    assert not await store.cursors.advance("none", "a", 9)


async def test_a_late_holder_may_finish_while_nobody_else_came(store: Store) -> None:
    await _take(store, "a", seconds=1)
    assert await store.cursors.advance("file", "a", 7)
    assert await _take(store, "b", NOW + 1000) == 7


async def test_a_cursor_never_goes_back(store: Store) -> None:
    await _take(store, "a")
    await store.cursors.advance("file", "a", 7)
    assert await store.cursors.advance("file", "a", 3, "it refuses")
    assert await store.cursors.list() == [Cursor("file", 7, "a", NOW + 30, "it refuses")]
    assert await store.cursors.advance("file", "a", 2**40)
    assert await store.cursors.list() == [Cursor("file", 2**40, "a", NOW + 30)]


async def test_a_clock_that_was_set_back_stops_nobody(store: Store) -> None:
    """A lease that was taken in the future would last until then; one that clocks a little apart took is kept."""
    await _take(store, "a", NOW + 86_400)
    assert await _take(store, "b") == 0
    assert await _take(store, "c", NOW - 30) is None
    assert await _take(store, "c", NOW - 31) == 0


async def test_a_released_cursor_is_free_at_once(store: Store) -> None:
    await _take(store, "a")
    await store.cursors.release("file", "b")
    assert await _take(store, "b") is None
    await store.cursors.release("file", "a")
    assert await _take(store, "b") == 0


async def test_a_new_cursor_begins_where_it_is_told(store: Store) -> None:
    """And an old one stays where it is."""
    assert await store.cursors.take("hook", "a", now=NOW, seconds=30, start=12) == 12
    assert await store.cursors.take("hook", "a", now=NOW, seconds=30, start=99) == 12
    assert await _take(store, "b") == 0
    assert [cursor.name for cursor in await store.cursors.list()] == ["file", "hook"]
    assert await store.cursors.remove("hook")
    assert not await store.cursors.remove("hook")
    assert not await store.cursors.advance("hook", "a", 13)


async def test_cursors_are_no_change_of_the_registry(store: Store) -> None:
    """Otherwise every node would re-read all clients each second."""
    before = await store.version()
    await _take(store, "a")
    await store.cursors.advance("file", "a", 1)
    assert await store.version() == before


async def test_of_many_at_once_one_gets_it(make_store: Callable[..., Store]) -> None:
    async with nodes(make_store, 3) as stores:
        for round_ in range(10):
            now = NOW + 30 * round_
            taken = await asyncio.gather(
                *(_take(store, f"{place}-{task}", now) for place, store in enumerate(stores) for task in range(5))
            )
            assert [number for number in taken if number is not None] == [0]


_PROGRAM = """
import asyncio, sys
from tests.stores import NOW, at

async def main():
    store = at(sys.argv[1])
    await store.open()
    print("ready", flush=True)
    sys.stdin.readline()
    for turn in range(100):
        number = await store.cursors.take("file", sys.argv[2], now=NOW + turn, seconds=1)
        if number is not None and await store.cursors.advance("file", sys.argv[2], number + 1):
            print(number + 1)
    await store.close()

asyncio.run(main())
"""


async def test_processes_never_both_take_a_step(place: str) -> None:
    """Each step of a cursor is made by one process, however they take turns."""
    said = race({name: start(_PROGRAM, place, name) for name in "ab"})
    steps = sorted(int(line) for lines in said.values() for line in lines)
    assert steps == list(range(1, len(steps) + 1))
    async with opened(at(place)) as store:
        assert (await store.cursors.list())[0].number == len(steps) >= 50


async def test_they_outlive_a_restart(make_store: Callable[..., Store]) -> None:
    if make_store is MemoryStore:
        return
    async with opened(make_store()) as store:
        await _take(store, "a")
        await store.cursors.advance("file", "a", 5)
    async with opened(make_store()) as store:
        assert await _take(store, "b") is None
        assert await _take(store, "b", NOW + 30) == 5
