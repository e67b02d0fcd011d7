"""A used assertion at every instant until long after its end, on every store, while expired claims are purged."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.rfc.conftest import running

from affiant.errors.reasons import Reason
from affiant.jose.claims import LEEWAY
from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Store
from affiant.storage.sqlite import SqliteStore
from affiant.testing import NOW, Server

END = NOW + 10


@pytest.fixture(params=["memory", "sqlite"])
async def server(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Server]:
    """The server on each store, with the client c1."""
    store: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "sweep.db")
    async with running(store) as made:
        await made.add_client("c1")
        yield made


async def _sweep(server: Server, form: dict[str, str], instants: list[float]) -> list[str]:
    """The reason at each instant, with the purge of that instant on either side of the request."""
    reasons = []
    for instant in instants:
        server.clock.now = instant
        await server.store.ledger.purge(int(instant))
        reply = await server.post(form)
        await server.store.ledger.purge(int(instant))
        assert reply.status_code == 401, f"a second token at {instant - END:+} s: {reply.text}"
        reasons.append(reply.json()["error_uri"].rpartition("/")[2])
    return reasons


@pytest.mark.attack(137)
@pytest.mark.rfc(7523, "3(7)")
async def test_replay_is_refused_every_second(server: Server) -> None:
    """From exp-5 to exp+120: replayed while the assertion would hold, expired from then on, and nothing between."""
    form = server.form(server.assertion(exp=END))
    assert (await server.post(form)).status_code == 200
    seconds = [float(second) for second in range(END - 5, END + 121)]
    reasons = await _sweep(server, form, seconds)
    assert len(reasons) == 126
    expected = [Reason.REPLAYED if second < END + LEEWAY else Reason.EXPIRED for second in seconds]
    assert reasons == [reason.code for reason in expected]


@pytest.mark.attack(136)
@pytest.mark.parametrize("fraction", [0, 0.001, 0.25, 0.5, 0.75, 0.999])
async def test_replay_is_refused_on_every_rounding(server: Server, fraction: float) -> None:
    """Around the border in quarters of a second, for an exp with a fraction: truncation opens no gap."""
    form = server.form(server.assertion(exp=END + fraction))
    assert (await server.post(form)).status_code == 200
    instants = [END + LEEWAY - 3 + quarter / 4 for quarter in range(28)]
    reasons = await _sweep(server, form, instants)
    border = END + fraction + LEEWAY
    expected = [Reason.REPLAYED if instant < border else Reason.EXPIRED for instant in instants]
    assert reasons == [reason.code for reason in expected]


@pytest.mark.attack(136)
async def test_first_use_at_the_last_moment_is_the_only_one(server: Server) -> None:
    """Used first within the leeway, the jti is kept until the assertion can no longer hold."""
    form = server.form(server.assertion(exp=END))
    server.clock.now = END + LEEWAY - 0.001
    await server.store.ledger.purge(int(server.clock.now))
    assert (await server.post(form)).status_code == 200
    reasons = await _sweep(server, form, [END + LEEWAY - 0.001, END + LEEWAY - 0.0001, END + LEEWAY])
    assert reasons == [Reason.REPLAYED.code, Reason.REPLAYED.code, Reason.EXPIRED.code]
