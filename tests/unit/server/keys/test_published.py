"""The keys in their calendar, as the application signs with them and publishes them."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from affiant.errors import ConfigError
from affiant.server import settings as settings_module
from affiant.server.keys import signing_keys
from affiant.server.keys.calendar import DAY, Calendar
from affiant.server.keys.vault import Vault, signing_key_purpose
from affiant.server.settings.options import Options
from affiant.testing import NOW, Server

CALENDAR = Calendar()


@pytest.fixture
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """With the calendar that a test gives it."""
    calendar = getattr(request, "param", CALENDAR)
    async with Server.in_process(options=Options(calendar=calendar)) as made:
        yield made


def _vault(server: Server) -> Vault:
    return Vault(server.master_key)


async def _kids(server: Server) -> list[str]:
    return [key["kid"] for key in (await server.http.get("/jwks")).json()["keys"]]


async def _keep(server: Server) -> None:
    await signing_keys.keep(server.store, _vault(server), now=int(server.clock), calendar=CALENDAR)


async def _records(server: Server) -> list[dict[str, Any]]:
    return [msgspec.json.decode(row.record) for row in await server.store.audit_log.export()]


async def test_two_periods(server: Server) -> None:
    """Announced, active and retiring keys are published, and a removed one is not; nobody did anything."""
    (first,) = await _kids(server)
    server.clock.now += 83 * DAY
    await _keep(server)
    second, kept = await _kids(server)
    assert kept == first
    server.clock.now += 7 * DAY
    assert await _kids(server) == [second, first]
    server.clock.now += 3 * DAY
    assert await _kids(server) == [second]
    await _keep(server)
    told = [(record["outcome"], record["kid"]) for record in await _records(server)]
    assert told == [("announced", second), ("removed", first)]
    assert {record["detail"].rpartition("; ")[2] for record in await _records(server)} == {"by the calendar"}
    assert [bool(key.sealed) for key in await server.store.signing_keys.list()] == [True, False]


async def test_the_server_keeps_the_calendar_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing_keys, "KEEP_SECONDS", 0.01)
    async with Server.in_process() as server:
        server.clock.now += 83 * DAY
        for _ in range(300):
            if len(await _kids(server)) == 2:
                return
            await asyncio.sleep(0.01)
        pytest.fail("no key was announced")


@pytest.mark.parametrize("server", [Calendar(period=600, announcement=120)], indirect=True)
async def test_an_announced_key_is_removed_without_a_successor(server: Server) -> None:
    (signer,) = await _kids(server)
    announced = await signing_keys.rotate(server.store, _vault(server), now=NOW, delay=120, by="a test", alg="RS256")
    reply = await server.http.get("/jwks")
    assert sorted(key["kid"] for key in reply.json()["keys"]) == sorted([signer, announced.kid])
    assert reply.headers["cache-control"] == "public, max-age=120", "a copy is no older than an announcement"
    await signing_keys.remove(server.store, _vault(server), announced.kid, now=NOW, by="a test")
    assert await _kids(server) == [signer]


async def test_what_is_stored_is_sealed(server: Server) -> None:
    (key,) = await server.store.signing_keys.list()
    stored = msgspec.json.encode(key)
    opened = json.loads(server.master_key.unseal(key.sealed, purpose=signing_key_purpose(key.kid)))
    assert opened["d"].encode() not in stored
    assert opened["d"] not in repr(key)
    assert "sealed" not in repr(key)


def test_settings_make_the_calendar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_module.load().calendar == Calendar(period=90 * DAY, announcement=7 * DAY)
    monkeypatch.setenv("AFFIANT_SIGNING_KEY_DAYS", "30")
    assert settings_module.load().calendar == Calendar(period=30 * DAY, announcement=7 * DAY)
    monkeypatch.setenv("AFFIANT_SIGNING_KEY_DAYS", "7")
    with pytest.raises(ConfigError, match="signing_key_announce_days: write fewer days than signing_key_days"):
        settings_module.load()
