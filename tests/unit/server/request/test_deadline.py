"""A deadline ends a slow task, only that task, and each by its own time."""

import asyncio

import pytest

from affiant.server.request.deadline import Deadline


async def _wait(deadline: Deadline, seconds: float) -> str:
    try:
        with deadline:
            await asyncio.sleep(seconds)
    except TimeoutError:
        return "late"
    return "in time"


def test_who_takes_too_long_is_let_go() -> None:
    async def run() -> list[str]:
        deadline = Deadline(0.1)
        return await asyncio.gather(*(_wait(deadline, seconds) for seconds in (0, 0.01, 30, 30, 0)))

    assert asyncio.run(run()) == ["in time", "in time", "late", "late", "in time"]


def test_it_looks_again_after_a_pause() -> None:
    async def run() -> list[str]:
        deadline = Deadline(0.1)
        first = await _wait(deadline, 30)
        await asyncio.sleep(0.6)
        return [first, await _wait(deadline, 30), await _wait(deadline, 0)]

    assert asyncio.run(run()) == ["late", "late", "in time"]


def test_who_is_cancelled_by_others_stays_cancelled() -> None:
    async def run() -> None:
        task = asyncio.create_task(_wait(Deadline(30), 30))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_errors_pass() -> None:
    async def run() -> None:
        with Deadline(30):
            raise KeyError("x")

    with pytest.raises(KeyError):
        asyncio.run(run())


def test_outside_a_task() -> None:
    with pytest.raises(RuntimeError), Deadline():
        pass
