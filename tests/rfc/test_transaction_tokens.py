"""Transaction tokens (draft-ietf-oauth-transaction-tokens): its rules for the issuing server and for workloads."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.oauth import names, revocations
from affiant.resource import Guard, Issuer, TxnGuard
from affiant.server.settings.options import Options
from affiant.testing import ABSENT, KEY, Server, basic

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "transaction-tokens.md"
OUTSIDE, DOMAIN, OTHER_DOMAIN = "https://orders.example", "https://mesh.example", "https://other-mesh.example"
GRANTS = (names.CLIENT_CREDENTIALS, names.TOKEN_EXCHANGE)
ACCESS, TXN = names.ACCESS_TOKEN_TOKEN_TYPE, names.TXN_TOKEN_TYPE
SCOPE = ("orders.read", "orders.write")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A shop calls the gateway of a trust domain with two workloads in it."""
    async with Server.in_process(options=Options(transaction_tokens="on")) as made:
        await made.add_api(OUTSIDE, name="orders", scope=SCOPE, is_default=True)
        for domain, name in ((DOMAIN, "mesh"), (OTHER_DOMAIN, "other")):
            await made.add_api(domain, name=name, scope=SCOPE, access_token_typ=names.TXN_TOKEN_TYP)
        await made.add_client("shop", scope=SCOPE, resources=(OUTSIDE,))
        inside: dict[str, Any] = {"scope": SCOPE, "resources": (DOMAIN, OTHER_DOMAIN), "grant_types": GRANTS}
        await made.add_client("gateway", introspects=(OUTSIDE,), **inside)
        await made.add_client("stock", **inside)
        await made.add_client("secretive", names.CLIENT_SECRET_BASIC, introspects=(OUTSIDE,), **inside)
        await made.add_client("stranger", scope=SCOPE, grant_types=GRANTS, introspects=(OUTSIDE,))
        yield made


async def ask(server: Server, token: str, *, by: str = "gateway", **changes: str) -> tuple[int, dict[str, Any]]:
    form = {
        "grant_type": names.TOKEN_EXCHANGE,
        "requested_token_type": TXN,
        "subject_token": token,
        "subject_token_type": ACCESS,
        "audience": DOMAIN,
        "scope": "orders.read",
        **changes,
    }
    form, headers = {name: value for name, value in form.items() if value != ABSENT}, {}
    if by in server.secrets:
        headers = basic(by, server.secrets[by])
    else:
        form |= {"client_assertion": server.assertion(by), "client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE}
    reply = await server.post(form, headers=headers)
    return reply.status_code, reply.json()


async def presented(server: Server, **parameters: Any) -> str:
    return str((await server.token("shop", **parameters))["access_token"])


async def issued(server: Server, token: str, **changes: str) -> str:
    status, answer = await ask(server, token, **changes)
    assert status == 200, answer
    assert (answer["token_type"], answer["issued_token_type"]) == ("N_A", TXN)
    assert "refresh_token" not in answer
    return str(answer["access_token"])


async def refused(server: Server, token: str, **changes: str) -> str:
    status, answer = await ask(server, token, **changes)
    assert status == 400, answer
    return str(answer["error_uri"]).rpartition("/")[2]


def claims_of(token: str) -> dict[str, Any]:
    return compact.parse(token).claims


async def test_the_claims_and_the_type(server: Server) -> None:
    subject = await presented(server)
    details, context = {"order": 7, "side": "buy"}, {"ip": "192.0.2.7"}
    token = await issued(server, subject, request_details=json.dumps(details), request_context=json.dumps(context))
    parsed = compact.parse(token)
    claims = parsed.claims
    assert parsed.header["typ"] == "txntoken+jwt"
    assert {"iat", "aud", "exp", "txn", "sub", "scope", "req_wl"} <= claims.keys()
    assert (claims["aud"], claims["sub"], claims["scope"], claims["req_wl"]) == (
        DOMAIN, "shop", "orders.read", "gateway",
    )  # fmt: skip
    assert (claims["tctx"], claims["rctx"]) == (details, context)
    assert 0 < claims["exp"] - claims["iat"] <= 300
    assert not claims.keys() & {"client_id", "cnf", "act"}


@pytest.mark.parametrize("name", ["audience", "scope", "requested_token_type"])
async def test_audience_scope_and_type_are_required(server: Server, name: str) -> None:
    """Without requested_token_type the request is for an access token, and the shop has none for the trust domain."""
    reason = await refused(server, await presented(server), **{name: ABSENT})
    assert reason == ("ceiling.nothing_left" if name == "requested_token_type" else "request.missing_parameter")


async def test_no_access_token_is_for_a_trust_domain(server: Server) -> None:
    reply = await server.post(server.form(server.assertion("gateway"), resource=DOMAIN))
    assert reply.json()["error_uri"].endswith("/errors/resource.not_allowed")


@pytest.mark.parametrize(
    "kind",
    ["refresh_token", "self_signed", "unsigned_json", "id_token", "jwt"],
)
async def test_other_subject_tokens_are_refused(server: Server, kind: str) -> None:
    kind = f"urn:ietf:params:oauth:token-type:{kind}"
    assert await refused(server, await presented(server), subject_token_type=kind) == "exchange.token_type"


async def test_a_subject_without_scope_is_refused(server: Server) -> None:
    subject = await server.access_token(sub="shop", client_id="shop", aud=OUTSIDE)
    assert await refused(server, subject) == "scope.not_allowed"


async def test_scope_is_never_wider_than_that_of_the_subject(server: Server) -> None:
    subject = await presented(server, scope="orders.read")
    assert await refused(server, subject, scope="orders.read orders.write") == "scope.not_allowed"


async def test_a_replacement_keeps_transaction_subject_and_domain(server: Server) -> None:
    first = await issued(server, await presented(server), scope="orders.read orders.write", request_details='{"a":1}')
    again = await issued(server, first, by="stock", subject_token_type=TXN)
    before, after = claims_of(first), claims_of(again)
    for name in ("txn", "sub", "aud", "tctx"):
        assert after[name] == before[name]
    assert (after["scope"], after["req_wl"]) == ("orders.read", "stock")
    assert after["exp"] <= before["exp"]
    wider = {"subject_token_type": TXN, "scope": "orders.read orders.write"}
    assert await refused(server, again, **wider) == "scope.not_allowed"
    assert await refused(server, again, subject_token_type=TXN, audience=OTHER_DOMAIN) == "resource.not_allowed"
    assert await refused(server, again, subject_token_type=TXN, request_details="{}") == "exchange.parameter"
    server.clock.advance(400)
    assert await refused(server, again, subject_token_type=TXN) == "exchange.subject_token"


async def test_a_transaction_has_as_many_exchanges_as_any_token(server: Server) -> None:
    token = await issued(server, await presented(server))
    for _ in range(7):
        token = await issued(server, token, by="stock", subject_token_type=TXN)
    assert await refused(server, token, by="stock", subject_token_type=TXN) == "exchange.depth"


async def test_no_access_token_is_inside(server: Server) -> None:
    subject = await presented(server)
    token = await issued(server, subject)
    assert subject not in json.dumps(claims_of(token))
    assert await refused(server, token, subject_token_type=ACCESS) == "exchange.subject_token"


async def test_only_clients_that_prove_a_key_get_one(server: Server) -> None:
    subject = await presented(server)
    assert await refused(server, subject, by="secretive") == "exchange.transaction"
    assert await refused(server, subject, by="stranger") == "resource.not_allowed"


@pytest.mark.parametrize("context", ["[]", "{", '{"a":1,"a":2}', json.dumps({"a": "x" * 3000})])
async def test_contexts_are_small_strict_objects(server: Server, context: str) -> None:
    assert await refused(server, await presented(server), request_context=context) == "exchange.parameter"


async def test_a_sender_constrained_token_becomes_none(server: Server) -> None:
    subject = await server.access_token(
        sub="shop", client_id="shop", aud=OUTSIDE, scope="orders.read", cnf={"jkt": "x"}
    )
    assert await refused(server, subject) == "exchange.unbound"


async def test_the_setting_is_off_by_default() -> None:
    async with Server.in_process() as made:
        await made.add_api(OUTSIDE, scope=SCOPE, is_default=True)
        await made.add_client("gateway", scope=SCOPE, grant_types=GRANTS)
        assert await refused(made, "x") == "exchange.token_type"


def headers(*tokens: str) -> list[tuple[bytes, bytes]]:
    return [(b"Txn-Token", token.encode()) for token in tokens]


async def guard(server: Server, domain: str = DOMAIN) -> TxnGuard:
    return TxnGuard(server.issuer, trust_domain=domain, http=server.http, clock=lambda: server.clock.now)


async def test_the_guard_returns_the_transaction(server: Server) -> None:
    token = await issued(server, await presented(server), request_details='{"order":7}')
    found = await (await guard(server)).check(headers(token), need="orders.read")
    assert (found.sub, found.workload, found.context, found.request) == ("shop", "gateway", {"order": 7}, {})
    assert (found.txn, found.scopes) == (claims_of(token)["txn"], frozenset({"orders.read"}))
    assert token not in repr(found)
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    page: dict[str, Any] = {}
    exec(code, page)
    page["guard"] = await guard(server)  # with the server of this test
    assert await page["handle"](headers(token)) == ("shop", {"order": 7})


@pytest.mark.attack(332)
async def test_the_guard_refuses_everything_else(server: Server) -> None:
    access = await presented(server)
    token = await issued(server, access)
    inside = await guard(server)
    cases: list[tuple[list[tuple[bytes, bytes]], Reason]] = [
        ([], Reason.TOKEN_MISSING),
        ([(b"Authorization", b"Bearer " + token.encode())], Reason.TOKEN_MISSING),
        (headers(token, token), Reason.TOKEN_REQUEST),
        (headers(f"{token},{token}"), Reason.TOKEN_REQUEST),
        (headers(f"Bearer {token}"), Reason.TOKEN_REQUEST),
        (headers(access), Reason.TOKEN_TYPE),
        (headers(token[:-4] + "AAAA"), Reason.TOKEN_SIGNATURE),
    ]
    for sent, reason in cases:
        with pytest.raises(Rejected) as error:
            await inside.check(sent)
        assert error.value.reason is reason
    with pytest.raises(Rejected) as error:
        await inside.check(headers(token), need="orders.write")
    assert error.value.reason is Reason.SCOPE_INSUFFICIENT
    with pytest.raises(Rejected) as error:
        await (await guard(server, OTHER_DOMAIN)).check(headers(token))
    assert error.value.reason is Reason.TOKEN_AUDIENCE
    server.clock.advance(400)
    with pytest.raises(Rejected) as error:
        await inside.check(headers(token))
    assert error.value.reason is Reason.TOKEN_EXPIRED


@pytest.mark.attack(332)
async def test_no_guard_of_access_tokens_takes_one(server: Server) -> None:
    token = await issued(server, await presented(server))
    api = Guard(server.issuer, audience=DOMAIN, http=server.http, clock=lambda: server.clock.now)
    with pytest.raises(Rejected) as error:
        await api.check([b"Bearer " + token.encode()])
    assert error.value.reason is Reason.TOKEN_TYPE
    with pytest.raises(ConfigError, match="not the typ of an access token"):
        Issuer(server.issuer, accept_typ=("txntoken+jwt",))


@pytest.mark.attack(332)
async def test_neither_introspection_nor_authentication_takes_one(server: Server) -> None:
    token = await issued(server, await presented(server))
    form = {"client_assertion": server.assertion("gateway"), "client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE}
    reply = await server.post({**form, "token": token}, path="/introspect")
    assert reply.json() == {"active": False}
    reply = await server.post(server.form(token))
    assert reply.status_code == httpx2.codes.UNAUTHORIZED


async def test_the_end_of_the_first_token_ends_every_token_of_the_transaction(server: Server) -> None:
    subject = await presented(server)
    again = await issued(server, await issued(server, subject), by="stock", subject_token_type=TXN)
    form = {"client_assertion": server.assertion("shop"), "client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE}
    assert (await server.post({**form, "token": subject}, path="/revoke")).status_code == httpx2.codes.OK
    assert await refused(server, again, subject_token_type=TXN) == "exchange.subject_revoked"
    with pytest.raises(Rejected) as error:
        await (await guard(server)).check(headers(again))
    assert error.value.reason is Reason.TOKEN_REVOKED


async def test_the_end_of_a_workload_or_its_key_ends_the_tokens_that_it_got(server: Server) -> None:
    token = await issued(server, await presented(server))
    key = KEY.public().thumbprint
    named = revocations.named(claims_of(token))
    assert {("client", "gateway"), ("key", f"gateway {key}")} <= named.keys()
