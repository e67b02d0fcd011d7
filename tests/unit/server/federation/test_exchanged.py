"""Platforms' tokens as subject tokens (RFC 8693): what authenticates nobody is exchanged for nothing, either."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from tests.platforms.issuer import signed
from tests.platforms.trap import Good, Trap
from tests.platforms.traps import GOOD, TRAPS
from tests.unit.server.federation.registering import API, CEILING, SCOPE, ask, audited, refused, trusting

from affiant.jose import compact
from affiant.oauth import names
from affiant.server.settings.options import Options
from affiant.testing import Server, basic

BROKER = "broker"  # it exchanges the tokens that workloads hand to it
GRANTS = (names.CLIENT_CREDENTIALS, names.TOKEN_EXCHANGE)


@asynccontextmanager
async def brokered(good: Good, **options: Any) -> AsyncIterator[Server]:
    """The audience of the platform's tokens is an API of the broker, beside this server itself."""
    async with trusting(good, **options) as server:
        await server.add_api(good.audience, name="brokered", scope=SCOPE)
        await server.add_client(
            BROKER,
            names.CLIENT_SECRET_BASIC,
            scope=SCOPE,
            resources=(API,),
            introspects=(good.audience,),
            grant_types=GRANTS,
        )
        yield server


async def exchange(server: Server, token: str, **more: Any) -> tuple[int, dict[str, Any]]:
    form = {
        "grant_type": names.TOKEN_EXCHANGE,
        "subject_token": token,
        "subject_token_type": names.JWT_TOKEN_TYPE,
        "resource": API,
        **more,
    }
    reply = await server.post(form, headers=basic(BROKER, server.secrets[BROKER]))
    return reply.status_code, reply.json()


URLS = {name: good for name, good in GOOD.items() if good.audience.startswith("https://")}


@pytest.mark.parametrize("platform", URLS)
async def test_good_token_gives_the_client_of_its_rule_and_names_the_broker(platform: str) -> None:
    good = URLS[platform]
    async with brokered(good) as server:
        status, answer = await exchange(server, signed(good.token))
        assert status == 200, answer
        claims = compact.parse(answer["access_token"]).claims
        assert (claims["sub"], claims["client_id"], claims["act"]["sub"]) == (platform, BROKER, BROKER)
        assert set(claims["scope"].split()) <= set(CEILING)
        assert claims["parents"][0]["rule"] == f"{platform}/{platform}"


@pytest.mark.parametrize("trap", [trap for trap in TRAPS.values() if trap.platform in URLS], ids=lambda trap: trap.name)
async def test_trap_is_exchanged_for_nothing(trap: Trap) -> None:
    good = trap.beside
    async with brokered(good) as server:
        alone = await refused(server, signed(trap.token))
        _, answer = await exchange(server, signed(trap.token))
        assert answer["error"] == "invalid_request"
        record = await audited(server, answer["trace_id"])
        assert record["reason"] == "exchange.subject_token"
        # Where `sub` is no text, the token is nobody's: a client may as well have signed it.
        assert record["also"] in {alone, "exchange.subject_token"}


@pytest.mark.parametrize("platform", ["github", "aws"])
async def test_one_token_goes_one_road(platform: str) -> None:
    """Attack: a token that its workload has used is exchanged by who saw it, and the reverse."""
    good = GOOD[platform]
    async with brokered(good) as server:
        first, second = signed(good.token), signed(good.token)
        await ask(server, first)
        status, answer = await exchange(server, first)
        assert (status, answer["error_uri"].rpartition("/")[2]) == (400, "exchange.subject_replayed")
        assert (await exchange(server, second))[0] == 200
        assert await refused(server, second) == "assertion.replayed"


@pytest.mark.parametrize("is_server", [True, False], ids=["the server", "the profile of the client"])
async def test_where_no_platforms_token_authenticates_none_is_exchanged(is_server: bool) -> None:
    good = GOOD["github"]
    methods = (names.CLIENT_SECRET_BASIC, *(() if is_server else (names.FEDERATED_JWT,)))
    async with brokered(good, options=Options(auth_methods=methods)) as server:
        if not is_server:
            await server.store.clients.update(good.platform, lambda client: replace(client, profile="fapi"))
        _, answer = await exchange(server, signed(good.token))
        record = await audited(server, answer["trace_id"])
        assert (record["reason"], record["also"]) == ("exchange.subject_token", "client.method")


async def test_own_token_keeps_its_details_and_a_rule_with_scopes_gives_none() -> None:
    """RFC 9396: details are no scope, so that a limit of scopes leaves nothing of them."""
    details = json.dumps([{"type": "payment", "amount": 5}])
    async with brokered(GOOD["github"]) as server:
        await server.store.apis.update(API, lambda api: replace(api, authorization_details_types=("payment",)))
        await server.store.clients.update(
            BROKER, lambda client: replace(client, authorization_details_types=("payment",))
        )
        headers = basic(BROKER, server.secrets[BROKER])
        form = {"grant_type": names.CLIENT_CREDENTIALS, "resource": API, "authorization_details": details}
        own = (await server.post(form, headers=headers)).json()["access_token"]
        status, answer = await exchange(server, own, subject_token_type=names.ACCESS_TOKEN_TOKEN_TYPE)
        assert (status, answer["authorization_details"]) == (200, json.loads(details))
        status, answer = await exchange(server, signed(GOOD["github"].token), authorization_details=details)
        assert (status, answer["error"]) == (400, "invalid_authorization_details")
