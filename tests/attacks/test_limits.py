"""Row 147 and the limits: they stop who fails, and never who can prove who he is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from affiant.jose import compact, keys
from affiant.reasons import Reason
from affiant.server import app
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import clients
from affiant.server.request import background
from affiant.server.request.limits import Limits, Rate, Rates
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Api, Client

pytestmark = pytest.mark.anyio
ISSUER, NOW = "https://as.example", 1_800_000_000
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KEY, STRANGER = keys.generate("ES256"), keys.generate("ES256")


class House:
    """A server that allows three failures and five tokens."""

    def __init__(self, http: httpx2.AsyncClient, store: MemoryStore, limits: Limits, now: list[float]) -> None:
        self.http, self.store, self.limits, self.now = http, store, limits, now
        self.serial = 0

    async def ask(
        self, key: Any = KEY, client_id: str = "c1", jti: str | None = None, path: str = "/token", **form: str
    ) -> httpx2.Response:
        self.serial += 1
        now = int(self.now[0])
        claims = {"iss": client_id, "sub": client_id, "aud": ISSUER, "exp": now + 60, "jti": jti or str(self.serial)}
        text = compact.sign({}, claims, key)
        body = {"grant_type": "client_credentials", "client_assertion_type": TYPE, "client_assertion": text, **form}
        return await self.http.post(path, data={name: value for name, value in body.items() if value})

    async def audited(self) -> list[dict[str, Any]]:
        records = [json.loads(row.record) for row in await self.store.audit_log.export()]
        return [record for record in records if record["outcome"] != "explained"]  # found out a second later


@pytest.fixture
async def house() -> AsyncIterator[House]:
    store, now, master = MemoryStore(), [float(NOW)], MasterKey.from_bytes(bytes(32))
    await store.apis.add(Api("https://api.example", "a", ("r",), is_default=True, created_at=NOW))
    for name in ("c1", "c2"):
        made = clients.build(
            Client(name, "private_key_jwt", scope=("r",)), master_key=master, now=NOW, keys=(KEY.public(),)
        )
        await store.clients.add(made.client)
    limits = Limits(Rates(failures=Rate(3, 0.1), tokens=Rate(5, 0.1)), key=bytes(32))
    server = app.build(issuer=ISSUER, store=store, master_key=master, limits=limits, clock=lambda: now[0])
    transport = httpx2.ASGITransport(app=server)
    async with server.router.lifespan_context(server), httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
        yield House(http, store, limits, now)


def _is_limited(reply: httpx2.Response, reason: Reason) -> bool:
    body = reply.json()
    limited = reply.status_code == 429
    if limited:
        assert body["error"] == "temporarily_unavailable"
        assert body["error_uri"] == f"{ISSUER}/errors/{reason.code}"
        assert int(reply.headers["retry-after"]) >= 1
        assert "www-authenticate" not in reply.headers
    return limited


async def test_failures_are_limited(house: House) -> None:
    replies = [await house.ask(STRANGER) for _ in range(6)]
    assert [reply.status_code for reply in replies] == [401] * 3 + [429] * 3
    assert all(_is_limited(reply, Reason.LIMIT_FAILURES) for reply in replies[3:])


async def test_a_stranger_locks_nobody_out(house: House) -> None:
    """The failures of others, from the same address and in the same name, do not touch who has the key."""
    for _ in range(50):
        await house.ask(STRANGER)
    assert (await house.ask()).status_code == 200


async def test_limited_failures_tell_nothing_of_the_client(house: House) -> None:
    """Known or not, enabled or not: the same bytes, but for the trace."""
    for _ in range(10):
        await house.ask(STRANGER, "c1")
        await house.ask(STRANGER, "nobody")
    told = [{**(await house.ask(STRANGER, name)).json(), "trace_id": ""} for name in ("c1", "nobody")]
    assert told[0] == told[1]


async def test_limited_failures_do_not_fill_the_log(house: House) -> None:
    for _ in range(200):
        await house.ask(STRANGER)
    before = await house.audited()
    assert len(before) == 3
    await background.tell_of_limits(house.store.ledger, house.limits, house.now[0])
    (summary,) = (await house.audited())[3:]
    assert (summary["reason"], summary["outcome"]) == ("limit.failures", "limited")
    assert summary["detail"].startswith("197 requests of ")


@pytest.mark.attack(147)
async def test_tokens_are_limited_per_client(house: House) -> None:
    """429 with Retry-After for the one, 200 for the other; and the jti is not used up."""
    assert [(await house.ask()).status_code for _ in range(5)] == [200] * 5
    assert _is_limited(await house.ask(jti="kept"), Reason.LIMIT_TOKENS)
    assert (await house.ask(client_id="c2")).status_code == 200
    house.now[0] += 20
    assert (await house.ask(jti="kept")).status_code == 200


@pytest.mark.attack(147)
async def test_who_floods_with_a_stolen_key_cannot_keep_its_owner_from_changing_it(house: House) -> None:
    """Each endpoint counts apart: the keys can be seen and changed, and tokens revoked, while no token is to be had."""
    while (reply := await house.ask()).status_code == 200:
        pass
    assert _is_limited(reply, Reason.LIMIT_TOKENS)
    for path, form in (("/client-keys", {"action": "list"}), ("/revoke", {"token": "none"})):
        assert (await house.ask(path=path, grant_type="", **form)).status_code == 200, path


async def test_a_client_that_is_refused_counts_too(house: House) -> None:
    """Who proves who he is and asks for what he may not have, again and again, fills the log as well."""
    replies = [await house.ask(scope="nope") for _ in range(7)]
    assert [reply.status_code for reply in replies] == [400] * 5 + [429] * 2


async def test_a_stolen_assertion_uses_up_nothing_of_its_client(house: House) -> None:
    """Shown again and again it is a failure of who shows it, and soon writes nothing more."""
    house.serial = 900
    stolen = [await house.ask(jti="stolen") for _ in range(20)]
    assert [reply.status_code for reply in stolen] == [200] + [401] * 3 + [429] * 16
    assert len(await house.audited()) == 4
    assert [(await house.ask()).status_code for _ in range(5)] == [200] * 4 + [429]
