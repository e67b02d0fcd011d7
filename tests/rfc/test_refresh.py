"""Refresh tokens: RFC 6749 section 6 and RFC 9700 section 4.14, on every adapter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.rfc.conftest import API, ISSUER, NOW, OTHER_API, Server, refusal

from affiant.jose import compact
from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Store
from affiant.storage.sqlite import SqliteStore

pytestmark = pytest.mark.anyio
INVALID_GRANT = (400, "invalid_grant")
DAY = 86_400


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of each make."""
    return MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "test.db")


def _assertion(server: Server, name: str = "refreshing") -> str:
    return server.assertion(iss=name, sub=name)


async def _first(server: Server, **parameters: Any) -> str:
    """A refresh token that was never used."""
    text: str = (await server.token(assertion=_assertion(server), **parameters))["refresh_token"]
    return text


async def _use(server: Server, token: str, *, by: str = "refreshing", **parameters: Any) -> httpx2.Response:
    form = server.form(_assertion(server, by), grant_type="refresh_token", refresh_token=token, **parameters)
    return await server.post(form)


@pytest.mark.rfc(6749, "6")
async def test_a_refresh_gives_a_token_with_the_same_scope(server: Server) -> None:
    """If omitted, the scope is that which was granted."""
    reply = await _use(server, await _first(server, scope="read"))
    assert reply.status_code == 200
    members = reply.json()
    assert set(members) == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
    assert members["scope"] == "read"
    assert compact.parse(members["access_token"]).claims["scope"] == "read"


@pytest.mark.rfc(6749, "6")
async def test_the_client_must_authenticate(server: Server) -> None:
    token = await _first(server)
    reply = await server.post({"grant_type": "refresh_token", "refresh_token": token, "client_id": "refreshing"})
    assert refusal(reply) == (401, "invalid_client")
    assert (await _use(server, token)).status_code == 200


@pytest.mark.rfc(6749, "6")
async def test_a_token_is_bound_to_its_client(server: Server) -> None:
    """The server MUST ensure that the refresh token was issued to the authenticated client."""
    await server.register("other", grant_types=("client_credentials", "refresh_token"))
    token = await _first(server)
    stolen, unknown = await _use(server, token, by="other"), await _use(server, "unknown", by="other")
    assert refusal(stolen) == refusal(unknown) == INVALID_GRANT
    # Whether the token exists is told to nobody but its client.
    assert stolen.json()["error_description"] == unknown.json()["error_description"]
    assert (await _use(server, token)).status_code == 200


@pytest.mark.rfc(6749, "6")
async def test_a_wider_scope_is_refused(server: Server) -> None:
    """The requested scope MUST NOT include any scope not originally granted."""
    token = await _first(server, scope="read")
    assert refusal(await _use(server, token, scope="read write")) == (400, "invalid_scope")
    assert (await _use(server, token, scope="read")).status_code == 200


@pytest.mark.rfc(6749, "6")
async def test_a_narrower_scope_leaves_the_successor_whole(server: Server) -> None:
    """If a new refresh token is issued, its scope MUST be identical to that of the one that was used."""
    reply = await _use(server, await _first(server), scope="read")
    assert reply.json()["scope"] == "read"
    again = await _use(server, reply.json()["refresh_token"])
    assert again.json()["scope"] == "read write"


@pytest.mark.rfc(6749, "6")
async def test_the_parameter_is_required(server: Server) -> None:
    form = server.form(_assertion(server), grant_type="refresh_token")
    assert refusal(await server.post(form)) == (400, "invalid_request")
    form = server.form(_assertion(server), grant_type="refresh_token", refresh_token="")
    assert refusal(await server.post(form)) == (400, "invalid_request")


@pytest.mark.rfc(6749, "5.2")
@pytest.mark.parametrize("token", ["x", "x" * 43, "\x00", "\u20ac", "a b", "' OR 1=1 --"])
async def test_an_unknown_token_is_an_invalid_grant(server: Server, token: str) -> None:
    assert refusal(await _use(server, token)) == INVALID_GRANT


@pytest.mark.rfc(6749, "5.2")
async def test_an_access_token_is_no_refresh_token(server: Server) -> None:
    access_token = (await server.token())["access_token"]
    assert refusal(await _use(server, access_token)) == INVALID_GRANT


@pytest.mark.rfc(6749, "10.4")
async def test_a_disabled_client_refreshes_nothing(server: Server) -> None:
    token = await _first(server)
    await server.store.clients.update("refreshing", lambda client: replace(client, enabled=False))
    assert refusal(await _use(server, token)) == (401, "invalid_client")


@pytest.mark.rfc(6749, "10.4")
async def test_a_removed_client_takes_its_tokens_along(server: Server) -> None:
    """A client of the same name, registered later, does not inherit them."""
    token = await _first(server)
    await server.store.clients.remove("refreshing")
    await server.register("refreshing", grant_types=("client_credentials", "refresh_token"))
    assert refusal(await _use(server, token)) == INVALID_GRANT


@pytest.mark.rfc(6749, "6")
async def test_a_token_without_scopes_can_be_refreshed(server: Server) -> None:
    """No scope is a scope that stays the same."""
    grants = ("client_credentials", "refresh_token")
    await server.register("plain", scope=(), grant_types=grants)
    token = (await server.token(assertion=_assertion(server, "plain")))["refresh_token"]
    reply = await _use(server, token, by="plain")
    assert reply.status_code == 200
    assert "scope" not in compact.parse(reply.json()["access_token"]).claims


@pytest.mark.rfc(8707, "2.2")
async def test_another_resource_than_the_granted_is_refused(server: Server) -> None:
    """The requested resource must be within the original grant."""
    grants = ("client_credentials", "refresh_token")
    await server.register("two", scope=("read",), resources=(API, OTHER_API), grant_types=grants)
    token = (await server.token(assertion=_assertion(server, "two"), resource=API))["refresh_token"]
    assert refusal(await _use(server, token, by="two", resource=OTHER_API)) == (400, "invalid_target")
    reply = await _use(server, token, by="two", resource=API)
    assert compact.parse(reply.json()["access_token"]).claims["aud"] == API


@pytest.mark.rfc(8707, "2.2")
async def test_one_of_the_granted_resources_may_be_asked_for(server: Server) -> None:
    """The successor still stands for both."""
    grants = ("client_credentials", "refresh_token")
    await server.register("two", scope=("read",), resources=(API, OTHER_API), grant_types=grants)
    token = (await server.token(assertion=_assertion(server, "two"), resource=[API, OTHER_API]))["refresh_token"]
    one = (await _use(server, token, by="two", resource=API)).json()
    assert compact.parse(one["access_token"]).claims["aud"] == API
    both = (await _use(server, one["refresh_token"], by="two")).json()
    assert compact.parse(both["access_token"]).claims["aud"] == [API, OTHER_API]


@pytest.mark.rfc(9700, "4.14.2")
async def test_a_token_rotates(server: Server) -> None:
    """Each use gives another refresh token."""
    seen = [await _first(server)]
    for _ in range(3):
        seen.append((await _use(server, seen[-1])).json()["refresh_token"])
    assert len(set(seen)) == 4


@pytest.mark.rfc(9700, "4.14.2")
async def test_reuse_revokes_the_family(server: Server) -> None:
    """Reuse is detected, and the active refresh token is revoked as well."""
    first = await _first(server)
    second = (await _use(server, first)).json()["refresh_token"]
    server.now[0] += 121
    reply = await _use(server, first)
    assert refusal(reply) == INVALID_GRANT
    assert reply.json()["error_uri"] == f"{ISSUER}/errors/refresh_token.reused"
    reply = await _use(server, second)
    assert refusal(reply) == INVALID_GRANT
    assert reply.json()["error_uri"] == f"{ISSUER}/errors/refresh_token.revoked"


@pytest.mark.rfc(9700, "4.14.2")
async def test_reuse_in_one_family_leaves_others_alone(server: Server) -> None:
    first, other = await _first(server), await _first(server)
    await _use(server, first)
    server.now[0] += 121
    assert refusal(await _use(server, first)) == INVALID_GRANT
    assert (await _use(server, other)).status_code == 200


@pytest.mark.rfc(9700, "4.14.2")
async def test_a_lost_answer_is_given_again(server: Server) -> None:
    """Within 120 s the same successor, so that one lost answer does not lock a client out, and no second one."""
    first = await _first(server)
    successor = (await _use(server, first)).json()["refresh_token"]
    server.now[0] += 120
    reply = await _use(server, first)
    assert reply.status_code == 200
    assert reply.json()["refresh_token"] == successor


@pytest.mark.rfc(9700, "4.14.2")
async def test_an_unused_token_ends(server: Server) -> None:
    """Refresh tokens SHOULD expire if the client has been inactive for some time."""
    token = await _first(server)
    server.now[0] = NOW + 7 * DAY - 1
    token = (await _use(server, token)).json()["refresh_token"]
    server.now[0] += 7 * DAY
    assert refusal(await _use(server, token)) == INVALID_GRANT


@pytest.mark.rfc(9700, "4.14.2")
async def test_a_family_ends_however_much_it_is_used(server: Server) -> None:
    token = await _first(server)
    for day in (6, 12, 18, 24, 29):
        server.now[0] = NOW + day * DAY
        token = (await _use(server, token)).json()["refresh_token"]
    server.now[0] = NOW + 30 * DAY
    assert refusal(await _use(server, token)) == INVALID_GRANT
