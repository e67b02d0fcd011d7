"""The counts that many workers and nodes add, on every store."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest
from tests.stores import NOW, at, nodes, opened, race, start

from affiant.storage import sql
from affiant.storage.history.counts import (
    AGE,
    DAY,
    HOUR,
    ISSUED,
    KINDS,
    MINUTE,
    REFUSED,
    SERVER,
    Count,
    Selection,
    Total,
    begin,
)
from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Store
from affiant.storage.postgres import PostgresStore
from affiant.storage.records import Client
from affiant.storage.sql import SqlCounts
from affiant.storage.sqlite import SqliteStore

AT = begin(DAY, NOW)
ALWAYS = (0, 2**40)


def _count(number: int = 1, *, unit: str = HOUR, at: int = AT, client_id: str = "c", label: str = "") -> Count:
    return Count(unit, at, client_id, ISSUED, label, number)


def _refused(number: int, label: str, *, client_id: str = "c", at: int = AT) -> Count:
    return Count(HOUR, at, client_id, REFUSED, label, number)


async def _register(store: Store, *names: str) -> None:
    for name in names:
        await store.clients.add(Client(name, "private_key_jwt"))


async def _listed(store: Store, *client_ids: str, unit: str = HOUR) -> list[Count]:
    return await store.counts.list(Selection(unit, *ALWAYS, client_ids))


async def test_counts_add_up(store: Store) -> None:
    await _register(store, "c")
    await store.counts.add([_count(3), _refused(1, "assertion.expired"), _count(4)])
    await store.counts.add([_count(5), _count(2, unit=DAY), _count(9, client_id=SERVER)])
    await store.counts.add([])
    assert await _listed(store, "c") == [_count(12), _refused(1, "assertion.expired")]
    assert await _listed(store, "c", unit=DAY) == [_count(2, unit=DAY)]
    assert await _listed(store, SERVER) == [_count(9, client_id=SERVER)]
    assert await _listed(store) == []


async def test_a_selection_has_its_first_instant_and_not_its_last(store: Store) -> None:
    times = [AT + 60 * number for number in range(10)]
    await store.counts.add([_count(number, unit=MINUTE, at=at, client_id=SERVER) for number, at in enumerate(times)])
    found = await store.counts.list(Selection(MINUTE, times[3], times[6], kinds=(ISSUED,)))
    assert [(count.at, count.count) for count in found] == [(times[3], 3), (times[4], 4), (times[5], 5)]
    assert await store.counts.list(Selection(MINUTE, *ALWAYS, kinds=(REFUSED,))) == []
    assert await store.counts.list(Selection(MINUTE, *ALWAYS, kinds=())) == []


async def test_ten_thousand_strangers_make_no_row(store: Store) -> None:
    """Attack: made-up names, names that no column can have, and names that look like a query."""
    names = [f"made-up-{number}" for number in range(10_000)] + ["c\0", "\ud800", "' OR 1=1 --"]
    await _register(store, "c")
    await store.counts.add([_count(client_id=name) for name in [*names, "c"]] + [_count(label="\0")])
    assert await store.counts.top(Selection(HOUR, *ALWAYS, kinds=(ISSUED,)), 10) == [Total("c", "", "", 1)]
    assert await _listed(store, *names) == []


async def test_many_add_at_once(make_store: Callable[..., Store]) -> None:
    """Workers and nodes, in different orders: nothing is lost, and there is no deadlock."""
    names = [f"c{number}" for number in range(20)]
    async with nodes(make_store, 3) as stores:
        await _register(stores[0], *names)
        adding = [
            store.counts.add([_count(2, client_id=name) for name in (names if number % 2 else names[::-1])])
            for number in range(20)
            for store in stores
        ]
        await asyncio.gather(*adding)
        assert [count.count for count in await _listed(stores[0], *names)] == [120] * len(names)


_PROGRAM = """
import asyncio, sys
from tests.stores import NOW, at
from affiant.storage.history.counts import HOUR, ISSUED, Count, begin

async def main():
    store = at(sys.argv[1])
    await store.open()
    print("ready", flush=True)
    sys.stdin.readline()
    names = [f"c{n}" for n in range(20)][:: int(sys.argv[2])]
    for _ in range(30):
        await store.counts.add([Count(HOUR, begin(HOUR, NOW), name, ISSUED, "", 1) for name in names])
    await store.close()

asyncio.run(main())
"""


async def test_two_processes_add_at_once(place: str) -> None:
    async with opened(at(place)) as store:
        await _register(store, *(f"c{number}" for number in range(20)))
        race({order: start(_PROGRAM, place, order) for order in ("1", "-1")})
        top = await store.counts.top(Selection(HOUR, *ALWAYS, kinds=(ISSUED,)), 100)
        assert [total.count for total in top] == [60] * 20


async def test_they_outlive_a_restart(make_store: Callable[..., Store]) -> None:
    if make_store is MemoryStore:
        return
    async with opened(make_store()) as store:
        await _register(store, "c")
        await store.counts.add([_count(5)])
    async with opened(make_store()) as store:
        await store.counts.add([_count(1)])
        assert await _listed(store, "c") == [_count(6)]


async def test_they_go_with_the_client(make_store: Callable[..., Store]) -> None:
    """Also those that are added while it is removed, by any node; and the next client of the name has none."""
    async with nodes(make_store, 2) as stores:
        for _ in range(10):
            await _register(stores[0], "c", "d")
            await stores[0].counts.add([_count(7), _count(7, client_id="d")])
            adding = [store.counts.add([_count(), _count(client_id="d")]) for _ in range(5) for store in stores]
            await asyncio.gather(*adding, stores[1].clients.remove("c"))
            await stores[0].counts.add([_count()])
            await _register(stores[0], "c")
            assert await _listed(stores[0], "c", "d") == [_count(17, client_id="d")]
            await stores[0].clients.remove("c")
            await stores[1].clients.remove("d")


async def test_counts_are_no_change_of_the_registry(store: Store) -> None:
    """Otherwise every node would re-read all clients each second."""
    before = await store.version()
    await store.counts.add([_count(client_id=SERVER)])
    await store.counts.purge(NOW)
    assert await store.version() == before


async def test_totals_are_by_client_kind_and_label(store: Store) -> None:
    names = [f"c{number}" for number in range(100)]
    await _register(store, *names)
    hours = [AT + 3600 * number for number in range(24)]
    await store.counts.add([_count(2, client_id=name, at=at) for name in names for at in hours])
    await store.counts.add([_refused(1, label, client_id="c7", at=at) for label in ("a", "b") for at in hours[:3]])
    found = await store.counts.totals(Selection(HOUR, hours[1], hours[-1] + 1, tuple(names), (ISSUED, REFUSED)))
    assert [total for total in found if total.client_id == "c7"] == [
        Total("c7", ISSUED, "", 46),
        Total("c7", REFUSED, "a", 2),
        Total("c7", REFUSED, "b", 2),
    ]
    assert len(found) == 102


async def test_the_top_clients_come_first(store: Store) -> None:
    await _register(store, "a", "b", "c", "d")
    await store.counts.add(
        [_refused(number, "x", client_id=name) for name, number in zip("abcd", (3, 9, 1, 3), strict=True)]
    )
    await store.counts.add([_refused(3, "y", client_id="c"), _refused(99, "x", client_id=SERVER)])
    await store.counts.add([_refused(99, "x", client_id="a", at=AT - 3600), _count(99, client_id="d")])
    found = await store.counts.top(Selection(HOUR, AT, AT + 1, kinds=(REFUSED,)), 3)
    assert [(total.client_id, total.count) for total in found] == [("b", 9), ("c", 4), ("a", 3)]
    assert await store.counts.clients(Selection(HOUR, AT, AT + 1, kinds=(REFUSED,))) == 4
    assert await store.counts.clients(Selection(HOUR, AT, AT + 1, kinds=(AGE,))) == 0


@pytest.mark.parametrize(
    ("unit", "client_id", "hours"),
    [(MINUTE, SERVER, 48), (HOUR, SERVER, 31 * 24), (HOUR, "c", 48), (DAY, SERVER, 400 * 24), (DAY, "c", 31 * 24)],
)
async def test_each_unit_is_kept_for_its_time(store: Store, unit: str, client_id: str, hours: int) -> None:
    await _register(store, "c")
    old, kept = AT - 3600 * hours - 1, AT - 3600 * hours
    await store.counts.add([_count(unit=unit, at=at, client_id=client_id) for at in (old, kept)])
    assert await store.counts.purge(AT) == 1
    assert [count.at for count in await _listed(store, client_id, unit=unit)] == [kept]


async def test_a_purge_takes_bounded_pieces(store: Store) -> None:
    await store.counts.add([_count(at=number, client_id=SERVER) for number in range(25)])
    assert [await store.counts.purge(AT, limit=10) for _ in range(4)] == [10, 10, 5, 0]


READS: Sequence[tuple[str, Selection]] = (
    ("list", Selection(MINUTE, AT, AT + 3600)),
    ("list", Selection(HOUR, AT, AT + 3600, ("c",), (ISSUED,))),
    ("totals", Selection(DAY, AT, AT + 3600, tuple(f"c{number}" for number in range(100)), (ISSUED, REFUSED))),
    ("top", Selection(HOUR, AT, AT + 3600, kinds=(REFUSED,))),
)


class _Queries:
    """Keeps the queries that a read makes."""

    def __init__(self) -> None:
        self.made: list[tuple[str, Sequence[object]]] = []

    async def page(self, query: str, *values: object) -> list[object]:
        self.made.append((query, values))
        return []

    fetch = page


async def _queries() -> list[tuple[str, Sequence[object]]]:
    kept = _Queries()
    counts = SqlCounts(kept)  # type: ignore[arg-type]
    for name, selection in READS:
        await (counts.top(selection, 10) if name == "top" else getattr(counts, name)(selection))
    ended = [(f"SELECT 1 FROM counts WHERE {condition}", values) for condition, values in sql.ended_counts(NOW)]
    return [*kept.made, *ended]


async def test_sqlite_answers_every_read_from_an_index(tmp_path: Path) -> None:

    async with opened(SqliteStore(tmp_path / "test.db")):
        pass
    with closing(sqlite3.connect(tmp_path / "test.db")) as connection:
        for query, values in await _queries():
            plan = connection.execute(f"EXPLAIN QUERY PLAN {query.replace('$', '?')}", values).fetchall()
            used = [detail for *_, detail in plan if "counts" in detail]
            assert used, plan
            assert all(detail.startswith("SEARCH") and "at<?" in detail for detail in used), (query, plan)


async def test_postgres_answers_every_read_from_an_index(tables: str) -> None:

    async with opened(PostgresStore(tables)) as store:
        names = [f"c{number}" for number in range(300)]
        await _register(store, *names)
        kinds = (ISSUED, REFUSED, AGE)
        for hour in range(24):
            at = AT + 3600 * hour
            rows = [Count(HOUR, at, name, kind, "", 1) for name in [*names, SERVER] for kind in kinds]
            await store.counts.add(rows)
        await store.counts.add([Count(MINUTE, AT - 60 * m, SERVER, kind, "", 1) for m in range(2000) for kind in KINDS])
    connection = await asyncpg.connect(tables)
    try:
        await connection.execute("ANALYZE counts")
        for query, values in await _queries():
            plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {query}", *values))
            assert "Seq Scan on counts" not in plan, (query, plan)
    finally:
        await connection.close()
