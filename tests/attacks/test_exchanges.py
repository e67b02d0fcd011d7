"""T6, of token exchange: a requester that may exchange tokens asks for more, for others, or with what is no token."""

from dataclasses import replace
from typing import Any

import pytest
from tests.attacks.bench import API, BOUND, OTHER_API, Bench, assertion, dpop, proof
from tests.attacks.callers import ask, hire
from tests.attacks.federating import CI_KEY, RULE, exchange, job, subject, trust

from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.oauth import introspection, names, revocations
from affiant.testing import ISSUER, NOW

EXP = NOW + 600


async def _claims(bench: Bench, token: str, **more: str) -> dict[str, Any]:
    return compact.parse((await bench.good(exchange(bench, token, **more)))["access_token"]).claims


@pytest.fixture
async def wide(bench: Bench) -> Bench:
    """The requester may have more than the subject."""
    await subject(bench)
    await bench.change_client("c2", scope=("r", "w"), resources=(API, OTHER_API), access_token_lifetime=3600)
    return bench


@pytest.mark.attack(321)
@pytest.mark.rfc(8693, "2.1")
@pytest.mark.parametrize("scope", ["w", "r w", "r w other", "R"])
async def test_more_scope(wide: Bench, scope: str) -> None:
    await wide.denied(exchange(wide, await subject(wide), scope=scope), Reason.SCOPE_NOT_ALLOWED)


@pytest.mark.attack(321)
@pytest.mark.rfc(8693, "2.1")
async def test_another_api(wide: Bench) -> None:
    """The requester may ask for it, and the subject may not."""
    for name in ("resource", "audience"):
        await wide.denied(exchange(wide, await subject(wide), **{name: OTHER_API}), Reason.RESOURCE_NOT_ALLOWED)
    await wide.change_client("c1", resources=(API, OTHER_API))
    assert (await _claims(wide, await subject(wide), resource=OTHER_API))["aud"] == OTHER_API
    # What the subject may have counts now, not when its token was made.
    token = await subject(wide)
    await wide.change_client("c1", scope=())
    await wide.denied(exchange(wide, token, resource=OTHER_API), Reason.NOTHING_LEFT)


@pytest.mark.attack(321)
async def test_a_later_end(wide: Bench) -> None:
    token = await subject(wide, exp=NOW + 30)
    for more in ({}, {"expires_in": "600"}, {"expires_in": "999999"}):
        assert (await _claims(wide, token, **more))["exp"] == NOW + 30
    await wide.denied(exchange(wide, await subject(wide, exp=NOW)), Reason.EXCHANGE_SUBJECT)


async def test_a_refusal_says_what_was_expected_of_the_token(wide: Bench) -> None:
    reply, _ = await wide.denied(exchange(wide, "x"), Reason.EXCHANGE_SUBJECT)
    assert reply.json()["error_description"].endswith("(expected 3, got 1)")


@pytest.mark.attack(321)
async def test_the_limits_of_the_requesters_rule(wide: Bench) -> None:
    """A job exchanges the token that it was given: its own rule limits what comes out."""
    await trust(wide, replace(RULE, client_id="c2", access_token_lifetime=20))
    await wide.change_client("c1", scope=("r", "w"))
    token = await subject(wide, scope="r w")
    by_job = {"client_assertion": job(), "client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE}
    sent = {"grant_type": names.TOKEN_EXCHANGE, "subject_token": token, "subject_token_type": names.JWT_TOKEN_TYPE}
    reply = await wide.http.post("/token", data={**sent, **by_job})
    claims = compact.parse(reply.json()["access_token"]).claims
    assert (claims["exp"] - claims["iat"], claims["rule"], claims["act"]["sub"]) == (20, "ci/deploy", "c2")


@pytest.mark.attack(322)
@pytest.mark.rfc(8693, "2.2.2")
@pytest.mark.parametrize("claims", [{}, {"cnf": {"jkt": BOUND.public().thumbprint}}, {"aud": OTHER_API}])
async def test_a_stolen_token(bench: Bench, claims: dict[str, Any]) -> None:
    """A client that is neither its owner nor a recipient exchanges it: bound or not, and whatever it is for."""
    token = await subject(bench, **claims)
    await bench.change_client("c2", introspects=(OTHER_API,) if "aud" not in claims else (API,))
    thief = exchange(bench, token)
    await bench.denied(replace(thief, headers=(*thief.headers, dpop(proof()))), Reason.EXCHANGE_AUDIENCE)
    # Nothing says whether the token still lives.
    await bench.change_client("c1", enabled=False)
    await bench.denied(exchange(bench, token), Reason.EXCHANGE_AUDIENCE)


@pytest.mark.attack(322)
async def test_a_removed_api_has_no_recipients(bench: Bench) -> None:
    token = await subject(bench, aud="https://removed.example")
    await bench.change_client("c2", introspects=("https://removed.example",))
    await bench.denied(exchange(bench, token), Reason.EXCHANGE_AUDIENCE)


@pytest.mark.attack(323)
@pytest.mark.rfc(8693, "4.1")
async def test_claims_that_a_caller_writes(bench: Bench) -> None:
    """In its assertion, in the form, or in the token of a platform: none of them becomes one of the new token."""
    forged: dict[str, Any] = {
        "act": {"iss": ISSUER, "sub": "root"},
        "may_act": {"sub": "c2"},
        "parents": [],
        "sub_profile": "user",
        "rule": "a/b",
        "task": "t",
    }
    token = await subject(bench)
    await bench.change_client("c1", scope=("r",))
    signed = compact.sign(
        {}, {**compact.parse(bench.assertion("c2")).claims, **forged, "jti": "f"}, bench.signers["c2"]
    )
    made = exchange(bench, token, client_assertion=signed, act='{"sub":"root"}', parents="[]", sub="root", may_act="{}")
    claims = compact.parse((await bench.good(made))["access_token"]).claims
    assert claims["act"] == {"iss": ISSUER, "sub": "c2", "sub_profile": "service"}
    assert (claims["sub"], len(claims["parents"])) == ("c1", 1)
    assert not claims.keys() & {"may_act", "sub_profile", "rule", "task"}
    await trust(bench)
    del forged["may_act"]
    text = job(**forged, scope="w", cnf={"jkt": BOUND.public().thumbprint})
    own = exchange(bench, text, by="c1", subject_token_type=names.JWT_TOKEN_TYPE)
    found = await bench.good(replace(own, headers=(*own.headers, dpop(proof()))))
    claims = compact.parse(found["access_token"]).claims
    assert (claims["scope"], claims["parents"]) == ("r", [{"client_id": "c1", "rule": "ci/deploy"}])
    assert not claims.keys() & {"act", "may_act", "sub_profile", "rule", "task"}


@pytest.mark.attack(323)
@pytest.mark.rfc(8693, "4.4")
async def test_may_act_of_a_platform_restricts(bench: Bench) -> None:
    await trust(bench)
    await bench.store.trusts.update("ci", lambda one: replace(one, audiences=(API,)))
    await subject(bench)
    by_jwt = {"subject_token_type": names.JWT_TOKEN_TYPE}
    await bench.denied(exchange(bench, job(aud=API, may_act={"sub": "x"}), **by_jwt), Reason.EXCHANGE_MAY_ACT)


@pytest.mark.attack(324)
@pytest.mark.rfc(8693, "4.1")
async def test_a_chain_that_cannot_go_on(bench: Bench) -> None:
    chains: list[tuple[Any, Reason]] = [
        ({"iss": ISSUER, "sub": "c2"}, Reason.EXCHANGE_CYCLE),
        ({"iss": ISSUER, "sub": "x", "act": {"iss": ISSUER, "sub": "c2"}}, Reason.EXCHANGE_CYCLE),
        ({"iss": ISSUER, "sub": "x", "act": {"iss": ISSUER}}, Reason.EXCHANGE_ACT),
        ({"iss": ISSUER, "sub": ["x"]}, Reason.EXCHANGE_ACT),
        ("c2", Reason.EXCHANGE_ACT),
        (False, Reason.EXCHANGE_ACT),
    ]
    for act, reason in chains:
        await bench.denied(exchange(bench, await subject(bench, act=act)), reason)
    # The subject itself comes back as its own actor.
    await bench.denied(exchange(bench, await subject(bench, sub="c2", client_id="c1")), Reason.EXCHANGE_CYCLE)


@pytest.mark.attack(324)
async def test_a_client_narrows_for_ever(bench: Bench) -> None:
    """Each exchange makes the list of ancestors longer."""
    token = await subject(bench)
    for _ in range(8):
        token = (await bench.good(exchange(bench, token, by="c1")))["access_token"]
    await bench.denied(exchange(bench, token, by="c1"), Reason.EXCHANGE_DEPTH)


@pytest.mark.attack(325)
@pytest.mark.rfc(8693, "5")
@pytest.mark.parametrize("cnf", [{"jkt": "x"}, {"x5t#S256": "x"}, {"kid": "x"}, {}, "x", 0])
async def test_a_bound_token_for_a_bearer_token(bench: Bench, cnf: Any) -> None:
    """Also if it is bound in a way that this server does not know."""
    token = await subject(bench, cnf=cnf)
    for by in ("c1", "c2"):
        await bench.denied(exchange(bench, token, by=by), Reason.EXCHANGE_UNBOUND)


@pytest.mark.attack(326)
@pytest.mark.rfc(8693, "2.2.2")
async def test_what_is_no_access_token(bench: Bench) -> None:
    """Other JWTs of this server, of clients and of platforms, as the subject token."""
    await subject(bench)
    key = await bench.signing_key()
    now = {"iss": ISSUER, "sub": "c1", "client_id": "c1", "aud": API, "iat": NOW, "exp": EXP, "jti": "x"}
    members = {"active": True, "sub": "c1", "client_id": "c1"}
    others = [compact.sign({"typ": typ}, now, key) for typ in ("logout+jwt", "secevent+jwt", "dpop+jwt", "id_token")]
    others += [
        compact.sign({"typ": names.REVOCATIONS_TYP}, now, key),
        await introspection.build(members, issuer=ISSUER, audience="c2", now=NOW, signer=key),
        assertion(),
        proof(),
        compact.sign({"typ": "at+jwt"}, now, CI_KEY),
        compact.sign({"typ": "JWT"}, now, CI_KEY),
    ]
    for text in others:
        for kind in (names.ACCESS_TOKEN_TOKEN_TYPE, names.JWT_TOKEN_TYPE):
            await bench.denied(exchange(bench, text, subject_token_type=kind), Reason.EXCHANGE_SUBJECT)


@pytest.mark.attack(326)
async def test_a_platforms_token_as_an_access_token(bench: Bench) -> None:
    await trust(bench)
    await subject(bench)
    await bench.denied(exchange(bench, job(), by="c1"), Reason.EXCHANGE_SUBJECT)


@pytest.mark.attack(327)
async def test_an_operator_sees_that_a_child_is_revoked(bench: Bench) -> None:
    await hire(bench)
    await subject(bench)
    parent = (await bench.good(bench.signed()))["access_token"]
    child = (await bench.good(exchange(bench, parent)))["access_token"]
    last = (await bench.good(exchange(bench, child, by="c2", task="t")))["access_token"]
    jtis = [compact.parse(token).claims["jti"] for token in (parent, child, last)]

    async def revoked() -> list[bool]:
        return [(await ask(bench, "viewer", f"GET /tokens/{jti}")).json()["revoked"] for jti in jtis]

    assert await revoked() == [False] * 3
    assert (await bench.send(bench.signed("c2", path="/revoke", token=child))).status == 200
    assert await revoked() == [False, True, True]


@pytest.mark.attack(327)
async def test_a_child_exchanged_by_a_platforms_token_outlives_no_blueprint(bench: Bench) -> None:
    """Disabling a blueprint ends its children, even if a rule named the child and another client acts for it."""
    await trust(bench, RULE, audiences=(API,))
    await subject(bench)
    await bench.change_client("c1", kind="agent", blueprint="bound")
    claims = await _claims(bench, job(aud=API), subject_token_type=names.JWT_TOKEN_TYPE)
    assert (claims["sub"], claims["client_id"], claims["sub_profile"]) == ("c1", "c2", "ai_agent")
    assert ("client", "bound") in revocations.named(claims)
    await bench.change_client("bound", enabled=False)
    again = exchange(bench, job(aud=API), subject_token_type=names.JWT_TOKEN_TYPE)
    await bench.denied(again, Reason.EXCHANGE_REVOKED)
