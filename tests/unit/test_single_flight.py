import asyncio

from affiant.system.single_flight import SingleFlight


class Work:
    def __init__(self) -> None:
        self.runs = 0
        self.gate = asyncio.Event()

    async def __call__(self) -> int:
        self.runs += 1
        await self.gate.wait()
        return self.runs


async def test_callers_at_the_same_time_share_one_run() -> None:
    flight, work = SingleFlight[int](), Work()
    callers = [asyncio.create_task(flight.run(work)) for _ in range(10)]
    await asyncio.sleep(0)
    work.gate.set()
    assert await asyncio.gather(*callers) == [1] * 10
    assert await flight.run(work) == 2


async def test_each_key_has_its_own_run() -> None:
    flight, work = SingleFlight[int](), Work()
    work.gate.set()
    assert list(await asyncio.gather(flight.run(work, key="a"), flight.run(work, key="b"))) == [1, 2]


async def test_cancelled_caller_cancels_no_other() -> None:
    flight, work = SingleFlight[int](), Work()
    first, second = (asyncio.create_task(flight.run(work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    work.gate.set()
    assert await second == 1


async def test_failure_reaches_every_caller_and_is_not_kept() -> None:
    async def fail() -> int:
        raise OSError

    async def succeed() -> int:
        return 1

    flight = SingleFlight[int]()
    found = await asyncio.gather(flight.run(fail), flight.run(fail), return_exceptions=True)
    assert [type(error) for error in found] == [OSError, OSError]
    assert await flight.run(succeed) == 1


async def test_next_run_begins_as_soon_as_one_is_done() -> None:
    flight, work = SingleFlight[int](), Work()
    work.gate.set()
    first, second = flight.begin(work), asyncio.create_task(flight.run(work))
    # The second runs after the end of the first, and before its callbacks.
    assert list(await asyncio.gather(first, second)) == [1, 2]


async def test_close_cancels_what_is_in_flight() -> None:
    flight, work = SingleFlight[int](), Work()
    task = flight.begin(work)
    await flight.close()
    assert task.cancelled()
    assert flight.find() is None
