"""Every face of the guard is right in every cell of the grid, and in every row of the challenge table."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from bench.guards import challenges, grid, roads, rows, speed
from bench.guards.challenges import Wanted
from bench.guards.roads import JOINING, Road

from affiant.resource import Guard

ROADS = roads.ROADS
# REST framework authenticates before it looks at permissions, so that not each 401 can name the scope that these want.
MAY_LACK = {("Django REST framework", "another scheme"): ["(no scope)"]}


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="affiant")


@pytest.mark.parametrize("name", ROADS)
def test_every_cell_is_right(name: str) -> None:
    column = grid.ours(name, ROADS[name], rows.everything())
    assert (column.wrongly_accepted, column.wrongly_refused, column.failed) == ([], [], {})
    assert column.asked == len(rows.everything())


@pytest.mark.parametrize("name", ROADS)
def test_every_challenge_is_right(name: str) -> None:
    found = dict(challenges.ours(ROADS[name], joins_headers=name in JOINING))
    wrong = {request: faults for request, faults in found.items() if faults != MAY_LACK.get((name, request), [])}
    assert {request: faults for request, faults in wrong.items() if faults} == {}
    assert len(found) >= 23


@contextmanager
def _open(_: Guard) -> Iterator[int]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"orders"})

    with roads.serving(app) as port:
        yield port


@contextmanager
def _closed(guard: Guard) -> Iterator[int]:
    with ROADS["ASGI"](roads.guard(leeway=0, clock=lambda: 0.0)) as port:
        yield port


@pytest.mark.parametrize(("road", "is_open"), [(_open, True), (_closed, False)])
def test_the_grid_sees_what_is_wrong(road: Road, *, is_open: bool) -> None:
    """A road that lets everything in, and one that lets nothing in."""
    everything = rows.everything()
    column = grid.ours("wrong", road, everything)
    let_in = [row.name for row in everything if 200 not in row.expected]
    kept_out = [row.name for row in everything if row.expected == rows.OK]
    assert column.wrongly_accepted == (let_in if is_open else [])
    assert column.wrongly_refused == ([] if is_open else kept_out)


def test_the_table_sees_what_is_wrong() -> None:
    wanted = Wanted("another scope", (), 403, "insufficient_scope", scope=True)
    good = 'Bearer error="insufficient_scope", scope="orders.read", resource_metadata="https://api.example/x"'
    assert challenges.faults(wanted, 403, good) == []
    assert challenges.faults(wanted, 401, good) == ["401"]
    assert challenges.faults(wanted, 403, None) == ["no challenge"]
    assert challenges.faults(wanted, 403, 'Bearer error="invalid_token"') == [
        "error=invalid_token",
        "(no scope)",
        "(no metadata)",
    ]


def test_a_peer_is_judged_by_its_verdicts() -> None:
    asked = list(rows.a4())[:3]
    column = grid.theirs("peer", zip(asked, ["refused", "accepted", "RuntimeError"], strict=True))
    assert column.wrongly_refused == ["valid"]
    assert column.failed == {asked[2].name: "RuntimeError"}


async def test_the_speed_of_a_first_sight_is_that_of_tokens_never_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in {"CALLERS": 20, "SLOW": 5, "QUICK": 30}.items():
        monkeypatch.setattr(speed, name, number)
    checks = speed.Checks(rounds=2)
    await checks.warm_up()
    counts = checks.guard._counts
    for run, unknown in [(checks.repeated, 21), (checks.in_turn, 21), (checks.sync, 21), (checks.first, 26)]:
        before = counts.accepted
        await run()
        assert counts.unknown == unknown
        assert counts.accepted - before == (5 if run == checks.first else 30)
