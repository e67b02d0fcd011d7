"""D1: kill -9 under load, and everything that was acknowledged is still there when the server is back."""

import os
import random
import signal
import statistics
import time

import pytest
from tests.chaos.history import ISSUED, LOST, REFUSED, UNAVAILABLE, Event
from tests.chaos.load import Crowd, Shot
from tests.chaos.node import Node, open_files
from tests.process import children

from affiant.errors.reasons import Reason
from affiant.storage.sqlite import copies

CONNECTIONS = 32
READY_SECONDS = 2.0  # the promise is for the median
GAP_SECONDS = 2.0  # without a token, when one of two workers is gone
MANY = 20  # rounds, from which on times are held to: in the soak, where no other test runs at the same time
REPLAYED = 40  # acknowledged assertions that are sent again after each kill
SEED = 20_260


def _sample(random_: random.Random, crowd: Crowd, events: list[Event]) -> list[Shot]:
    live = [crowd.shots[event.jti] for event in events if event.exp > time.time() + 30]
    return random_.sample(live, min(REPLAYED, len(live)))


async def _round(node: Node, crowd: Crowd, random_: random.Random) -> float:
    """Load, kill -9 in the middle, start again, and replay; seconds until it was ready again."""
    seen = len(crowd.history.events)
    async with crowd.running(CONNECTIONS):
        await crowd.answered(random_.randint(20, 400))
        node.kill()
        await crowd.until(lambda: crowd.history.events[-1].outcome == LOST)
    seconds = await node.boot()
    issued, lost = ([e for e in crowd.history.events[seen:] if e.outcome == kind] for kind in (ISSUED, LOST))
    again = await crowd.replay(_sample(random_, crowd, issued))
    assert {(event.outcome, event.reason) for event in again} == {(REFUSED, Reason.REPLAYED.code)}
    # Whose answer was lost asks again with the same assertion: one token, or none.
    await crowd.replay([crowd.shots[event.jti] for event in lost])
    return seconds


@pytest.mark.parametrize("rounds", [5, pytest.param(200, marks=pytest.mark.soak)])
async def test_kill_of_the_server_loses_nothing(node: Node, rounds: int) -> None:
    """Every acknowledged token has its jti and its record, no assertion gets two, and it is soon back."""
    random_, crowd = random.Random(SEED), node.crowd()
    await node.boot()
    seconds = [await _round(node, crowd, random_) for _ in range(rounds)]
    node.stop()
    verdict = node.approve(crowd)
    copies.check(node.file)
    median, worst = statistics.median(seconds), max(seconds)
    print(f"{rounds} kills: {verdict}; ready again after {median:.2f} s (median), {worst:.2f} s (worst)")
    assert rounds < MANY or median <= READY_SECONDS


@pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=pytest.mark.soak)])
async def test_kill_of_one_worker_is_hardly_noticed(node: Node, rounds: int) -> None:
    """The other goes on at once, and the dead one is replaced."""
    node.workers = 2
    crowd = node.crowd()
    await node.boot()
    gaps = []
    for _ in range(rounds):
        async with crowd.running(CONNECTIONS):
            await crowd.answered(100)
            await crowd.until(lambda: len(children(node.pid)) == 2)
            victim = max(children(node.pid), key=open_files)  # has most connections
            os.kill(victim, signal.SIGKILL)
            gaps.append(await crowd.answered(1))
            await crowd.until(lambda: len(set(children(node.pid)) - {victim}) == 2, seconds=15)  # noqa: B023
            await crowd.answered(100)
        again = await crowd.replay(_sample(random.Random(SEED), crowd, crowd.history.of(ISSUED)))
        assert {event.outcome for event in again} == {REFUSED}
    node.stop()
    verdict = node.approve(crowd)
    print(
        f"{rounds} workers killed: {verdict}; next token after {statistics.median(gaps) * 1000:.0f} ms (median),"
        f" {max(gaps) * 1000:.0f} ms (worst)"
    )
    assert rounds < MANY or statistics.median(gaps) < GAP_SECONDS
    assert crowd.history.count(UNAVAILABLE) == 0
    assert 0 < crowd.history.count(LOST) <= rounds * CONNECTIONS
