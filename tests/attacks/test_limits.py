"""Row 147 and the limits: they stop who fails, and never who can prove who he is."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from tests.attacks.bench import API, STRANGER

from affiant.errors.reasons import Reason
from affiant.jose.signer import Signer
from affiant.server.request import background
from affiant.server.request.limits import Limits, Rate, Rates
from affiant.testing import ISSUER, KEY, Server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """It allows three failures and five tokens."""
    async with Server.in_process(rates=Rates(failures=Rate(3, 0.1), tokens=Rate(5, 0.1))) as made:
        await made.add_api(API, scope=("r",), is_default=True)
        for name in ("c1", "c2"):
            await made.add_client(name, scope=("r",))
        yield made


async def _ask(
    server: Server,
    client_id: str = "c1",
    *,
    key: Signer = KEY,
    jti: str | None = None,
    path: str = "/token",
    **form: str,
) -> httpx2.Response:
    claims: dict[str, Any] = {"jti": jti} if jti else {}
    return await server.post(server.form(server.assertion(client_id, key=key, **claims), **form), path=path)


async def _guess(server: Server, client_id: str = "c1") -> httpx2.Response:
    return await _ask(server, client_id, key=STRANGER)


async def _audited(server: Server) -> list[dict[str, Any]]:
    records = [json.loads(row.record) for row in await server.store.audit_log.export()]
    return [record for record in records if record["outcome"] != "explained"]  # found out a second later


def _is_limited(reply: httpx2.Response, reason: Reason) -> bool:
    body = reply.json()
    limited = reply.status_code == 429
    if limited:
        assert body["error"] == "temporarily_unavailable"
        assert body["error_uri"] == f"{ISSUER}/errors/{reason.code}"
        assert int(reply.headers["retry-after"]) >= 1
        assert "www-authenticate" not in reply.headers
    return limited


async def test_failures_are_limited(server: Server) -> None:
    replies = [await _guess(server) for _ in range(6)]
    assert [reply.status_code for reply in replies] == [401] * 3 + [429] * 3
    assert all(_is_limited(reply, Reason.LIMIT_FAILURES) for reply in replies[3:])


async def test_limited_failures_look_alike(server: Server) -> None:
    """Known or not, enabled or not: the same bytes, but for the trace."""
    for _ in range(10):
        await _guess(server, "c1")
        await _guess(server, "nobody")
    told = [{**(await _guess(server, name)).json(), "trace_id": ""} for name in ("c1", "nobody")]
    assert told[0] == told[1]


async def test_limited_failures_do_not_fill_log(server: Server) -> None:
    for _ in range(200):
        await _guess(server)
    before = await _audited(server)
    assert len(before) == 3
    limits: Limits = server.app._endpoints["/token"]._limits  # type: ignore[attr-defined]
    await background.record_limits(server.store.ledger, limits, server.clock.now)
    (summary,) = (await _audited(server))[3:]
    assert (summary["reason"], summary["outcome"]) == ("limit.failures", "limited")
    assert summary["detail"].startswith("197 requests of ")


@pytest.mark.attack(147)
async def test_tokens_are_limited_per_client(server: Server) -> None:
    """429 with Retry-After for the one, 200 for the other; and the jti is not used up."""
    assert [(await _ask(server)).status_code for _ in range(5)] == [200] * 5
    assert _is_limited(await _ask(server, jti="kept"), Reason.LIMIT_TOKENS)
    assert (await _ask(server, "c2")).status_code == 200
    server.clock.advance(20)
    assert (await _ask(server, jti="kept")).status_code == 200


@pytest.mark.attack(147)
async def test_token_limit_leaves_key_changes_free(server: Server) -> None:
    """Each endpoint counts apart: the keys can be seen and changed, and tokens revoked, while no token is to be had."""
    while (reply := await _ask(server)).status_code == 200:
        pass
    assert _is_limited(reply, Reason.LIMIT_TOKENS)
    for path, name, value in (("/client-keys", "action", "list"), ("/revoke", "token", "none")):
        assert (await server.post(server.form(grant_type="absent", **{name: value}), path=path)).status_code == 200, (
            path
        )


async def test_client_that_is_refused_counts_too(server: Server) -> None:
    """Who proves who he is and asks for what he may not have, again and again, fills the log as well."""
    replies = [await _ask(server, scope="nope") for _ in range(7)]
    assert [reply.status_code for reply in replies] == [400] * 5 + [429] * 2


async def test_replays_spend_no_client_limit(server: Server) -> None:
    """Shown again and again it is a failure of who shows it, and soon writes nothing more."""
    stolen = [await _ask(server, jti="stolen") for _ in range(20)]
    assert [reply.status_code for reply in stolen] == [200] + [401] * 3 + [429] * 16
    assert len(await _audited(server)) == 4
    assert [(await _ask(server)).status_code for _ in range(5)] == [200] * 4 + [429]
