"""D12, D13: the clock jumps and drifts. No replay gets through, and a refusal for the clock says so."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from affiant.errors.reasons import Reason
from affiant.server.request import background
from affiant.storage.sqlite import SqliteStore
from affiant.testing import NOW, Server, assertion, form

HOUR, LIFETIME = 3600, 60


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """A server on a file, with one client, whose clock is right; it purges only when a test says so."""
    monkeypatch.setattr(background, "PURGE_SECONDS", 1e6)
    async with Server.in_process(store=SqliteStore(tmp_path / "clock.db")) as made:
        await made.add_api("https://api.example", scope=("read",), is_default=True)
        await made.add_client("c1")
        yield made


def _assertion(at: float) -> str:
    return assertion("c1", now=at, exp=int(at) + LIFETIME)


async def _send(server: Server, text: str) -> tuple[int, str, str]:
    """Status, reason and sentence; the purge runs before and after, as it would within a second."""
    await server.store.ledger.purge(int(server.clock))
    reply = await server.post(form(text))
    await server.store.ledger.purge(int(server.clock))
    members = reply.json()
    reason = members.get("error_uri", "").rpartition("/")[2]
    return reply.status_code, reason, members.get("error_description", "")


async def test_clock_that_jumps_ahead_says_so(server: Server) -> None:
    """+1 h: good assertions are refused as expired, with the seconds; right again, they are taken."""
    server.clock.now = NOW + HOUR
    status, reason, sentence = await _send(server, _assertion(NOW))
    assert (status, reason) == (401, Reason.EXPIRED.code)
    assert f"{HOUR - LIFETIME} s" in sentence
    server.clock.now = NOW + 5
    assert (await _send(server, _assertion(NOW + 5)))[0] == 200


@pytest.mark.parametrize("back", [180, HOUR])
async def test_clock_that_jumps_back_says_so(server: Server, back: int) -> None:
    """Good assertions are refused as made in the future, with the seconds."""
    server.clock.now = NOW - back
    status, reason, sentence = await _send(server, _assertion(NOW))
    assert (status, reason) == (401, Reason.IAT_FUTURE.code)
    assert f"{back} s ahead" in sentence


async def test_replay_is_refused_while_the_clock_is_wrong(server: Server) -> None:
    """Used at the right time, sent again at +1 h and at -1 h: refused for one reason or another."""
    used = _assertion(NOW)
    assert (await _send(server, used))[0] == 200
    for wrong in (-HOUR, HOUR):
        server.clock.now = NOW + wrong
        assert (await _send(server, used))[0] == 401
