"""A million registered clients: a token costs what it costs with ten."""

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.chaos.load import message

from affiant.jose import keys
from affiant.jose.keys import PrivateKey
from affiant.oauth import assertion
from affiant.server import app
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import clients
from affiant.server.registry.directory import MAX_CLIENTS
from affiant.server.request.limits import Limits, Rate, Rates
from affiant.storage.records import Api, Client
from affiant.storage.sqlite import SqliteStore

MASTER_KEY, ISSUER, FEW = MasterKey.from_bytes(bytes(32)), "http://127.0.0.1:1", 10
BATCH = 200
SLOWER = 1.10


@dataclass
class Registry:
    """A server in process with so many clients, each with a key of its own; the keys of some are known."""

    server: object
    known: list[tuple[str, PrivateKey]]

    async def batch(self, random_: random.Random) -> float:
        """Seconds for each of BATCH tokens, eight at a time, of clients that come in no order."""
        now = time.time()
        bodies = []
        for name, key in random_.choices(self.known, k=BATCH):
            text = assertion.build(name, issuer=ISSUER, signer=key, now=now, lifetime=60)
            bodies.append(message(1, text).partition(b"\r\n\r\n")[2])
        begun = time.perf_counter()
        await asyncio.gather(*(self._some(bodies[n::8]) for n in range(8)))
        return (time.perf_counter() - begun) / BATCH

    async def _some(self, bodies: list[bytes]) -> None:
        for body in bodies:
            assert await _status(self.server, body) == 200


async def _status(server: object, body: bytes) -> int:
    sent = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(told: dict[str, int]) -> None:
        sent.append(told)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/token",
        "query_string": b"",
        "headers": [(b"content-type", b"application/x-www-form-urlencoded")],
        "client": ("127.0.0.1", 1),
    }
    await server(scope, receive, send)  # type: ignore[operator]
    return sent[0]["status"]


@asynccontextmanager
async def _running(path: Path, number: int, known: int) -> AsyncIterator[Registry]:
    store = SqliteStore(path, audit_key=MASTER_KEY.audit)
    limits = Limits(Rates(Rate(0, 1.0), Rate(0, 1.0)), key=bytes(16))
    server = app.build(issuer=ISSUER, store=store, master_key=MASTER_KEY, limits=limits)
    await store.open()
    await store.apis.add(Api("https://a.example", "a", ("r",), is_default=True, created_at=0))
    kept = await _register(store, number, known)
    await store.close()
    async with server.router.lifespan_context(server):
        yield Registry(server, kept)


async def _register(store: SqliteStore, number: int, known: int) -> list[tuple[str, PrivateKey]]:
    """Register them in few commits; those that will work have keys of their own, the rest has the first one's."""
    kept, rest = list[tuple[str, PrivateKey]](), None
    for start in range(0, number, 256):
        adding = []
        for serial in range(start, min(start + 256, number)):
            name = f"client{serial}"
            if rest is None or serial % (number // known) == 0:
                kept.append((name, keys.generate("ES256")))
                client = _client(name, kept[-1][1])
                rest = rest or client
            else:
                client = replace(rest, client_id=name)
            adding.append(store.clients.add(client))
        await asyncio.gather(*adding)
    return kept


def _client(name: str, key: PrivateKey) -> Client:
    return clients.build(
        Client(name, "private_key_jwt", scope=("r",)), master_key=MASTER_KEY, now=0, keys=(key.public(),)
    ).client


MILLION = 1_000_000


@pytest.mark.parametrize(
    ("number", "working", "rounds"),
    [
        (20_000, 500, 3),
        # Fewer than the server keeps ready in memory, and many more.
        pytest.param(MILLION, 5_000, 60, marks=pytest.mark.soak),
        pytest.param(MILLION, 50_000, 60, marks=pytest.mark.soak),
    ],
)
async def test_rate_does_not_hang_on_the_number_of_clients(
    tmp_path: Path, number: int, working: int, rounds: int
) -> None:
    """Ten clients, and many of whom some thousands work; batches in turn, so that both meet the same machine."""
    random_ = random.Random(1)
    async with (
        _running(tmp_path / "few.db", FEW, FEW) as few,
        _running(tmp_path / "many.db", number, working) as many,
    ):
        pairs = [(await few.batch(random_), await many.batch(random_)) for _ in range(rounds)][rounds // 3 :]
        size = (tmp_path / "many.db").stat().st_size / number
    alone, crowded = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(
        f"{number} clients, {working} at work: {crowded * 1e6:.0f} us for a token, {alone * 1e6:.0f} with {FEW}:"
        f" ratio {crowded / alone:.3f}; {size:.0f} bytes for a client"
    )
    if number == MILLION and working <= MAX_CLIENTS:
        assert crowded / alone <= SLOWER
