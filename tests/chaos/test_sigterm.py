"""SIGTERM under load: whatever was asked before is answered, and all that was answered is there."""

import signal
import time

import pytest
from tests.chaos.history import ISSUED, LOST
from tests.chaos.node import Node

DRAINED = 10.0  # seconds
CONNECTIONS = 32


@pytest.mark.parametrize("workers", [1, 2])
async def test_sigterm_finishes_what_is_under_way(node: Node, workers: int) -> None:
    """No request that the server had read is left without its answer; the end comes in time."""
    node.workers = workers
    crowd = node.crowd()
    await node.boot()
    async with crowd.running(CONNECTIONS):
        await crowd.answered(200)
        asked = time.monotonic()
        code, seconds = await node.end(DRAINED)
        crowd.is_done = True
    assert code in (0, -signal.SIGTERM)
    assert seconds <= DRAINED
    # What came on an open connection after the signal may find it closed: its client knows that nothing was read.
    torn = [event for event in crowd.history.of(LOST) if event.start < asked]
    assert not torn, f"{len(torn)} requests that were under way have no answer"
    verdict = node.approve(crowd)
    print(f"{verdict}; ended in {seconds:.2f} s with {code}")
    assert verdict.records == crowd.history.count(ISSUED), "committed, and its client never heard of it"
