"""The record of a refused platform token keeps the nearest rule and the claims, and nothing secret."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.server.federation.test_platform_token import CI, RULE, TRUST, ask, token

from affiant.jose import compact, keys
from affiant.server.registry.federation import claims as claims_of
from affiant.server.registry.federation import nearest
from affiant.server.registry.federation.known import Federation, KnownTrust
from affiant.server.registry.federation.nearest import Compared
from affiant.storage.records import ClaimCondition, Rule
from affiant.testing import ISSUER, Server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server.in_process() as made:
        await made.add_api("https://orders.example", scope=("orders.read",), is_default=True)
        await made.add_client("deploy")
        await made.store.trusts.add(TRUST)
        await made.store.rules.add(RULE)
        yield made


async def record(server: Server, text: str, **more: str) -> dict[str, Any]:
    answer = (await ask(server, text, **more))[1]
    found = await server.store.audit_log.find(answer["trace_id"])
    assert found is not None
    return found


def known(*rules: Rule) -> KnownTrust:
    return Federation(ISSUER, [TRUST], rules).trusts[0]


def rule(name: str, **conditions: tuple[Any, ...]) -> Rule:
    return Rule(name, "ci", "deploy", tuple(ClaimCondition(claim, values) for claim, values in conditions.items()))


async def test_the_nearest_rule_with_each_condition(server: Server) -> None:
    await server.store.rules.update(
        "deploy", lambda known: replace(known, conditions=(*known.conditions, ClaimCondition("ref", ("main", "v*"))))
    )
    found = await record(server, token(server, ref="dev"))
    assert (found["reason"], found["issuer"]) == ("rule.none", CI)
    kept = nearest.parse(found["nearest"])
    assert kept is not None
    assert (kept.trust, kept.rule, kept.client_id) == ("ci", "deploy", "deploy")
    assert kept.conditions == (
        Compared("repository_id", ("42",), "42", met=True),
        Compared("ref", ("main", "v*"), "dev", met=False),
    )


async def test_claims_are_kept_without_credentials(server: Server) -> None:
    secret = "A" * 43
    nested = {"deep": {"uid": "7", "jti": "inner"}, "flag": True}
    sent = token(
        server, repository_id="43", nested=nested, key=secret, cnf={"jkt": "x"}, at_hash="x", long="x y" * 200, n=[1]
    )
    text = (await record(server, sent))["claims"]
    kept = claims_of.parse(text)
    assert kept is not None
    assert kept.verified
    assert kept.claims.items() >= {"sub": "repo:acme/app", "/nested/deep/uid": "7", "/nested/flag": True}.items()
    assert not kept.claims.keys() & {"jti", "/nested/deep/jti", "cnf", "/cnf/jkt", "at_hash", "exp", "key", "n"}
    assert kept.claims["long"].endswith("...")
    assert secret not in text
    assert sent.split(".")[1] not in json.dumps(await record(server, sent))


@pytest.mark.parametrize("changes", [{"iss": "https://nobody.example"}, {"key": keys.generate("ES256")}])
async def test_nobody_vouches_for_a_token_that_no_trust_verified(server: Server, changes: dict[str, Any]) -> None:
    """Only names of workloads are kept of it, and the record says so."""
    claims = compact.parse(token(server, repository_id="43", anything="x y")).claims
    key = changes.pop("key", None) or keys.generate("ES256")
    found = await record(server, compact.sign({}, {**claims, **changes}, key))
    kept = claims_of.parse(found["claims"])
    assert kept is not None
    assert not kept.verified
    assert (kept.claims["repository_id"], "anything" in kept.claims) == ("43", False)
    assert "nearest" not in found


def test_texts_are_bounded() -> None:
    many = {f"claim{number}": "\\" * 120 for number in range(90)}
    texts = [claims_of.keep({**many, "iss": "x" * 4000, "sub": "\ud800"}, is_verified=known) for known in (True, False)]
    assert [len(text) <= most for text, most in zip(texts, (2000, 700), strict=True)] == [True, True]
    assert all(claims_of.parse(text) is not None for text in texts)
    wide = rule("wide", **{f"c{number}": tuple("x" * 200 for _ in range(9)) for number in range(16)})
    text = nearest.to_text(nearest.find(known(wide), {"c0": "y" * 9000}))
    assert len(text) <= nearest.MAX_TEXT
    found = nearest.parse(text)
    assert found is not None
    assert found.rule == "wide"


def test_which_rule_is_nearest() -> None:
    claims = {"id": "1", "ref": "main", "event": "push"}
    met = rule("met", id=("1",))
    most = rule("most", id=("1",), ref=("main",), event=("tag",))
    early = rule("early", id=("1",), ref=("dev",), event=("push",))
    none = rule("none", id=("2",))
    assert nearest.find(known(none, early, most), claims).rule == "most"
    assert nearest.find(known(none, early), claims).rule == "early"
    assert nearest.find(known(most, replace(met, enabled=False)), claims).rule == "met"
    assert nearest.find(known(), claims).rule == ""
    assert not nearest.compare(claims, [ClaimCondition("id", (1,))])[0].met
