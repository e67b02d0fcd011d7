"""The keys in their calendar, as the application signs with them and publishes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec
import pytest

from affiant.errors import ConfigError
from affiant.server import app
from affiant.server import settings as settings_module
from affiant.server.keys import signing_keys
from affiant.server.keys.calendar import DAY, Calendar
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import Vault, signing_key_purpose
from affiant.server.registry import directory
from affiant.storage.memory import MemoryStore

pytestmark = pytest.mark.anyio
ISSUER, NOW, MASTER = "https://as.example", 1_800_000_000, MasterKey.from_bytes(bytes(32))
VAULT = Vault(MASTER)


class Served:
    """The application, its store, and its clock."""

    def __init__(self, calendar: Calendar) -> None:
        self.store, self.now, self.calendar = MemoryStore(), [float(NOW)], calendar
        self.app = app.build(
            issuer=ISSUER,
            store=self.store,
            master_key=MASTER,
            options=app.Options(calendar=calendar),
            clock=lambda: self.now[0],
        )
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.app), base_url=ISSUER)

    async def kids(self) -> list[str]:
        return [key["kid"] for key in (await self.http.get("/jwks")).json()["keys"]]

    async def keep(self) -> None:
        await signing_keys.keep(self.store, VAULT, now=int(self.now[0]), calendar=self.calendar)

    async def records(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(row.record) for row in await self.store.audit_log.export()]


@asynccontextmanager
async def _serving(calendar: Calendar | None = None) -> AsyncIterator[Served]:
    served = Served(calendar or Calendar())
    async with served.app.router.lifespan_context(served.app), served.http:
        yield served


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "FRESH_SECONDS", 0.0)


async def test_two_periods() -> None:
    """Announced, active and retiring keys are published, and a removed one is not; nobody did anything."""
    async with _serving() as served:
        (first,) = await served.kids()
        served.now[0] += 83 * DAY
        await served.keep()
        second, kept = await served.kids()
        assert kept == first
        served.now[0] += 7 * DAY
        assert await served.kids() == [second, first]
        served.now[0] += 3 * DAY
        assert await served.kids() == [second]
        await served.keep()
        told = [(record["outcome"], record["kid"]) for record in await served.records()]
        assert told == [("announced", second), ("removed", first)]
        assert {record["detail"].rpartition("; ")[2] for record in await served.records()} == {"by the calendar"}
        assert [bool(key.sealed) for key in await served.store.signing_keys.list()] == [True, False]


async def test_the_server_keeps_the_calendar_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing_keys, "KEEP_SECONDS", 0.01)
    async with _serving() as served:
        served.now[0] += 83 * DAY
        for _ in range(300):
            if len(await served.kids()) == 2:
                return
            await asyncio.sleep(0.01)
        pytest.fail("no key was announced")


@pytest.mark.attack(240)
async def test_a_removed_key_is_gone_at_once() -> None:
    async with _serving() as served:
        (lost,) = await served.kids()
        signer = await signing_keys.remove(served.store, VAULT, lost, now=NOW, by="cli, root")
        assert signer is not None
        assert await served.kids() == [signer.kid] != [lost]
        removed = [record for record in await served.records() if record["outcome"] == "removed"]
        assert [(record["kid"], record["endpoint"]) for record in removed] == [(lost, "signing_keys")]
        assert removed[0]["detail"].endswith("by cli, root")


@pytest.mark.attack(245)
async def test_the_key_set_can_be_kept_and_asked_for_again() -> None:
    """No private member, each kid once, a copy no older than an announcement, and 304 for who has it."""
    async with _serving(Calendar(period=600, announcement=120)) as served:
        await signing_keys.rotate(served.store, VAULT, now=NOW, delay=120, by="a test", alg="RS256")
        reply = await served.http.get("/jwks")
        kids = [key["kid"] for key in reply.json()["keys"]]
        assert len(set(kids)) == len(kids) == 2
        assert not {"d", "p", "q", "dp", "dq", "qi", "k", "priv"} & {
            name for key in reply.json()["keys"] for name in key
        }
        assert reply.headers["cache-control"] == "public, max-age=120"
        for known in (reply.headers["etag"], f'"other", W/{reply.headers["etag"]}', "*"):
            again = await served.http.get("/jwks", headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", reply.headers["etag"])
        await signing_keys.remove(served.store, VAULT, kids[0], now=NOW, by="a test")
        changed = await served.http.get("/jwks", headers={"If-None-Match": reply.headers["etag"]})
        assert (changed.status_code, changed.headers["etag"] == reply.headers["etag"]) == (200, False)


async def test_what_is_stored_is_sealed() -> None:
    async with _serving() as served:
        (key,) = await served.store.signing_keys.list()
        stored = msgspec.json.encode(key)
        opened = json.loads(MASTER.unseal(key.sealed, purpose=signing_key_purpose(key.kid)))
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
