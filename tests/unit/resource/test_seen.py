"""Tokens that a guard has seen: many callers in turn, a bounded memory, and what is judged with each request all the same."""

import tracemalloc
from hashlib import sha256
from typing import Any

import pytest
from tests.unit.resource.issuer import API, ISSUER, NOW, Check, Issuer, trusted

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.oauth import access_token
from affiant.oauth.access_token import Accepted, JudgedToken
from affiant.oauth.binding import dpop
from affiant.oauth.revocations import digests
from affiant.resource import Guard, Proved
from affiant.resource.issuer.seen import MAX_BYTES, MOST_SPARED, Seen

KEY = keys.generate("ES256")


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The signatures that are verified."""
    found: list[str] = []
    real = compact.verify

    def verify(unverified: Any, key: Any) -> Any:
        found.append(unverified.claims.get("jti", ""))
        return real(unverified, key)

    monkeypatch.setattr(compact, "verify", verify)
    return found


async def _warm(guard: Guard, token: bytes) -> None:
    await guard.check([token])


async def test_repeated_token_is_verified_once(verified: list[str], check: Check) -> None:
    issuer = Issuer()
    guard = issuer.guard()
    await _warm(guard, issuer.token("first"))
    for _ in range(3):
        await check(guard, [issuer.token("again")])
    tokens = [issuer.token(str(number)) for number in range(3)]
    verified.clear()
    for token in tokens * 3:
        await check(guard, [token])
    assert verified == ["0", "1", "2"]


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _judged(number: int) -> tuple[str, JudgedToken]:
    """A token as a guard keeps it, with everything that belongs to it alone."""
    text = f"e30.{number:06}.".ljust(700, "x")
    claims = {
        "iss": ISSUER,
        "aud": API,
        "sub": f"client-{number}",
        "client_id": f"client-{number}",
        "iat": NOW + number,
        "exp": NOW + number + 600,
        "jti": f"{number:040}",
        "scope": f"orders.read tenant.{number}",
    }
    found = compact.Verified({"typ": "at+jwt"}, claims, KEY.public())
    return text, access_token.judge(found, Accepted(ISSUER, frozenset({API})))


def test_ten_thousand_callers_in_turn_are_all_known() -> None:
    """And they take no more memory than counted."""
    tracemalloc.start()
    try:
        seen = Seen[str]()
        for number in range(10_000):
            text, judged = _judged(number)
            judged.names.append(digests(judged.token.claims))
            seen.keep(_digest(text), "issuer", 1, judged, characters=len(text))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(seen.find(_digest(_judged(number)[0])) is not None for number in range(10_000))
    assert taken <= MAX_BYTES
    assert taken <= 10_000 * (2048 + 1.5 * 700)


def test_oldest_token_that_was_not_used_is_forgotten() -> None:
    texts = [_judged(number) for number in range(4)]
    seen = Seen[str](most=3 * (2048 + 1050))
    for text, judged in texts[:3]:
        seen.keep(_digest(text), "issuer", 1, judged, characters=700)
    assert seen.find(_digest(texts[0][0])) is not None  # so that the second is the oldest
    seen.keep(_digest(texts[3][0]), "issuer", 1, texts[3][1], characters=700)
    assert [seen.find(_digest(text)) is not None for text, _ in texts] == [True, False, True, True]
    assert len(seen) == 3


def test_tokens_in_use_outlast_those_that_came_once() -> None:
    texts = [_judged(number) for number in range(40)]
    seen = Seen[str](most=8 * (2048 + 1050))
    for number, (text, judged) in enumerate(texts):
        seen.keep(_digest(text), "issuer", 1, judged, characters=700)
        if number >= 4:
            assert all(seen.find(_digest(used)) is not None for used, _ in texts[:4])
    assert len(seen) == 8


def test_a_new_token_passes_over_a_bounded_number() -> None:
    """All of many are in use: it takes the place of one of them, and does not wait until all were looked at."""
    number = 3 * MOST_SPARED
    texts = [_judged(each) for each in range(number + 1)]
    seen = Seen[str](most=number * (2048 + 1050))
    for text, judged in texts[:-1]:
        seen.keep(_digest(text), "issuer", 1, judged, characters=700)
    assert all(seen.find(_digest(text)) is not None for text, _ in texts[:-1])
    text, judged = texts[-1]
    seen.keep(_digest(text), "issuer", 1, judged, characters=700)
    forgotten = [each for each, (text, _) in enumerate(texts) if seen.find(_digest(text)) is None]
    assert forgotten == [MOST_SPARED]


def test_long_tokens_take_the_place_of_several() -> None:
    seen = Seen[str](most=20_000)
    for number in range(8):
        text, judged = _judged(number)
        seen.keep(_digest(text), "issuer", 1, judged, characters=8192)
    assert len(seen) == 1


def test_token_is_kept_once() -> None:
    text, judged = _judged(1)
    seen = Seen[str](most=3 * (2048 + 1050))
    for edition in range(100):
        seen.keep(_digest(text), "issuer", edition, judged, characters=700)
    assert len(seen) == 1
    entry = seen.find(_digest(text))
    assert entry is not None
    assert (entry.edition, entry.judged) == (99, judged)


async def _reason(check: Check, guard: Guard, token: bytes, **options: Any) -> Reason | None:
    try:
        await check(guard, [token], **options)
    except Rejected as refusal:
        return refusal.reason
    return None


async def test_known_token_still_expires(check: Check) -> None:
    issuer = Issuer()
    guard, token = issuer.guard(), issuer.token(exp=NOW + 60)
    for now, reason in [(NOW, None), (NOW, None), (NOW + 89, None), (NOW + 90, Reason.TOKEN_EXPIRED)]:
        issuer.now = float(now)
        assert await _reason(check, guard, token) is reason


async def test_clock_that_is_set_back_is_noticed(check: Check) -> None:
    issuer = Issuer()
    guard, token = issuer.guard(), issuer.token()
    for now, reason in [(NOW, None), (NOW, None), (NOW - 31, Reason.TOKEN_NOT_YET_VALID)]:
        issuer.now = float(now)
        assert await _reason(check, guard, token) is reason


async def test_scope_of_a_known_token_is_judged(check: Check) -> None:
    issuer = Issuer()
    guard, token = issuer.guard(), issuer.token(scope="a")
    for need, reason in [("a", None), ("a", None), ("b", Reason.SCOPE_INSUFFICIENT), ("a", None)]:
        assert await _reason(check, guard, token, need=need) is reason


async def test_binding_of_a_known_token_is_judged(check: Check) -> None:
    """A proof is needed for each request, and is good for one."""
    issuer, key = Issuer(), dpop.ProofKey.of(keys.generate("ES256"))
    guard, token = issuer.guard(), issuer.token(cnf={"jkt": key.thumbprint}).removeprefix(b"Bearer ")

    def proved() -> Proved:
        text = dpop.build(key, method="GET", url=f"{API}/", now=issuer.now, access_token=token.decode())
        return Proved("GET", f"{API}/", (text.encode(),))

    last = proved()
    for proof, reason in [
        (last, None),
        (last, Reason.DPOP_REPLAYED),
        (proved(), None),
        (None, Reason.TOKEN_BINDING),
        (proved(), None),
    ]:
        assert await _reason(check, guard, b"DPoP " + token, proved=proof) is reason
    assert await _reason(check, guard, b"Bearer " + token, proved=proved()) is Reason.TOKEN_BINDING


async def test_revocation_of_a_known_token_is_judged(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = Issuer()
    guard, token = issuer.guard(), issuer.token("one")
    assert [await _reason(check, guard, token) for _ in range(2)] == [None, None]

    def judge(judged: JudgedToken) -> None:
        raise Rejected(Reason.TOKEN_REVOKED, detail=judged.token.jti)

    monkeypatch.setattr(trusted(guard).revocations, "judge", judge)
    assert await _reason(check, guard, token) is Reason.TOKEN_REVOKED


async def test_code_of_the_api_changes_no_later_verdict(check: Check) -> None:
    """Attack: it empties the claims, or writes into them. The next request of this caller has its own."""
    issuer = Issuer()
    guard, token = issuer.guard(), issuer.token(scope="a", access={"roles": ["reader"]}, groups=["one"])
    for _ in range(3):
        caller = await check(guard, [token], need="a")
        assert caller.claims["scope"] == "a"
        assert (caller.claims["access"], caller.claims["groups"]) == ({"roles": ["reader"]}, ["one"])
        caller.claims["access"]["roles"].append("writer")
        caller.claims["groups"].clear()
        caller.claims.clear()


async def test_nothing_is_scheduled_where_the_keys_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for a token that was seen nor for a new one; nor is a coroutine begun."""
    issuer = Issuer()
    guard = issuer.guard(revocations="off")
    await _warm(guard, issuer.token())

    def fail(*_: Any) -> Any:
        raise AssertionError("something was fetched")

    monkeypatch.setattr("affiant.resource.waiting._wait", fail)
    monkeypatch.setattr(trusted(guard).keys, "verify", fail)
    monkeypatch.setattr(trusted(guard).keys, "refresh", fail)
    for token in (issuer.token("new"), issuer.token("new"), issuer.token("other")):
        assert guard.check_sync([token]).client_id == "c"
