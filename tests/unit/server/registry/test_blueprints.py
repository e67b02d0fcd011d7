"""Clients with a blueprint authenticate with its keys, and end with it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from affiant.errors import ConfigError
from affiant.jose import compact, keys
from affiant.oauth import names
from affiant.oauth import revocations as rule
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import clients
from affiant.server.token import active
from affiant.storage.entries import AuditRecord, Entry, Revocation
from affiant.storage.records import Client
from affiant.testing import Server
from affiant.testing.clock import NOW

API = "https://orders.example"
KEY, OTHER = keys.generate("ES256"), keys.generate("ES256")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server.in_process() as made:
        await made.add_api(API, scope=("orders.read",), is_default=True)
        await made.add_client("planner", key=KEY, owner="research")
        for name in ("planner-1", "planner-2"):
            await made.add_client(name, key=KEY, keys=(), blueprint="planner", kind="agent")
        yield made


async def claims_of(server: Server, client_id: str) -> dict[str, Any]:
    return compact.parse((await server.token(client_id))["access_token"]).claims


async def is_active(server: Server, claims: dict[str, Any]) -> bool:
    return not await active.is_revoked(claims, server.store.revocations)


async def revoke(server: Server, kind: str, value: str) -> None:
    revocation = Revocation(kind, value, int(server.clock), int(server.clock) + 3600)
    record = AuditRecord(at=server.clock.now, trace_id="t", endpoint="admin", outcome="revoked")
    await server.store.ledger.claim(Entry(record, revocations=(revocation,)))


async def test_a_child_has_its_own_sub_and_the_keys_of_the_blueprint(server: Server) -> None:
    child, plain = await claims_of(server, "planner-1"), await claims_of(server, "planner")
    assert (child["sub"], child["client_id"], child["sub_profile"]) == ("planner-1", "planner-1", "ai_agent")
    assert child["parents"] == [{"client_id": "planner", "client_key": KEY.public().thumbprint}]
    assert not plain.keys() & {"sub_profile", "parents"}
    reply = await server.post(server.form(server.assertion("planner-1", key=OTHER)))
    assert reply.status_code == 401


@pytest.mark.attack(333)
async def test_a_disabled_blueprint_ends_its_clients(server: Server) -> None:
    claims = [await claims_of(server, name) for name in ("planner-1", "planner-2")]
    await revoke(server, "client", "planner-1")
    assert [await is_active(server, each) for each in claims] == [False, True]
    await revoke(server, "client", "planner")
    assert [await is_active(server, each) for each in claims] == [False, False]
    await server.store.clients.update("planner", lambda client: replace(client, enabled=False))
    for name in ("planner-1", "planner-2"):
        assert (await server.post(server.form(server.assertion(name)))).status_code == 401
    await server.store.clients.remove("planner")
    assert (await server.post(server.form(server.assertion("planner-1")))).status_code == 401


@pytest.mark.attack(333)
async def test_a_revoked_key_of_the_blueprint_ends_what_its_clients_got_with_it(server: Server) -> None:
    claims = await claims_of(server, "planner-1")
    await revoke(server, "key", str(rule.of_key("planner", KEY.public().thumbprint)))
    assert not await is_active(server, claims)


async def test_a_child_changes_no_keys(server: Server) -> None:
    form = {"client_assertion": server.assertion("planner-1"), "action": "prove"}
    reply = await server.post({**form, "client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE}, path="/client-keys")
    assert (reply.status_code, reply.json()["error"]) == (403, "unauthorized_client")


@pytest.mark.parametrize(
    ("client", "has_keys", "message"),
    [
        (Client("c", names.CLIENT_SECRET_BASIC, blueprint="b"), False, "authenticates by private_key_jwt"),
        (Client("c", names.PRIVATE_KEY_JWT, blueprint="b"), True, "has the keys of its blueprint b"),
        (
            Client("c", names.PRIVATE_KEY_JWT, blueprint="b", jwks_uri="https://c.example/jwks"),
            False,
            "has the keys of its blueprint b",
        ),
        (
            Client("c", names.PRIVATE_KEY_JWT, blueprint="b", grant_types=(names.REFRESH_TOKEN,)),
            False,
            "no refresh tokens",
        ),
    ],
)
def test_a_child_has_no_credential_of_its_own(client: Client, has_keys: bool, message: str) -> None:
    given = (OTHER.public(),) if has_keys else ()
    with pytest.raises(ConfigError, match=message):
        clients.build(client, master_key=MasterKey.from_bytes(bytes(32)), now=int(NOW), keys=given)


@pytest.mark.parametrize(
    ("blueprint", "message"),
    [
        (None, "register it first"),
        (Client("b", names.PRIVATE_KEY_JWT, blueprint="a"), "name a"),
        (Client("b", names.PRIVATE_KEY_JWT, jwks_uri="https://b.example/jwks"), "keys that are registered here"),
        (Client("b", names.CLIENT_SECRET_BASIC), "authenticates by private_key_jwt"),
    ],
)
def test_only_some_clients_can_be_a_blueprint(blueprint: Client | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        clients.check_holder(Client("c", names.PRIVATE_KEY_JWT, blueprint="b"), blueprint)
