"""D12, D13: the clock jumps and drifts. No replay gets through; and who is refused for the clock is told so."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from affiant.jose import keys
from affiant.oauth import assertion, names
from affiant.reasons import Reason
from affiant.server import app
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import clients, directory
from affiant.server.request import background
from affiant.storage.records import Api, Client
from affiant.storage.sqlite import SqliteStore
from affiant.testing import ISSUER, NOW

pytestmark = pytest.mark.anyio

KEY, MASTER_KEY, HOUR = keys.generate("ES256"), MasterKey.from_bytes(bytes(32)), 3600
LIFETIME = 60


@dataclass
class Clocked:
    """A server in process, on a file, whose clock can be set; its clients' clocks are right."""

    http: httpx2.AsyncClient
    store: SqliteStore
    now: list[float]

    def assertion(self, *, at: float) -> str:
        """An assertion that a client made at this time."""
        return assertion.build("c1", issuer=ISSUER, signer=KEY, now=at, lifetime=LIFETIME)

    async def send(self, text: str) -> tuple[int, str, str]:
        """Status, reason and sentence; the purge runs before and after, as it would within a second."""
        await self.store.ledger.purge(int(self.now[0]))
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE,
            "client_assertion": text,
        }
        reply = await self.http.post("/token", data=form)
        await self.store.ledger.purge(int(self.now[0]))
        members = reply.json()
        return (
            reply.status_code,
            members.get("error_uri", "").rpartition("/")[2],
            members.get("error_description", ""),
        )


@asynccontextmanager
async def _running(path: Path, now: list[float]) -> AsyncIterator[Clocked]:
    store = SqliteStore(path, audit_key=MASTER_KEY.audit)
    built = app.build(issuer=ISSUER, store=store, master_key=MASTER_KEY, clock=lambda: now[0])
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=built), base_url=ISSUER)
    async with built.router.lifespan_context(built), http:
        yield Clocked(http, store, now)


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Clocked]:
    """A server at NOW, with the client c1; it purges only when a test says so."""
    monkeypatch.setattr(background, "PURGE_SECONDS", 1e6)
    monkeypatch.setattr(directory, "FRESH_SECONDS", 0.0)
    async with _running(tmp_path / "clock.db", [float(NOW)]) as made:
        api = Api("https://api.example", "api", ("read",), is_default=True, created_at=0)
        await made.store.apis.add(api)
        client = clients.build(
            Client("c1", "private_key_jwt", scope=("read",)), master_key=MASTER_KEY, now=0, keys=(KEY.public(),)
        )
        await made.store.clients.add(client.client)
        yield made


async def test_clock_that_jumps_ahead_says_so(server: Clocked) -> None:
    """+1 h: good assertions are refused as expired, with the seconds; right again, they are taken."""
    server.now[0] = NOW + HOUR
    status, reason, sentence = await server.send(server.assertion(at=NOW))
    assert (status, reason) == (401, Reason.EXPIRED.code)
    assert f"{HOUR - LIFETIME} s" in sentence
    server.now[0] = NOW + 5
    assert (await server.send(server.assertion(at=NOW + 5)))[0] == 200


@pytest.mark.parametrize(
    "back",
    [
        180,
        pytest.param(
            HOUR,
        ),
    ],
)
async def test_clock_that_jumps_back_says_so(server: Clocked, back: int) -> None:
    """Good assertions are refused as made in the future, with the seconds."""
    server.now[0] = NOW - back
    status, reason, sentence = await server.send(server.assertion(at=NOW))
    assert (status, reason) == (401, Reason.IAT_FUTURE.code)
    assert f"{back} s ahead" in sentence


async def test_replay_is_refused_while_the_clock_is_wrong(server: Clocked) -> None:
    """Used at the right time, sent again at +1 h and at -1 h: refused for one reason or another."""
    used = server.assertion(at=NOW)
    assert (await server.send(used))[0] == 200
    for wrong in (-HOUR, HOUR):
        server.now[0] = NOW + wrong
        assert (await server.send(used))[0] == 401
