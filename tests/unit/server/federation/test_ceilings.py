"""A platform's token gives no more than the client, the API, the rule and the token itself each allow."""

import json
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.platforms import github
from tests.platforms.issuer import signed
from tests.platforms.traps import GOOD
from tests.unit.server.federation.registering import API, SCOPE, form, trusting

from affiant.jose import compact
from affiant.testing import Server

OTHER = "https://other.example"
SCOPES = st.lists(st.sampled_from(SCOPE), unique=True).map(tuple)
LIFETIMES = st.sampled_from([None, 60, 100, 3600])


async def change(server: Server, *, rule: dict[str, Any] | None = None, client: dict[str, Any] | None = None) -> None:
    await server.store.rules.update("github", lambda found: replace(found, **(rule or {})))
    await server.store.clients.update("github", lambda found: replace(found, **(client or {})))


async def post(server: Server, lifetime: int = 300, /, **more: str) -> tuple[int, dict[str, Any]]:
    reply = await server.post(form(signed(github.job().lasting(lifetime)), **more))
    return reply.status_code, reply.json()


@given(
    of_client=SCOPES,
    of_rule=SCOPES,
    asked=st.one_of(st.none(), SCOPES.filter(bool)),
    lifetimes=st.tuples(LIFETIMES, LIFETIMES, st.sampled_from([30, 90, 300])),
)
async def test_grant_is_within_every_layer(
    of_client: tuple[str, ...],
    of_rule: tuple[str, ...],
    asked: tuple[str, ...] | None,
    lifetimes: tuple[int | None, int | None, int],
) -> None:
    """An empty scope of the rule is no limit; of the client it is nothing."""
    client_seconds, rule_seconds, rest = lifetimes
    allowed = set(of_client) & set(of_rule or SCOPE)
    async with trusting(GOOD["github"]) as server:
        await change(
            server,
            rule={"scope": of_rule, "access_token_lifetime": rule_seconds},
            client={"scope": of_client, "access_token_lifetime": client_seconds},
        )
        status, answer = await post(server, rest, **({} if asked is None else {"scope": " ".join(asked)}))
    if asked is not None and not set(asked) <= allowed:
        assert answer["error"] == "invalid_scope"
        return
    if of_client and not allowed:
        assert answer["error_uri"].endswith("/ceiling.nothing_left")
        return
    assert status == httpx2.codes.OK, answer
    claims = compact.parse(answer["access_token"]).claims
    assert set(claims.get("scope", "").split()) == (allowed if asked is None else set(asked))
    assert claims["exp"] - claims["iat"] == min(rest, *(seconds for seconds in lifetimes if seconds is not None))


@pytest.mark.parametrize(
    ("of_rule", "asked", "expected"),
    [
        ((), "", API),
        ((), OTHER, OTHER),
        ((API,), "", API),
        ((OTHER,), "", OTHER),
        ((OTHER,), API, "resource.not_allowed"),
        ((API,), OTHER, "resource.not_allowed"),
        (("https://third.example",), "", "ceiling.nothing_left"),
        (("https://third.example",), "https://third.example", "ceiling.nothing_left"),
    ],
)
async def test_apis_of_the_rule_and_of_the_client(of_rule: tuple[str, ...], asked: str, expected: str) -> None:
    async with trusting(GOOD["github"]) as server:
        for name, identifier in (("other", OTHER), ("third", "https://third.example")):
            await server.add_api(identifier, name=name)
        await change(server, rule={"resources": of_rule, "scope": ()}, client={"resources": (API, OTHER), "scope": ()})
        more = {"resource": asked} if asked else {}
        status, answer = await post(server, **more)
    if status == httpx2.codes.OK:
        assert compact.parse(answer["access_token"]).claims["aud"] == expected
    else:
        assert answer["error_uri"].endswith(f"/{expected}")


@pytest.mark.parametrize(("of_rule", "status"), [((), 200), (("orders.read",), 400)])
async def test_details_say_more_than_a_scope_and_go_with_no_limit_of_scopes(
    of_rule: tuple[str, ...], status: int
) -> None:
    """Attack: a workload that may have one scope asks for authorization_details of its client (RFC 9396)."""
    async with trusting(GOOD["github"]) as server:
        await server.store.apis.update(API, lambda api: replace(api, authorization_details_types=("payment",)))
        await change(server, rule={"scope": of_rule}, client={"authorization_details_types": ("payment",)})
        answered, answer = await post(server, authorization_details=json.dumps([{"type": "payment", "amount": 5}]))
        assert answered == status
        assert answer.get("error", "") == ("" if status == httpx2.codes.OK else "invalid_authorization_details")


@pytest.mark.parametrize("seconds", [1, 0, -20])
async def test_token_with_no_time_left_gives_nothing(seconds: int) -> None:
    """Within the leeway of clocks it is still verified; what it gives has at least one second."""
    async with trusting(GOOD["github"]) as server:
        text = signed(github.job())
        server.clock.advance(300 - seconds)
        reply = await server.post(form(text))
    if seconds > 0:
        assert reply.json()["expires_in"] == seconds
    else:
        assert reply.json()["error_uri"].endswith("/ceiling.nothing_left")
