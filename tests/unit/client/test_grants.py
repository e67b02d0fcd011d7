"""Service.exchange and Service.task_token, against the real server."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from affiant import Service
from affiant.errors import LocalError, Refused
from affiant.jose import compact
from affiant.oauth import names
from affiant.testing import KEY, Server

API, OTHER = "https://orders.example", "https://stock.example"
GRANTS = (names.CLIENT_CREDENTIALS, names.TOKEN_EXCHANGE)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server.in_process() as made:
        await made.add_api(API, scope=("orders.read", "orders.write"), is_default=True)
        await made.add_api(OTHER, name="stock", scope=("orders.read",))
        scope = ("orders.read", "orders.write")
        await made.add_client("billing", resources=(API, OTHER), scope=scope, grant_types=GRANTS)
        await made.add_client("orders", resources=(OTHER,), scope=scope, introspects=(API,), grant_types=GRANTS)
        yield made


def service(server: Server, client_id: str) -> Service:
    return Service(server.issuer, client_id, key=KEY, http=server.blocking_http(), clock=lambda: server.clock.now)


async def test_an_api_exchanges_what_it_got(server: Server) -> None:
    presented = await service(server, "billing").atoken(API)
    made = await service(server, "orders").aexchange(presented.value, resource=OTHER)
    claims = compact.parse(made.access_token).claims
    assert (claims["sub"], claims["client_id"], claims["aud"]) == ("billing", "orders", OTHER)
    assert claims["act"]["sub"] == "orders"
    assert made.issued_token_type == names.ACCESS_TOKEN_TOKEN_TYPE
    assert made.access_token not in repr(made)


async def test_a_task_has_a_narrower_token(server: Server) -> None:
    billing = service(server, "billing")
    made = await asyncio.to_thread(billing.task_token, "t-1", lifetime=60, scope="orders.read", resource=API)
    claims = compact.parse(made.access_token).claims
    assert (claims["task"], claims["scope"], claims["exp"] - claims["iat"]) == ("t-1", "orders.read", 60)
    with pytest.raises(Refused):
        await asyncio.to_thread(billing.task_token, "two words", lifetime=60, resource=API)


async def test_a_grant_that_does_not_authenticate_cannot_exchange(server: Server) -> None:
    alone = Service(server.issuer, "billing", key=KEY, grant="jwt-bearer", http=server.blocking_http())
    with pytest.raises(LocalError, match="does not authenticate the client"):
        await asyncio.to_thread(alone.exchange, "token")
