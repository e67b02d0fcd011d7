"""`guard.explain`: each step of the check, and where it stops. It agrees with the check in every case."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from tests.certificates import make
from tests.rsa_keys import rsa_key
from tests.unit.resource.issuer import API, ISSUER, NOW, Issuer
from tests.unit.resource.listening import ListeningIssuer, listening
from tests.unit.resource.replays.proofs import Sender

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.oauth.binding import mtls
from affiant.resource import Guard
from affiant.resource.diagnosis.explanation import FAILED, NOT_KNOWN, NOT_REACHED, PASSED, Explanation

Explain = Callable[..., Awaitable[Explanation]]


async def _in_loop(guard: Guard, token: str, **options: Any) -> Explanation:
    return await guard.explain(token, **options)


async def _in_thread(guard: Guard, token: str, **options: Any) -> Explanation:
    return await asyncio.to_thread(guard.explain_sync, token, **options)


@pytest.fixture(params=[_in_loop, _in_thread], ids=["loop", "thread"])
def explain(request: Any) -> Explain:
    found: Explain = request.param
    return found


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


def text_of(authorization: bytes) -> str:
    return authorization.decode().removeprefix("Bearer ")


def marks(found: Explanation) -> dict[str, list[str]]:
    return {mark: [step.name for step in found.steps if step.mark == mark] for mark in (FAILED, NOT_KNOWN, NOT_REACHED)}


async def test_valid_token_passes_each_step(issuer: Issuer, explain: Explain) -> None:
    found = await explain(issuer.guard(development=True), text_of(issuer.token(scope="a b")), need="a")
    assert (found.is_valid, found.reason) == (True, None)
    assert {step.mark for step in found.steps} == {PASSED}
    assert str(found).splitlines()[:2] == ["valid", ""]
    assert f" ✓  7 audience     aud '{API}'" in str(found)


def _signed(issuer: Issuer, header: dict[str, Any], *, key: keys.PrivateKey | None = None, **claims: Any) -> bytes:
    members = {"iss": ISSUER, "aud": API, "sub": "c", "client_id": "c", "iat": NOW, "exp": NOW + 60, "jti": "1"}
    return b"Bearer " + compact.sign({"typ": "at+jwt", **header}, {**members, **claims}, key or issuer.keys[0]).encode()


# What is wrong, the step that fails, and how many are not reached.
CASES: list[tuple[str, Callable[[Issuer], bytes], str, int]] = [
    ("no JWT", lambda _: b"Bearer x", "form", 11),
    ("two words", lambda _: b"Bearer x y", "form", 11),
    ("another scheme", lambda _: b"Basic eDp5", "form", 11),
    ("alg", lambda issuer: _signed(issuer, {}, key=rsa_key()), "algorithm", 10),
    ("kid", lambda issuer: _signed(issuer, {}, key=keys.generate("ES256")), "key", 9),
    ("signature", lambda issuer: issuer.token()[:-8] + b"AAAAAAAA", "signature", 8),
    ("typ", lambda issuer: _signed(issuer, {"typ": "JWT"}), "type", 7),
    ("iss", lambda issuer: issuer.token(iss="https://other.example"), "issuer", 6),
    ("aud", lambda issuer: issuer.token(aud="https://other.example"), "audience", 5),
    ("no sub", lambda issuer: issuer.token(sub=1), "claims", 4),
    ("cnf of no kind", lambda issuer: issuer.token(cnf={"x": "y"}), "claims", 4),
    ("expired", lambda issuer: issuer.token(exp=NOW - 60, scope="a"), "time", 1),
    ("not yet valid", lambda issuer: issuer.token(nbf=NOW + 60, scope="a"), "time", 1),
    ("scope", lambda issuer: issuer.token(scope="b"), "scope", 0),
]


@pytest.mark.parametrize(("make", "step", "unreached"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_step_that_fails_is_named(
    issuer: Issuer, explain: Explain, make: Callable[[Issuer], bytes], step: str, unreached: int
) -> None:
    guard, authorization = issuer.guard(development=True, algorithms=["ES256"]), make(issuer)
    found = await explain(guard, authorization.decode(), need="a")
    with pytest.raises(Rejected) as refused:
        await guard.check([authorization], need="a")
    assert (found.is_valid, found.reason) == (False, refused.value.reason)
    assert (marks(found)[FAILED], len(marks(found)[NOT_REACHED])) == ([step], unreached)
    assert f"refused: {refused.value.reason.code}" in str(found)


async def test_later_steps_are_judged_where_they_can_be(issuer: Issuer, explain: Explain) -> None:
    found = await explain(issuer.guard(development=True), text_of(issuer.token(exp=NOW - 60, scope="b")), need="a")
    assert found.reason is Reason.TOKEN_EXPIRED
    assert marks(found) == {FAILED: ["time", "scope"], NOT_KNOWN: [], NOT_REACHED: ["binding"]}
    (time, scope) = (step for step in found.steps if step.mark == FAILED)
    assert time.note == "the token has expired: it expired 60 s ago by this clock"
    assert (scope.seen, scope.expected, scope.rule) == ("scope 'b'", "a", "RFC 6750 3.1")


async def test_bound_token_needs_a_proof(issuer: Issuer, explain: Explain) -> None:
    sender = Sender(issuer)
    guard = issuer.guard(development=True)
    for token in (sender.token.decode(), f"DPoP {sender.token.decode()}"):
        found = await explain(guard, token, need="a")
        assert (found.is_valid, marks(found)) == (True, {FAILED: [], NOT_KNOWN: ["binding"], NOT_REACHED: []})
    expired = Sender(issuer, exp=NOW - 60)
    assert (await explain(guard, expired.token.decode())).reason is Reason.TOKEN_EXPIRED


async def test_token_bound_to_a_certificate(issuer: Issuer, explain: Explain) -> None:
    guard, (mine, other) = issuer.guard(development=True), (mtls.parse(make().der) for _ in range(2))
    token = text_of(issuer.token(cnf={"x5t#S256": mine.thumbprint}))
    found = [await explain(guard, token, certificate=certificate) for certificate in (None, mine, other)]
    assert [one.is_valid for one in found] == [True, True, False]
    assert [marks(one)[NOT_KNOWN] for one in found] == [["binding"], [], []]


async def test_bearer_token_where_bound_ones_are_required(issuer: Issuer, explain: Explain) -> None:
    found = await explain(issuer.guard(development=True, dpop="required"), text_of(issuer.token()))
    assert (found.reason, marks(found)[FAILED]) == (Reason.TOKEN_BINDING, ["binding"])


@pytest.fixture
def remote() -> Iterator[ListeningIssuer]:
    with listening() as found:
        yield found


async def test_keys_are_fetched_or_are_missing(remote: ListeningIssuer, explain: Explain) -> None:
    remote.statuses["/jwks"] = 500
    guard, token = remote.guard(development=True), text_of(remote.token())
    found = await explain(guard, token)
    assert (found.is_valid, found.reason) == (None, None)
    assert marks(found)[NOT_KNOWN] == ["key"]
    assert "answered 500" in str(found)
    assert str(found).startswith("not known\n")
    del remote.statuses["/jwks"]
    assert (await explain(guard, token)).is_valid


async def test_revocations_that_are_not_known(remote: ListeningIssuer, explain: Explain) -> None:
    guard = remote.guard(development=True, revocations="required")
    found = await explain(guard, text_of(remote.token()))
    assert (found.is_valid, marks(found)) == (None, {FAILED: [], NOT_KNOWN: ["revocation"], NOT_REACHED: ["scope"]})


async def test_explaining_admits_and_counts_nothing(issuer: Issuer, explain: Explain) -> None:
    guard = issuer.guard(development=True)
    for token in (issuer.token(), issuer.token(exp=NOW - 60)):
        await explain(guard, text_of(token))
    assert guard.metrics().requests == {"accepted": 0}
    assert guard.metrics().verified == 0
    with pytest.raises(Rejected):
        await guard.check([issuer.token(exp=NOW - 60)])


@pytest.mark.parametrize("development", [False])
async def test_it_is_for_development(issuer: Issuer, explain: Explain, development: bool) -> None:
    for guard in (issuer.guard(), issuer.guard(development=development)):
        with pytest.raises(ConfigError, match="explain shows the claims of tokens"):
            await explain(guard, text_of(issuer.token()))


async def test_text_has_no_token(issuer: Issuer, explain: Explain) -> None:
    """Attack: a claim writes lines of its own into the terminal."""
    token = text_of(issuer.token(scope="a\n ✓ 12 scope", iss="https://x\x1b[2J"))
    text = str(await explain(issuer.guard(development=True), token))
    assert token.split(".")[2] not in text
    assert "\x1b" not in text
    assert len(text.splitlines()) < 20


async def test_guard_of_several_issuers_finds_the_issuer_first(remote: ListeningIssuer, explain: Explain) -> None:
    guard = Guard([remote.url, "https://b.example"], audience=API, clock=lambda: remote.now, development=True)
    assert (await explain(guard, text_of(remote.token()))).is_valid
    found = await explain(guard, text_of(remote.token(iss="https://c.example")))
    assert [step.name for step in found.steps[:3]] == ["form", "issuer", "algorithm"]
    assert (found.reason, len(marks(found)[NOT_REACHED])) == (Reason.TOKEN_ISSUER, 10)
    assert found.steps[1].expected == f"{remote.url} or https://b.example"
