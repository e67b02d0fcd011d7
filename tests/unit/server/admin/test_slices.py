"""How long a read keeps the event loop: by a clock that only its own work moves."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from affiant.server.admin import reads
from affiant.server.admin.reads import Reads

SLICE_SECONDS, ROW_SECONDS = 1.0, 0.25  # whole in binary


class Work:
    """Takes ROW_SECONDS for a row, and counts how many it was given in each turn of the loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.turns: list[int] = [0]
        monkeypatch.setattr(reads, "SLICE_SECONDS", SLICE_SECONDS)
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def __call__(self, row: int) -> int:
        if not self.turns[-1]:
            asyncio.get_running_loop().call_soon(self.turns.append, 0)
        self.now += ROW_SECONDS
        self.turns[-1] += 1
        return -row


async def rows(*numbers: int) -> Sequence[int]:
    return numbers


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(monkeypatch)


async def test_page_is_cut_into_slices(work: Work) -> None:
    found = await Reads(rest=0).each(lambda: rows(*range(1000)), work)
    assert found == [-number for number in range(1000)]
    assert max(work.turns) == 4
    assert sum(work.turns) == 1000


async def test_many_reads_share_one_slice(work: Work) -> None:
    """A hundred at once keep the loop no longer than one does."""
    shared = Reads(rest=0)
    await asyncio.gather(*(shared.each(lambda: rows(*range(50)), work) for _ in range(100)))
    assert max(work.turns) == 4


async def test_row_that_takes_long_is_a_slice(work: Work) -> None:
    def slow(row: int) -> int:
        work.now += SLICE_SECONDS
        return work(row)

    await Reads(rest=0).each(lambda: rows(*range(5)), slow)
    assert max(work.turns) == 1


async def test_turn_is_given_back_by_what_fails_or_is_cancelled(work: Work) -> None:
    shared, fetching = Reads(rest=0), asyncio.Event()

    async def never() -> Sequence[int]:
        fetching.set()
        await asyncio.Event().wait()
        return ()

    stuck = asyncio.create_task(shared.each(never, work))
    await fetching.wait()
    waiting = asyncio.create_task(shared.each(lambda: rows(1), work))
    stuck.cancel()
    assert await waiting == [-1]
    with pytest.raises(ZeroDivisionError):
        await shared.each(lambda: rows(0), lambda row: 1 // row)
    assert await shared.each(lambda: rows(2), work) == [-2]


async def test_read_rests_as_long_as_it_worked(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    rested: list[float] = []

    async def sleep(seconds: float) -> None:
        rested.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await Reads().each(lambda: rows(*range(6)), work)
    assert rested == pytest.approx([SLICE_SECONDS, SLICE_SECONDS / 2])
