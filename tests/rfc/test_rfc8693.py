"""RFC 8693, token exchange, by section; and the claim `act` as the OAuth Actor Profile writes it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from tests.rfc.conftest import running

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.oauth import names
from affiant.resource import Guard
from affiant.storage.memory import MemoryStore
from affiant.storage.records import ClaimCondition, Rule, Trust
from affiant.testing import ABSENT, ISSUER, Server, basic, proof

ORDERS, STOCK, OTHER = "https://orders.example", "https://stock.example", "https://far.example"
GRANTS = (names.CLIENT_CREDENTIALS, names.TOKEN_EXCHANGE)
ACCESS_TOKEN = names.ACCESS_TOKEN_TOKEN_TYPE
CI, CI_KEY = "https://ci.example", keys.generate("ES256")


@asynccontextmanager
async def chained(**options: Any) -> AsyncIterator[Server]:
    """A shop calls the orders API, which calls the stock API for it, which calls a third one."""
    async with running(MemoryStore(), **options) as made:
        await made.add_api(ORDERS, name="orders", scope=("orders.read", "stock.read"))
        await made.add_api(STOCK, name="stock", scope=("stock.read", "stock.write"))
        await made.add_api(OTHER, name="far", scope=("stock.read",))
        members: Any = {
            "scope": ("orders.read", "stock.read", "stock.write"),
            "resources": (ORDERS, STOCK, OTHER),
            "grant_types": GRANTS,
        }
        await made.add_client("shop", **members)
        for client_id, api in (("orders", ORDERS), ("stock", STOCK), ("far", OTHER)):
            await made.add_client(client_id, names.CLIENT_SECRET_BASIC, introspects=(api,), **members)
        yield made


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with chained() as made:
        yield made


async def shops_token(server: Server, **parameters: Any) -> str:
    return str((await server.token("shop", **{"resource": ORDERS, **parameters}))["access_token"])


def exchange_form(token: str, **parameters: Any) -> dict[str, Any]:
    form = {"grant_type": names.TOKEN_EXCHANGE, "subject_token": token, "subject_token_type": ACCESS_TOKEN}
    return {name: value for name, value in {**form, **parameters}.items() if value is not ABSENT}


async def exchange(server: Server, token: str, *, by: str = "orders", **parameters: Any) -> tuple[int, dict[str, Any]]:
    form, headers = exchange_form(token, **parameters), {}
    if by in server.secrets:
        headers = basic(by, server.secrets[by])
    else:
        form |= {"client_assertion": server.assertion(by), "client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE}
    reply = await server.post(form, headers=headers)
    assert reply.headers["cache-control"] == "no-store"
    return reply.status_code, reply.json()


async def exchanged(server: Server, token: str, *, by: str = "orders", **parameters: Any) -> str:
    status, answer = await exchange(server, token, by=by, **{"resource": STOCK, **parameters})
    assert status == 200, answer
    return str(answer["access_token"])


async def refused(server: Server, token: str, **parameters: Any) -> str:
    """Return the reason; the answer is an invalid request (section 2.2.2)."""
    status, answer = await exchange(server, token, **{"resource": STOCK, **parameters})
    assert (status, answer["error"]) == (400, "invalid_request"), answer
    return str(answer["error_uri"]).rpartition("/")[2]


def shown(token: str) -> list[bytes]:
    return [f"Bearer {token}".encode()]


def claims_of(token: str) -> dict[str, Any]:
    return compact.parse(token).claims


@pytest.mark.rfc(8693, "2.2.1")
async def test_an_api_gets_a_token_for_the_next_one(server: Server) -> None:
    subject = await shops_token(server)
    status, answer = await exchange(server, subject, resource=STOCK)
    assert status == 200, answer
    assert set(answer) == {"access_token", "token_type", "expires_in", "scope", "issued_token_type"}
    assert (answer["token_type"], answer["issued_token_type"]) == ("Bearer", ACCESS_TOKEN)
    assert answer["scope"] == "stock.read"
    before, claims = claims_of(subject), claims_of(answer["access_token"])
    assert (claims["sub"], claims["client_id"], claims["aud"]) == ("shop", "orders", STOCK)
    assert claims["act"] == {"iss": ISSUER, "sub": "orders", "sub_profile": "service"}
    assert claims["exp"] <= before["exp"]
    assert [parent["jti"] for parent in claims["parents"]] == [before["jti"]]
    record = await server.store.audit_log.newest(limit=1)
    assert json.loads(record[0].record)["parent"] == before["jti"]


@pytest.mark.rfc(8693, "2.1")
@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"subject_token": ABSENT}, "request.missing_parameter"),
        ({"subject_token_type": ABSENT}, "request.missing_parameter"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"}, "exchange.token_type"),
        ({"subject_token_type": "access_token"}, "exchange.token_type"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "exchange.token_type"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "exchange.token_type"),
        ({"actor_token": "x"}, "exchange.parameter"),
        ({"actor_token_type": ACCESS_TOKEN}, "exchange.parameter"),
        ({"actor_token": "x", "actor_token_type": ACCESS_TOKEN}, "exchange.actor_token"),
        ({"actor_token": "x", "actor_token_type": "urn:x"}, "exchange.token_type"),
        ({"task": "two words"}, "exchange.parameter"),
        ({"task": "x" * 129}, "exchange.parameter"),
        ({"expires_in": "0"}, "exchange.parameter"),
        ({"expires_in": "1.5"}, "exchange.parameter"),
        ({"expires_in": "-1"}, "exchange.parameter"),
    ],
)
async def test_parameters_that_cannot_be_used(server: Server, parameters: dict[str, Any], reason: str) -> None:
    assert await refused(server, await shops_token(server), **parameters) == reason


@pytest.mark.rfc(8693, "2.1")
async def test_parameters_that_may_come_along(server: Server) -> None:
    token = await shops_token(server)
    for more in ({"requested_token_type": ACCESS_TOKEN}, {"subject_token_type": names.JWT_TOKEN_TYPE}):
        assert claims_of(await exchanged(server, token, **more))["sub"] == "shop"
    by_audience = await exchanged(server, token, resource=ABSENT, audience=STOCK)
    assert claims_of(by_audience)["aud"] == STOCK


@pytest.mark.rfc(8693, "2.1")
async def test_the_actor_token_is_one_of_the_requester_itself(server: Server) -> None:
    token = await shops_token(server)
    own = (await server.post({"grant_type": "client_credentials", "resource": STOCK},
                             headers=basic("orders", server.secrets["orders"]))).json()["access_token"]  # fmt: skip
    sent = {"actor_token_type": ACCESS_TOKEN}
    assert claims_of(await exchanged(server, token, actor_token=own, **sent))["act"]["sub"] == "orders"
    acting = await exchanged(server, token)  # it is of orders, which acts in it
    for other in (token, acting, f"{own}x", await server.access_token(sub="orders", client_id="orders", exp=1)):
        assert await refused(server, token, actor_token=other, **sent) == "exchange.actor_token"


@pytest.mark.rfc(8693, "2.2.2")
@pytest.mark.parametrize("claims", [{"exp": 1}, {"iss": "https://other.example"}, {"nbf": 4_000_000_000}, {"jti": 5}])
async def test_invalid_subject_tokens(server: Server, claims: dict[str, Any]) -> None:
    text = await server.access_token(**{"sub": "shop", "client_id": "shop", "aud": ORDERS, **claims})
    assert await refused(server, text) == "exchange.subject_token"


@pytest.mark.rfc(8693, "2.2.2")
async def test_subject_tokens_that_are_no_tokens(server: Server) -> None:
    token = await shops_token(server)
    stranger = await server.access_token(key=CI_KEY, sub="shop", client_id="shop", aud=ORDERS)
    refreshed = "bm90IGEgdG9rZW4"
    header, payload, _ = token.split(".")
    for text in (stranger, refreshed, "x", "a.b.c", f"{header}.{payload}.", f"{token}x", server.assertion("shop")):
        for kind in (ACCESS_TOKEN, names.JWT_TOKEN_TYPE):
            assert await refused(server, text, subject_token_type=kind) == "exchange.subject_token"


@pytest.mark.rfc(8693, "2.2.2")
async def test_unknown_targets(server: Server) -> None:
    token = await shops_token(server)
    for target in ("https://unknown.example", "https://api.example"):
        for name in ("resource", "audience"):
            status, answer = await exchange(server, token, **{name: target})
            assert (status, answer["error"]) == (400, "invalid_target"), answer


@pytest.mark.rfc(8693, "1.1")
async def test_the_client_needs_the_grant(server: Server) -> None:
    await server.add_client("plain", names.CLIENT_SECRET_BASIC, introspects=(ORDERS,))
    status, answer = await exchange(server, await shops_token(server), by="plain", resource=STOCK)
    assert (status, answer["error"]) == (400, "unauthorized_client")
    reply = await server.post(exchange_form(await shops_token(server), resource=STOCK, client_id="orders"))
    assert (reply.status_code, reply.json()["error"]) == (401, "invalid_client")


@pytest.mark.rfc(8693, "2.1")
async def test_nothing_is_wider_than_in_the_subject_token(server: Server) -> None:
    token = await shops_token(server)
    status, answer = await exchange(server, token, resource=STOCK, scope="stock.write")
    assert (status, answer["error"]) == (400, "invalid_scope")  # though both clients may have it
    narrow = await shops_token(server, scope="orders.read")
    status, answer = await exchange(server, narrow, resource=STOCK)
    assert (status, answer["error_uri"]) == (400, f"{ISSUER}/errors/ceiling.nothing_left")
    server.clock.advance(590)
    claims = claims_of(await exchanged(server, token))
    assert claims["exp"] == claims_of(token)["exp"]
    assert claims["exp"] - claims["iat"] == 10


@pytest.mark.rfc(8693, "2.1")
async def test_the_subject_must_be_allowed_where_the_token_leads(server: Server) -> None:
    await server.add_client("small", scope=("orders.read", "stock.read"), resources=(ORDERS,), grant_types=GRANTS)
    token = str((await server.token("small", resource=ORDERS))["access_token"])
    status, answer = await exchange(server, token, resource=STOCK)
    assert (status, answer["error"]) == (400, "invalid_target")


@pytest.mark.rfc(8693, "4.1")
async def test_the_chain_grows_and_keeps_what_it_has(server: Server) -> None:
    first = await exchanged(server, await shops_token(server))
    second = await exchanged(server, first, by="stock", resource=OTHER)
    outer, inner = claims_of(second), claims_of(first)
    assert outer["act"] == {"iss": ISSUER, "sub": "stock", "sub_profile": "service", "act": inner["act"]}
    assert (outer["sub"], outer["client_id"], len(outer["parents"])) == ("shop", "stock", 2)
    # Each of the chain may be judged by; none of it is a claim that is not about identity.
    assert not {"exp", "aud", "nbf", "iat", "cnf"} & set(outer["act"]["act"])


@pytest.mark.rfc(8693, "4.1")
async def test_the_chain_is_never_cut(server: Server) -> None:
    act: dict[str, Any] = {"iss": ISSUER, "sub": "a0"}
    for number in range(1, 4):
        act = {"iss": ISSUER, "sub": f"a{number}", "act": act}
    deep: dict[str, Any] = {"sub": "shop", "client_id": "shop", "aud": ORDERS, "scope": "stock.read"}
    four = await server.access_token(**deep, act=act)
    assert await refused(server, four) == "exchange.depth"
    fourth = claims_of(await exchanged(server, await server.access_token(**deep, act=act["act"])))
    assert fourth["act"]["act"] == act["act"]
    broken: Any
    for broken in ({"sub": "a"}, {"iss": ISSUER}, "a", {"iss": ISSUER, "sub": "a", "act": {"sub": "b"}}, []):
        assert await refused(server, await server.access_token(**deep, act=broken)) == "exchange.act"


@pytest.mark.rfc(8693, "4.1")
async def test_the_depth_is_a_setting() -> None:
    async with chained(exchange_depth=1) as server:
        first = await exchanged(server, await shops_token(server))
        assert await refused(server, first, by="stock", resource=OTHER) == "exchange.depth"


@pytest.mark.rfc(8693, "4.1")
async def test_nobody_acts_twice(server: Server) -> None:
    back: dict[str, Any] = {"sub": "shop", "client_id": "stock", "aud": ORDERS, "scope": "stock.read"}
    orders = {"iss": ISSUER, "sub": "orders"}
    act = {"iss": ISSUER, "sub": "stock", "act": orders}
    assert await refused(server, await server.access_token(**back, act=act)) == "exchange.cycle"
    own = {**back, "sub": "orders"}
    assert await refused(server, await server.access_token(**own, act={**orders, "sub": "stock"})) == "exchange.cycle"


@pytest.mark.rfc(8693, "4.4")
async def test_may_act_is_obeyed(server: Server) -> None:
    given: dict[str, Any] = {"sub": "shop", "client_id": "shop", "aud": ORDERS, "scope": "stock.read"}
    may: Any
    for may in ({"sub": "orders"}, {"sub": "orders", "iss": ISSUER}):
        assert claims_of(await exchanged(server, await server.access_token(**given, may_act=may)))["sub"] == "shop"
    others: tuple[Any, ...] = (
        {"sub": "stock"},
        {"sub": "orders", "iss": CI},
        {"sub": "orders", "email": "a@b"},
        {},
        "orders",
        None,
    )
    for may in (*others, {"iss": ISSUER}, ["orders"]):
        assert await refused(server, await server.access_token(**given, may_act=may)) == "exchange.may_act"


@pytest.mark.rfc(8693, "4.4")
async def test_a_client_says_who_may_act_for_it(server: Server) -> None:
    await server.add_client(
        "careful", scope=("stock.read",), resources=(ORDERS, STOCK, OTHER), grant_types=GRANTS, delegates_to=("orders",)
    )
    token = str((await server.token("careful", resource=ORDERS))["access_token"])
    first = await exchanged(server, token)
    # The next API acts for the same client, which did not allow that.
    assert await refused(server, first, by="stock", resource=OTHER) == "exchange.not_delegable"
    await server.add_client("alone", scope=("stock.read",), resources=(ORDERS, STOCK), delegates_to=())
    token = str((await server.token("alone", resource=ORDERS))["access_token"])
    assert await refused(server, token) == "exchange.not_delegable"


@pytest.mark.rfc(8693, "1.1")
async def test_a_client_narrows_its_own_token(server: Server) -> None:
    token = await shops_token(server)
    narrow = await exchanged(
        server, token, by="shop", resource=ABSENT, scope="orders.read", task="invoice-7", expires_in="120"
    )
    claims = claims_of(narrow)
    assert (claims["sub"], claims["aud"], claims["scope"], claims["task"]) == (
        "shop", ORDERS, "orders.read", "invoice-7"
    )  # fmt: skip
    assert claims["exp"] - claims["iat"] == 120
    assert "act" not in claims
    assert claims["parents"][0]["jti"] == claims_of(token)["jti"]
    # Not to another API, and not back to more.
    status, answer = await exchange(server, token, by="shop", resource=STOCK)
    assert (status, answer["error"]) == (400, "invalid_target")
    status, answer = await exchange(server, narrow, by="shop", scope="stock.read")
    assert (status, answer["error"]) == (400, "invalid_scope")
    again = claims_of(await exchanged(server, narrow, by="shop", resource=ABSENT))
    assert (again["task"], again["exp"]) == ("invoice-7", claims["exp"])


@pytest.mark.rfc(8693, "2.2.1")
async def test_no_refresh_token(server: Server) -> None:
    await server.add_client(
        "fresh", scope=("stock.read",), resources=(ORDERS,), grant_types=(*GRANTS, names.REFRESH_TOKEN)
    )
    answer = await server.token("fresh", resource=ORDERS)
    assert "refresh_token" in answer
    status, answer = await exchange(server, answer["access_token"], by="fresh")
    assert (status, "refresh_token" in answer) == (200, False)


@pytest.mark.rfc(8693, "3")
async def test_the_token_of_a_trust_is_a_subject_of_type_jwt(server: Server) -> None:
    await server.store.trusts.add(
        Trust("ci", CI, jwks=json.dumps({"keys": [CI_KEY.public().to_jwk()]}), audiences=(ORDERS,))
    )
    await server.store.rules.add(Rule("deploy", "ci", "shop", (ClaimCondition("job", ("7",)),), scope=("stock.read",)))
    now = int(server.clock)
    claims = {"iss": CI, "sub": "job:7", "job": "7", "aud": ORDERS, "iat": now, "exp": now + 60, "act": {"sub": "root"}}
    text = compact.sign({}, {**claims, "jti": "j1"}, CI_KEY)
    as_jwt = {"subject_token_type": names.JWT_TOKEN_TYPE}
    assert await refused(server, text) == "exchange.subject_token"  # it is no access token of this server
    assert await refused(server, text, by="stock", **as_jwt) == "exchange.not_audience"
    found = claims_of(await exchanged(server, text, **as_jwt))
    assert (found["sub"], found["act"]["sub"], found["scope"]) == ("shop", "orders", "stock.read")
    assert "act" not in found["act"]
    assert found["exp"] == now + 60
    assert found["parents"] == [{"client_id": "shop", "rule": "ci/deploy"}]
    assert await refused(server, text, **as_jwt) == "exchange.subject_replayed"
    unmatched = compact.sign({}, {**claims, "job": "8", "jti": "j2"}, CI_KEY)
    assert await refused(server, unmatched, **as_jwt) == "exchange.subject_token"


@pytest.mark.rfc(8693, "5")
async def test_a_bound_token_gives_no_bearer_token(server: Server) -> None:
    """RFC 9449 section 6: whoever presents it has the key; the API that exchanges it has another one."""
    await server.add_client("holder", scope=("stock.read",), resources=(ORDERS, STOCK), grant_types=GRANTS)
    held = await server.post(
        server.form(server.assertion("holder"), resource=ORDERS), headers={"DPoP": proof(url=f"{ISSUER}/token")}
    )
    bound = held.json()["access_token"]
    assert "jkt" in claims_of(bound)["cnf"]
    assert await refused(server, bound) == "exchange.unbound"
    assert await refused(server, bound, by="holder", resource=ORDERS) == "exchange.unbound"
    key = keys.generate("ES256")
    headers = {**basic("orders", server.secrets["orders"]), "DPoP": proof(key, url=f"{ISSUER}/token")}
    reply = await server.post(exchange_form(bound, resource=STOCK), headers=headers)
    assert (reply.status_code, reply.json()["token_type"]) == (200, "DPoP"), reply.text
    assert claims_of(reply.json()["access_token"])["cnf"] == {"jkt": key.public().thumbprint}
    # A certificate binds as well, and is not forgotten either.
    by_certificate = await server.access_token(
        sub="shop", client_id="shop", aud=ORDERS, scope="stock.read", cnf={"x5t#S256": "x"}
    )
    assert await refused(server, by_certificate) == "exchange.unbound"


@pytest.mark.rfc(7009, "2.1")
async def test_what_ends_a_token_ends_its_children_at_a_guard(server: Server) -> None:
    subject = await shops_token(server)
    child = await exchanged(server, subject)
    grandchild = await exchanged(server, child, by="stock", resource=OTHER)
    other = await exchanged(server, await shops_token(server))
    guards = {name: Guard(ISSUER, audience=name, http=server.http, clock=server.clock) for name in (STOCK, OTHER)}
    assert (await guards[STOCK].check(shown(child))).client_id == "orders"
    assert (await guards[OTHER].check(shown(grandchild))).sub == "shop"
    reply = await server.post(server.form(server.assertion("shop"), token=subject), path="/revoke")
    assert reply.status_code == 200
    assert len(await server.store.revocations.list(0)) == 1  # one entry, however many children
    for name, dead in ((STOCK, child), (OTHER, grandchild)):
        later = Guard(ISSUER, audience=name, http=server.http, clock=server.clock)
        with pytest.raises(Rejected) as refusal:
            await later.check(shown(dead))
        assert refusal.value.reason is Reason.TOKEN_REVOKED
        assert (await introspect(server, dead, by="stock" if name == STOCK else "far")) == {"active": False}
    assert (await guards[STOCK].check(shown(other))).client_id == "orders"
    for dead, by in ((subject, "orders"), (child, "stock"), (subject, "shop"), (grandchild, "far")):
        assert await refused(server, dead, by=by, resource=ABSENT) == "exchange.subject_revoked"


@pytest.mark.rfc(8693, "4.1")
async def test_introspection_says_who_acts(server: Server) -> None:
    child = await exchanged(server, await shops_token(server), task="t7")
    told = await introspect(server, child, by="stock")
    assert {name: told[name] for name in ("sub", "client_id", "act", "task", "parents")} == {
        name: claims_of(child)[name] for name in ("sub", "client_id", "act", "task", "parents")
    }


@pytest.mark.rfc(8693, "4.4")
async def test_a_disabled_client_is_acted_for_by_no_one(server: Server) -> None:
    token = await shops_token(server)
    child = await exchanged(server, token)
    await server.store.clients.update("shop", lambda client: replace(client, enabled=False))
    assert await refused(server, token) == "exchange.subject_revoked"
    assert await refused(server, child, by="stock", resource=OTHER) == "exchange.subject_revoked"


@pytest.mark.rfc(8414, "2")
async def test_metadata_name_the_grant(server: Server) -> None:
    document = (await server.http.get("/.well-known/oauth-authorization-server")).json()
    assert names.TOKEN_EXCHANGE in document["grant_types_supported"]


@pytest.mark.rfc(9396, "9.1")
async def test_details_of_both(server: Server) -> None:
    """Only what the subject token has, and what the requester is registered for, goes on."""
    wide, narrow = {"type": "payment", "locations": [STOCK]}, {"type": "refund"}
    for client_id, types in (("pays", ("payment", "refund")), ("pay-api", ("payment",))):
        await server.add_client(
            client_id, scope=("stock.read",), resources=(STOCK,), introspects=(STOCK,), grant_types=GRANTS,
            authorization_details_types=types,
        )  # fmt: skip
    await server.store.apis.update(STOCK, lambda api: replace(api, authorization_details_types=("payment", "refund")))
    subject = str((await server.token("pays", authorization_details=json.dumps([wide, narrow])))["access_token"])
    assert claims_of(await exchanged(server, subject, by="pay-api"))["authorization_details"] == [wide]
    asked = claims_of(await exchanged(server, subject, by="pay-api", authorization_details=json.dumps([wide])))
    assert asked["authorization_details"] == [wide]
    for more in ({"type": "payment"}, narrow, {**wide, "actions": ["all"]}):
        status, answer = await exchange(server, subject, by="pay-api", authorization_details=json.dumps([more]))
        assert (status, answer["error"]) == (400, "invalid_authorization_details"), more
    assert "authorization_details" not in claims_of(await exchanged(server, await shops_token(server)))


async def introspect(server: Server, token: str, *, by: str) -> dict[str, Any]:
    headers = basic(by, server.secrets[by])
    members: dict[str, Any] = (await server.post({"token": token}, path="/introspect", headers=headers)).json()
    return members
