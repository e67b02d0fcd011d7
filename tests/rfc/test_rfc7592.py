"""RFC 7592: a client reads, replaces and deletes its registration, and nobody else's."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.rfc.conftest import API, running
from tests.rfc.registering import MINE, NEXT, Registered, jwks, metadata, registered
from tests.stores import records

from affiant.server.registry import clients
from affiant.storage.ports import Store
from affiant.storage.postgres import PostgresStore
from affiant.storage.records import Rule, Trust
from affiant.storage.sqlite import SqliteStore
from affiant.testing import ABSENT, NOW, Server, basic, messages


@pytest.fixture
async def client(server: Server) -> Registered:
    return await registered(server)


async def _changed_nothing(client: Registered, reply: httpx2.Response, status: int = 400) -> None:
    assert reply.status_code == status, reply.text
    assert (await client.read()).json() == {k: v for k, v in client.told.items() if not k.startswith("client_secret")}


@pytest.mark.rfc(7592, "2.1")
async def test_reading_a_registration(client: Registered) -> None:
    reply = await client.read()
    assert (reply.status_code, reply.headers["cache-control"]) == (200, "no-store")
    assert reply.json() == client.told


@pytest.mark.rfc(7592, "2.2")
async def test_putting_replaces_all(client: Registered) -> None:
    """Omitted members MUST be treated as a request to delete them."""
    put = {"client_id": client.client_id, "jwks": jwks(NEXT), "token_endpoint_auth_method": "private_key_jwt"}
    reply = await client.put({**put, "software_version": "3", "scope": "write"})
    assert (reply.status_code, reply.headers["cache-control"]) == (200, "no-store")
    told = reply.json()
    assert (told["scope"], told["software_version"], told["jwks"]) == ("write", "3", jwks(NEXT))
    assert "client_name" not in told
    assert (told["registration_access_token"], told["client_id"]) == (client.token, client.client_id)
    assert (await client.read()).json() == told
    assert (await client.ask()).status_code == 401
    assert (await client.ask(NEXT)).json()["scope"] == "write"


@pytest.mark.rfc(7592, "2.2")
@pytest.mark.parametrize("client_id", ["c1", "", None, 1, ["x"], ABSENT])
async def test_client_id_must_be_its_own(client: Registered, client_id: object) -> None:
    await _changed_nothing(client, await client.put(messages.changed(metadata(), {"client_id": client_id})))


@pytest.mark.rfc(7592, "2.2")
@pytest.mark.parametrize(
    "name",
    ["registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"],
)
async def test_server_only_members_are_refused(client: Registered, name: str) -> None:
    value = client.told.get(name, 0)
    await _changed_nothing(client, await client.replace(**{name: value}))


@pytest.mark.rfc(7592, "2.2")
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_jwt"])
async def test_sent_secret_must_be_current(server: Server, method: str) -> None:
    """The client MUST NOT be allowed to overwrite it with a value of its own."""
    client = await registered(server, token_endpoint_auth_method=method, jwks=None)
    same: dict[str, Any] = {"token_endpoint_auth_method": method, "jwks": None}
    for secret in ("x" * 43, "", 1, True, client.told["client_secret"] + "x"):
        await _changed_nothing(client, await client.replace(**same, client_secret=secret))
    reply = await client.replace(**same, client_secret=client.told["client_secret"], client_name="New")
    assert (reply.status_code, reply.json()["client_name"]) == (200, "New")
    assert "client_secret" not in reply.json()


@pytest.mark.rfc(7592, "2.2")
async def test_client_without_secret_sends_none(client: Registered) -> None:
    await _changed_nothing(client, await client.replace(client_secret="x"))


async def test_secret_stays_when_rest_is_replaced(server: Server) -> None:
    client = await registered(server, token_endpoint_auth_method="client_secret_basic", jwks=None)
    assert (await client.replace(token_endpoint_auth_method="client_secret_basic", jwks=None)).status_code == 200
    headers = basic(client.client_id, client.told["client_secret"])
    assert (await server.post({"grant_type": "client_credentials"}, headers=headers)).status_code == 200


async def test_changed_method_ends_old_credentials(client: Registered, server: Server) -> None:
    reply = await client.replace(token_endpoint_auth_method="client_secret_basic", jwks=None)
    told = reply.json()
    assert (reply.status_code, told["client_secret_expires_at"]) == (200, 0)
    assert (await client.ask()).status_code == 401
    headers = basic(client.client_id, told["client_secret"])
    assert (await server.post({"grant_type": "client_credentials"}, headers=headers)).status_code == 200
    back = await client.replace(jwks=jwks(NEXT))
    assert (back.status_code, "client_secret" in back.json()) == (200, False)
    assert (await server.post({"grant_type": "client_credentials"}, headers=headers)).status_code == 401
    assert (await client.ask(NEXT)).status_code == 200


async def test_removed_key_does_not_return(client: Registered) -> None:
    assert (await client.replace(jwks=jwks(NEXT))).status_code == 200
    assert (await client.replace(jwks=jwks(MINE))).status_code == 400


async def test_keys_follow_each_other(client: Registered) -> None:
    assert (await client.replace(jwks=jwks(MINE, NEXT))).status_code == 200
    assert (await client.ask()).status_code == 200
    assert (await client.replace(jwks=jwks(NEXT))).status_code == 200
    assert ((await client.ask()).status_code, (await client.ask(NEXT)).status_code) == (401, 200)


@pytest.mark.rfc(7592, "2.2")
async def test_replacement_stays_within_the_invitation(client: Registered, server: Server) -> None:
    await _changed_nothing(client, await client.replace(scope="read admin"))
    (token,) = await server.store.initial_access_tokens.list()
    await server.store.initial_access_tokens.remove(token.id)
    await _changed_nothing(client, await client.replace(scope="read admin"))
    assert (await client.replace(scope="read write")).status_code == 200


async def test_operators_decisions_stay(client: Registered, server: Server) -> None:
    now = int(server.clock.now)
    await server.store.clients.update(
        client.client_id,
        lambda standing: clients.change(
            standing, {"scope": ["read"], "dpop_bound_access_tokens": True, "introspects": [API]}, now=now
        ),
    )
    assert (await client.replace(scope="read write")).status_code == 400
    told = (await client.replace(scope=None, dpop_bound_access_tokens=False)).json()
    assert (told["scope"], told["dpop_bound_access_tokens"]) == ("read", True)
    stored = await server.store.clients.find(client.client_id)
    assert stored is not None
    assert stored.introspects == (API,)


async def test_same_keys_may_move_to_address(client: Registered, server: Server) -> None:
    """What was registered is forgotten, not revoked: the set at the address has the very same keys."""
    assert (await client.replace(jwks=None, jwks_uri="https://keys.example/jwks")).status_code == 200
    stored = await server.store.clients.find(client.client_id)
    assert stored is not None
    assert stored.keys == ()


@pytest.mark.rfc(7592, "2.3")
async def test_deletion_takes_the_rules_of_the_client_along(client: Registered) -> None:
    """Otherwise the next client of this name would be open to the platform."""
    store = client.server.store
    await store.trusts.add(Trust("ci", "https://ci.example"))
    await store.rules.add(Rule("deploy", "ci", client.client_id))
    assert (await client.delete()).status_code == 204
    assert await store.rules.list() == []
    assert [(row["outcome"], row.get("subject")) for row in (await records(store))[-2:]] == [
        ("deleted", f"client {client.client_id}"), ("removed", "rule deploy"),
    ]  # fmt: skip
    assert ("rule", "ci/deploy") in {(one.kind, one.value) for one in await store.revocations.list(NOW)}


@pytest.mark.rfc(7592, "2.3")
async def test_deleting_ends_everything(client: Registered, server: Server) -> None:
    """The server SHOULD immediately invalidate all tokens of the client."""
    await client.replace(grant_types=["client_credentials", "refresh_token"])
    answer = (await client.ask()).json()
    await server.add_client("rs", "client_secret_basic", introspects=(API,))
    asked: dict[str, Any] = {"data": {"token": answer["access_token"]}, "headers": basic("rs", server.secrets["rs"])}
    assert (await server.http.post("/introspect", **asked)).json()["active"] is True
    reply = await client.delete()
    assert (reply.status_code, reply.content, reply.headers["cache-control"]) == (204, b"", "no-store")
    assert "content-length" not in reply.headers
    assert (await server.http.post("/introspect", **asked)).json() == {"active": False}
    digest = server.master_key.digest(answer["refresh_token"])
    assert await server.store.refresh_tokens.find(digest) is None
    assert (await client.ask()).status_code == 401
    revoked = await server.store.revocations.find([("client", client.client_id)])
    assert [row.at for row in revoked] == [int(server.clock.now)]
    assert (await client.read()).status_code == 401
    assert (await client.delete()).status_code == 401


async def test_client_that_is_disabled_manages_nothing(client: Registered, server: Server) -> None:
    await server.store.clients.update(client.client_id, lambda standing: replace(standing, enabled=False))
    replies = [await client.read(), await client.replace(), await client.delete()]
    assert [reply.status_code for reply in replies] == [401, 401, 401]
    assert await server.store.clients.find(client.client_id) is not None


@pytest.fixture(params=["sqlite", "postgres"])
def lasting(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "sqlite":
        return SqliteStore(tmp_path / "test.db")
    return PostgresStore(request.getfixturevalue("tables"))


async def test_life_of_a_registration_on_a_file(lasting: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused inside the commit leaves all as it was."""
    async with running(lasting) as server:
        client = await registered(server)
        for changes in ({"scope": "admin"}, {"jwks": None}, {"client_secret": "x"}):
            await _changed_nothing(client, await client.replace(**changes))
        assert (await client.replace(jwks=jwks(NEXT))).status_code == 200
        await asyncio.gather(*(client.replace(jwks=jwks(NEXT), client_name=f"n{n}") for n in range(5)))
        assert (await client.ask(NEXT)).status_code == 200
        replies = await asyncio.gather(*(client.delete() for _ in range(5)))
        assert sorted(reply.status_code for reply in replies) == [204, 401, 401, 401, 401]
        assert (await client.ask(NEXT)).status_code == 401
        assert [row.kind for row in await server.store.revocations.list(int(server.clock.now))] == ["client"]


async def test_reads_are_limited_separately(client: Registered, server: Server) -> None:
    limits = server.app._endpoints["/token"]._limits  # type: ignore[attr-defined]
    burst = limits.rates.tokens.burst
    for _ in range(burst):
        limits.count_share(client.client_id, "registration", server.clock.now)
    reply = await client.read()
    assert (reply.status_code, reply.json()["error"]) == (429, "temporarily_unavailable")
    assert (await client.ask()).status_code == 200
