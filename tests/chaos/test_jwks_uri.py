"""D14 and D15: one of fifty clients has a sick jwks_uri, or is named in a flood; the others notice nothing."""

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.attacks.bench import Bench, form, post, running
from tests.chaos.node import resident
from tests.key_server import LOOPBACK, KeyServer, reply
from tests.key_server import running as publishing
from tests.wire import Reply

from affiant.jose import keys
from affiant.jose.signer import Signer
from affiant.server.registry import fetch
from affiant.storage.memory import MemoryStore

OWN, STRANGER = keys.generate("ES256"), keys.generate("ES256")
OTHERS = 49
MORE_MEMORY = 32 << 20


async def ask(bench: Bench, client_id: str, signer: Signer = OWN, *, kid: str | None = None) -> Reply:
    if kid is not None:
        signer = keys.parse_private_jwk({**STRANGER.to_jwk(), "kid": kid})
    return await bench.send(post(form(bench.assertion(client_id, key=signer))))


async def register(bench: Bench, server: KeyServer) -> None:
    server.publish(OWN.public().to_jwk())
    await bench.add_client("sick", jwks_uri=server.uri())
    for number in range(OTHERS):
        await bench.add_client(f"well{number}", key=OWN)


async def _hang(_: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _drip(writer: asyncio.StreamWriter) -> None:
    for byte in reply({}):
        writer.write(bytes([byte]))
        await asyncio.sleep(0.2)


def _answer(value: Any) -> Callable[[KeyServer], None]:
    def change(server: KeyServer) -> None:
        server.answer = value

    return change


SICKNESSES: dict[str, Callable[[KeyServer], None]] = {
    "down": lambda server: server.vanish(),
    "hanging": _answer(_hang),
    "slow": _answer(_drip),
    "garbage": _answer(b"\x00" * 1000),
    "large": _answer(reply(b" " * 1_000_000)),
    "error": _answer(reply({}, status="500 No")),
    "empty": _answer(reply({"keys": []})),
}


@pytest.mark.parametrize("sickness", SICKNESSES)
async def test_sick_jwks_uri(sickness: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others have no error; the sick client goes on with the key that is known, and is well soon after."""
    monkeypatch.setattr(fetch, "FETCH_SECONDS", 0.5)
    async with publishing() as server, running(MemoryStore(), caplog, monkeypatch, publisher=server) as bench:
        await register(bench, server)
        assert (await ask(bench, "sick")).status == 200
        SICKNESSES[sickness](server)
        bench.clock.now += 3600
        begun = time.monotonic()
        found = await asyncio.gather(ask(bench, "sick"), *(ask(bench, f"well{number}") for number in range(OTHERS)))
        assert [reply_.status for reply_ in found] == [200] * (OTHERS + 1)
        assert time.monotonic() - begun < 3
        begun = time.monotonic()
        for _ in range(10):
            bench.clock.now += 7
            assert (await ask(bench, "sick")).status == 200
            assert (await ask(bench, "well0")).status == 200
        assert time.monotonic() - begun < 1  # it is not waited for again
        await _recover(bench, server)


async def _recover(bench: Bench, server: KeyServer) -> None:
    new = keys.generate("ES256")
    server.publish(new.public().to_jwk())
    server.names.answers = [[LOOPBACK]]
    for _ in range(30):
        if (await ask(bench, "sick", new)).status == 200:
            return
        bench.clock.now += 1
    pytest.fail("not well after 30 seconds")


async def test_flood_short(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    await _flood(caplog, monkeypatch, seconds=60, each=30)


@pytest.mark.soak
async def test_flood(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    await _flood(caplog, monkeypatch, seconds=60, each=1000)


async def _flood(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, *, seconds: int, each: int) -> None:
    """So many unknown kids in each second: few fetches, no more memory, and the client itself is let in all along."""
    async with publishing() as server, running(MemoryStore(), caplog, monkeypatch, publisher=server) as bench:
        await register(bench, server)
        caplog.set_level("ERROR")
        assert (await ask(bench, "sick")).status == 200
        memory, fetched = 0, list[float]()
        for second in range(seconds):
            bench.clock.now += 1
            for number in range(each):
                hits = server.hits
                assert (await ask(bench, "sick", kid=f"{second}-{number}")).status == 401
                fetched += [bench.clock.now] * (server.hits - hits)
            assert (await ask(bench, "sick")).status == 200
            if second == seconds // 2:
                memory = resident(os.getpid())
        assert all(later - first > 30 for first, later in zip(fetched, fetched[2:], strict=False))
        assert len(fetched) <= 4
        if each < 100:  # the store of this test keeps every record in memory
            assert resident(os.getpid()) - memory < MORE_MEMORY
