"""D12 with real processes: libfaketime shifts the clock of a server. test_clock.py does the same in process, always."""

import os
import time
from pathlib import Path

import pytest
from tests.chaos import checker
from tests.chaos.history import ISSUED, REFUSED
from tests.chaos.node import Node

from affiant.errors.reasons import Reason

PLACES = ("/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime")


@pytest.fixture
def faketime() -> str:
    """The library, from AFFIANT_FAKETIME or where distributions put it."""
    named = os.environ.get("AFFIANT_FAKETIME")
    found = [named] if named else [f"{place}/libfaketimeMT.so.1" for place in PLACES]
    for path in found:
        if Path(path).is_file():
            return path
    pytest.skip("libfaketime is not installed; AFFIANT_FAKETIME may name libfaketimeMT.so.1")


@pytest.mark.parametrize(
    ("offset", "reasons"),
    [
        pytest.param(
            "+3600",
            {Reason.EXPIRED.code},
        ),
        ("-200", {Reason.IAT_FUTURE.code, Reason.LIFETIME.code}),
    ],
)
async def test_server_with_a_wrong_clock_accepts_nothing(
    node: Node, faketime: str, offset: str, reasons: set[str]
) -> None:
    """Used at the right time, sent again to a server with a wrong clock, and again when it is right: one token."""
    crowd = node.crowd()
    await node.boot()
    async with crowd.running(4):
        await crowd.answered(20)
    node.kill()
    used = [crowd.shots[event.jti] for event in crowd.history.of(ISSUED)]
    usual, node.environment = node.environment, {**node.environment, "LD_PRELOAD": faketime, "FAKETIME": offset}
    await node.boot()
    seen = len(crowd.history.events)
    await crowd.replay([*used, *(crowd.fresh() for _ in range(20))])
    wrong = crowd.history.events[seen:]
    assert {event.outcome for event in wrong} == {REFUSED}
    assert {event.reason for event in wrong} <= reasons
    end = time.monotonic() + 2.5  # its purge, once a second, has its chance to do harm
    await crowd.until(lambda: time.monotonic() > end or not checker.read_sqlite(node.file).claims)
    node.kill()
    node.environment = usual
    await node.boot()
    again = await crowd.replay(used)
    assert {(event.outcome, event.reason) for event in again} == {(REFUSED, Reason.REPLAYED.code)}
    node.stop()
    node.approve(crowd)
