"""D4: another process has the write lock; and a disk so slow that the lock is seldom free."""

import asyncio
import time

import pytest
from tests.chaos.history import ISSUED, UNAVAILABLE
from tests.chaos.node import Node, holding, resident

HELD = 8  # seconds
HEALED = 5  # seconds after which it must be well again
CROWD = 200
MORE_MEMORY = 32 << 20  # bytes that so many waiting requests may take


async def test_locked_database_is_answered_with_503(node: Node) -> None:
    """In time, with Retry-After; nothing is issued twice, and it heals by itself."""
    crowd = node.crowd()
    await node.boot()
    async with crowd.running(16):
        await crowd.answered(100)
        async with holding(node.file, HELD) as holder:
            assert holder.stdout is not None
            locked = time.monotonic()
            await crowd.refused(16, seconds=7)
            # What only reads goes on.
            assert [await node.get(path) for path in ("/health/live", "/jwks")] == [200, 200]
            assert await asyncio.wait_for(holder.stdout.readline(), HELD + 2) == b"free\n"
            free = time.monotonic()
        healed = await crowd.answered(1)
        await node.until_ready()
        assert time.monotonic() - free <= HEALED
        await crowd.answered(200)
    between = [event for event in crowd.history.of(ISSUED) if event.start > locked and event.end < free]
    assert not between, "issued while nothing could be written"
    # A request whose client has gone was committed late, or not: to ask again with it gives one token at most.
    again = await crowd.replay([crowd.shots[event.jti] for event in crowd.history.of(UNAVAILABLE)])
    node.stop()
    print(f"{node.approve(crowd)}; first token {healed * 1000:.0f} ms after the lock; {len(again)} asked again")


@pytest.mark.soak
async def test_locked_database_is_not_ready(node: Node) -> None:
    """A load balancer learns within the deadline that none could be answered."""
    crowd = node.crowd()
    await node.boot()
    async with crowd.running(16):
        await crowd.answered(100)
        async with holding(node.file, 12):
            await crowd.refused(16, seconds=7)
            assert await node.ready() == 503


@pytest.mark.parametrize("slices", [15, pytest.param(1000, marks=pytest.mark.soak)])
async def test_slow_disk_does_not_pile_up(node: Node, slices: int) -> None:
    """The lock is free for 5 ms after every 200: each request is answered in time, and memory stays where it was."""
    crowd = node.crowd()
    await node.boot()
    async with crowd.running(CROWD):
        await crowd.answered(CROWD * 2)
        before = most = resident(node.worker)
        async with holding(node.file, 0.2, 0.005, slices) as holder:
            waiting = asyncio.create_task(holder.wait())
            while not waiting.done():
                most = max(most, resident(node.worker))
                await asyncio.sleep(0.05)
            free = time.monotonic()
        await crowd.answered(CROWD)
        healed = time.monotonic() - free
    assert healed <= HEALED
    node.stop()
    verdict = node.approve(crowd)
    worst = max(event.end - event.start for event in crowd.history.events)
    print(f"{verdict}; slowest answer {worst:.2f} s, {(most - before) / 2**20:.1f} MiB more, healed in {healed:.2f} s")
    assert most - before <= MORE_MEMORY


@pytest.mark.soak
async def test_stopped_disk_does_not_pile_up(node: Node) -> None:
    """Held for a second at a time, with gaps that are mostly missed: 503 in time, and memory stays where it was."""
    crowd = node.crowd()
    await node.boot()
    async with crowd.running(2 * CROWD):
        await crowd.answered(CROWD * 4)
        before = most = resident(node.worker)
        async with holding(node.file, 1.0, 0.001, 20) as holder:
            waiting = asyncio.create_task(holder.wait())
            while not waiting.done():
                most = max(most, resident(node.worker))
                await asyncio.sleep(0.05)
        healed = await crowd.answered(1)
        await crowd.answered(CROWD)
    node.stop()
    print(f"{node.approve(crowd)}; {(most - before) / 2**20:.1f} MiB more, healed in {healed:.2f} s")
    assert crowd.history.count(UNAVAILABLE) >= CROWD
    assert healed <= HEALED
    assert most - before <= MORE_MEMORY
