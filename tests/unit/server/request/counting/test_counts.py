"""Decisions are counted in memory and written from time to time; only a crash loses them."""

import asyncio
from collections.abc import Sequence

import pytest

from affiant.errors import StoreError
from affiant.server.request.counting import counts as counting
from affiant.server.request.counting.counts import LATENCIES, MAX_STRANGERS, Counts
from affiant.server.request.notes import Request
from affiant.storage.history.counts import DAY, HOUR, ISSUED, LATENCY, MINUTE, OTHER, REFUSED, SERVER, Count, Selection
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Client

NOW = 1_800_000_030.5
ALWAYS = (0, 2**40)


class Failing(MemoryStore):
    """A store whose counts fail until it is mended."""

    is_broken = True

    def __init__(self) -> None:
        super().__init__()
        self.written: list[Count] = []
        self.begun, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def add(self, counts: Sequence[Count]) -> None:
        if self.is_broken:
            raise StoreError("away")
        self.written += counts
        self.begun.set()
        await self.gate.wait()


def _request(client_id: str | None = None, *, endpoint: str = "token", now: float = NOW) -> Request:
    request = Request(endpoint, "192.0.2.1", now)
    request.notes.claimed = client_id
    return request


async def _listed(store: MemoryStore, client_id: str = SERVER, unit: str = MINUTE) -> dict[tuple[str, str], int]:
    found = await store.counts.list(Selection(unit, *ALWAYS, (client_id,)))
    return {(count.kind, count.label): count.count for count in found if count.kind != LATENCY}


async def test_a_decision_is_in_each_unit() -> None:
    store = MemoryStore()
    await store.clients.add(Client("c", "private_key_jwt"))
    counts = Counts(store.counts, lambda _: True)
    for _ in range(3):
        counts.count(_request("c"), "assertion.expired")
    request = _request("c")
    request.notes.resource, request.notes.iat = "https://a https://b", int(NOW) - 200
    counts.count(request)
    counts.count(_request(endpoint="introspect"), "client.unknown")
    await counts.write()
    await counts.write()
    refused, issued = (REFUSED, "assertion.expired"), (ISSUED, "")
    apis = {("api", "https://a"): 1, ("api", "https://b"): 1}
    whole = {refused: 3, issued: 1, (OTHER, "introspect refused"): 1, ("age", "300"): 1}
    assert await _listed(store) == whole
    assert await _listed(store, unit=HOUR) == await _listed(store, unit=DAY) == whole | apis
    assert await _listed(store, "c", HOUR) == {refused: 3, issued: 1}
    assert await _listed(store, "c", DAY) == {refused: 3, issued: 1, ("age", "300"): 1} | apis
    assert await _listed(store, "c") == {}


async def test_an_issued_token_has_its_time() -> None:
    store = MemoryStore()
    counts = Counts(store.counts, lambda _: True)
    counts.count(_request())
    await counts.write()
    (found,) = await store.counts.list(Selection(MINUTE, *ALWAYS, kinds=(LATENCY,)))
    assert (found.label in counting.LATENCIES, found.count, found.at) == (True, 1, int(NOW) // 60 * 60)


@pytest.mark.parametrize(
    ("age", "label"), [(-90, "-60"), (-30, "-30"), (-1, "0"), (1, "2"), (30, "30"), (31, "60"), (10**15, "inf")]
)
async def test_ages_have_upper_bounds(age: int, label: str) -> None:
    store = MemoryStore()
    counts = Counts(store.counts, lambda _: True)
    request = _request()
    request.notes.iat = int(NOW) - age
    counts.count(request, "assertion.expired")
    await counts.write()
    assert ("age", label) in await _listed(store)


async def test_made_up_names_leave_room_for_clients() -> None:
    """Attack: ten thousand names in one second. They make no row, and the known client has its own."""
    store = MemoryStore()
    await store.clients.add(Client("c", "private_key_jwt"))
    counts = Counts(store.counts, lambda name: name == "c")
    for number in range(10_000):
        counts.count(_request(f"made-up-{number}"), "client.unknown")
    counts.count(_request("c"), "assertion.expired")
    assert len({client_id for _, client_id, *_ in counts._cells}) == MAX_STRANGERS + 2
    await counts.write()
    assert await _listed(store) == {(REFUSED, "client.unknown"): 10_000, (REFUSED, "assertion.expired"): 1}
    assert await _listed(store, "c", HOUR) == {(REFUSED, "assertion.expired"): 1}
    assert len(await store.counts.top(Selection(HOUR, *ALWAYS), 100)) == 1


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the bound, decisions are counted for the whole server only."""
    monkeypatch.setattr(counting, "MAX_CELLS", 10)
    store = MemoryStore()
    counts = Counts(store.counts, lambda _: True)
    for number in range(100):
        counts.count(_request(f"c{number}"), "assertion.expired")
    assert len(counts._cells) <= 10 + len(LATENCIES)
    await counts.write()
    assert await _listed(store) == {(REFUSED, "assertion.expired"): 100}


async def test_what_could_not_be_written_is_kept() -> None:
    store = Failing()
    counts = Counts(store, lambda _: True)  # type: ignore[arg-type]
    counts.count(_request(), "assertion.expired")
    for _ in range(2):
        with pytest.raises(StoreError):
            await counts.write()
    counts.count(_request(now=NOW + 1), "assertion.expired")
    store.is_broken = False
    await counts.write()
    assert [count.count for count in store.written if count.kind == REFUSED] == [2, 2, 2]
    await counts.write()
    assert len(store.written) == 3


async def test_a_cancelled_write_goes_on_once() -> None:
    """The end of the process cancels the work in the background, and then writes once more."""
    store = Failing()
    store.is_broken = False
    store.gate.clear()
    counts = Counts(store, lambda _: True)  # type: ignore[arg-type]
    counts.count(_request(), "assertion.expired")
    writing = asyncio.create_task(counts.write())
    await store.begun.wait()
    writing.cancel()
    counts.count(_request(), "assertion.expired")
    last = asyncio.create_task(counts.write())
    await asyncio.sleep(0)
    store.gate.set()
    await last
    assert [count.count for count in store.written] == [1] * 6
