"""The road of a platform's token: trust, signature, claims, rule, client, and the limits of what it gets."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from affiant.jose import compact, keys
from affiant.oauth import names
from affiant.storage.records import ClaimCondition, Rule, Trust
from affiant.testing import ABSENT, ISSUER, Server
from affiant.testing.messages import changed

CI = "https://ci.example"
KEY = keys.generate("ES256")
JWKS = json.dumps({"keys": [KEY.public().to_jwk()]})
TRUST = Trust("ci", CI, jwks=JWKS)
RULE = Rule("deploy", "ci", "deploy", (ClaimCondition("repository_id", ("42",)),))
_numbers = iter(range(10_000))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server.in_process() as made:
        await made.add_api("https://orders.example", scope=("orders.read", "orders.write"), is_default=True)
        await made.add_client("deploy")
        await made.store.trusts.add(TRUST)
        await made.store.rules.add(RULE)
        yield made


def token(server: Server, **changes: Any) -> str:
    now = int(server.clock)
    claims = {"iss": CI, "sub": "repo:acme/app", "aud": ISSUER, "iat": now, "exp": now + 300, "repository_id": "42"}
    return compact.sign({}, changed({**claims, "jti": f"job-{next(_numbers)}"}, changes), KEY)


async def ask(server: Server, text: str, *, carrier: str = "client_assertion", **more: str) -> tuple[int, Any]:
    form = {"grant_type": names.JWT_BEARER, "assertion": text, **more}
    if carrier == "client_assertion":
        form = {"grant_type": names.CLIENT_CREDENTIALS, "client_assertion": text, **more}
        form["client_assertion_type"] = names.JWT_BEARER_ASSERTION_TYPE
    reply = await server.post(form)
    return reply.status_code, reply.json()


async def claims_of(server: Server, text: str, **more: str) -> dict[str, Any]:
    status, answer = await ask(server, text, **more)
    assert status == 200, answer
    assert "refresh_token" not in answer
    return compact.parse(answer["access_token"]).claims


@pytest.mark.rfc(7523, "2.1")
@pytest.mark.rfc(7523, "2.2")
@pytest.mark.parametrize("carrier", ["client_assertion", "assertion"])
async def test_both_carriers_give_the_token_of_the_rules_client(server: Server, carrier: str) -> None:
    claims = await claims_of(server, token(server), carrier=carrier)
    assert (claims["sub"], claims["client_id"], claims["rule"]) == ("deploy", "deploy", "ci/deploy")
    assert "client_key" not in claims
    assert "src" not in claims


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://other.example"}, "trust.unknown"),
        ({"repository_id": "43"}, "rule.none"),
        ({"repository_id": 42}, "rule.none"),
        ({"aud": "https://other.example"}, "trust.audience"),
        ({"aud": [ISSUER, "https://other.example"]}, "trust.audience"),
        ({"jti": ABSENT}, "assertion.jti"),
        ({"exp": ABSENT}, "assertion.exp"),
        ({"exp": 1}, "assertion.expired"),
    ],
)
async def test_other_tokens_get_nothing(server: Server, changes: dict[str, Any], reason: str) -> None:
    for carrier, status, error in (("client_assertion", 401, "invalid_client"), ("assertion", 400, "invalid_grant")):
        answered, answer = await ask(server, token(server, **changes), carrier=carrier)
        assert (answered, answer["error"]) == (status, error)
        assert answer["error_uri"].endswith(f"/errors/{reason}"), answer


async def test_a_token_is_taken_once_where_the_trust_says_so(server: Server) -> None:
    text = token(server)
    assert (await ask(server, text))[0] == 200
    assert (await ask(server, text, carrier="assertion"))[1]["error_uri"].endswith("/errors/assertion.replayed")
    await server.store.trusts.update("ci", lambda trust: replace(trust, replay="reused"))
    assert [(await ask(server, text))[0] for _ in range(3)] == [200, 200, 200]


async def test_the_answer_has_the_least_that_rule_api_and_token_allow(server: Server) -> None:
    await server.store.rules.update(
        "deploy", lambda rule: replace(rule, scope=("orders.read",), access_token_lifetime=200)
    )
    claims = await claims_of(server, token(server))
    assert (claims["scope"], claims["exp"] - claims["iat"]) == ("orders.read", 200)
    claims = await claims_of(server, token(server, exp=int(server.clock) + 50))
    assert claims["exp"] - claims["iat"] == 50
    answer = (await ask(server, token(server), scope="orders.write"))[1]
    assert answer["error"] == "invalid_scope"
    await server.store.rules.update("deploy", lambda rule: replace(rule, scope=("other",)))
    assert (await ask(server, token(server)))[1]["error_uri"].endswith("/errors/ceiling.nothing_left")


@pytest.mark.attack(331)
async def test_a_disabled_trust_and_a_disabled_rule_refuse_at_once(server: Server) -> None:
    await server.store.rules.update("deploy", lambda rule: replace(rule, enabled=False))
    assert (await ask(server, token(server)))[1]["error_uri"].endswith("/errors/rule.none")
    await server.store.trusts.update("ci", lambda trust: replace(trust, enabled=False))
    assert (await ask(server, token(server)))[0] == 401


async def test_two_rules_for_one_token_are_refused_and_client_id_chooses(server: Server) -> None:
    await server.add_client("other")
    await server.store.rules.add(replace(RULE, name="other", client_id="other"))
    assert (await ask(server, token(server)))[1]["error_uri"].endswith("/errors/trust.ambiguous")
    assert (await claims_of(server, token(server), client_id="other"))["sub"] == "other"


async def test_only_listed_claims_travel(server: Server) -> None:
    await server.store.rules.update("deploy", lambda rule: replace(rule, copied_claims=("sub",)))
    claims = await claims_of(server, token(server, scope="orders.write", act={"sub": "x"}, may_act={"sub": "x"}))
    assert claims["src"] == {"iss": CI, "sub": "repo:acme/app"}
    assert not claims.keys() & {"act", "cnf", "may_act", "sub_profile"}


async def test_a_platform_token_changes_no_keys(server: Server) -> None:
    form = {"client_assertion": token(server), "client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE}
    reply = await server.post({**form, "action": "add"}, path="/client-keys")
    assert reply.status_code == 401


async def test_a_rule_without_conditions_is_met_by_no_token(server: Server) -> None:
    """No such rule can be saved; one that is there all the same gives nothing."""
    await server.store.rules.add(Rule("all", "ci", "deploy"))
    assert (await ask(server, token(server, repository_id="43")))[1]["error_uri"].endswith("/errors/rule.none")
    assert (await ask(server, token(server)))[0] == 200
