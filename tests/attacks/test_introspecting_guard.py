"""T13: a guard that asks the real server of each token, with and without a cache (row 261, root cause R37)."""

from typing import Any

import pytest
from tests.attacks.bench import API, API_URL, BOUND, OTHER_API, Bench, api_proof, dpop, proof

from affiant.client import Assertion, SecretBasic
from affiant.errors import Rejected, RemoteError, StoreError
from affiant.errors.reasons import Reason
from affiant.jose import base64url, compact, keys
from affiant.resource import Guard, Introspection, Proved
from affiant.storage.entries import AuditRecord, Entry, RefreshSelection, Revocation
from affiant.testing import ISSUER, KEY, NOW

pytestmark = pytest.mark.attack(261)


@pytest.fixture
async def bench(bench: Bench) -> Bench:
    """The two APIs are clients of the server."""
    await bench.add_client("rs-a", introspects=(API,))
    await bench.add_client("rs-b", "client_secret_basic", introspects=(OTHER_API,))
    return bench


def _guard(bench: Bench, *, seconds: float = 30, **options: Any) -> Guard:
    asking = Introspection("rs-a", Assertion(KEY), cache_seconds=seconds, signed=True)
    options = {"audience": API, "introspection": asking, "revocations": "off", **options}
    return Guard(ISSUER, http=bench.http, clock=bench.clock, **options)


async def _reason(guard: Guard, token: str, **shown: Any) -> Reason | None:
    try:
        await guard.check([f"{shown.pop('scheme', 'Bearer')} {token}".encode()], **shown)
    except Rejected as refusal:
        return refusal.reason
    return None


async def _token(bench: Bench, client_id: str = "c1", **more: str) -> str:
    return str((await bench.good(bench.signed(client_id, **more)))["access_token"])


async def _revoke(bench: Bench, token: str, client_id: str = "c1") -> None:
    await bench.good(bench.signed(client_id, path="/revoke", token=token))


async def test_revoked_token_and_cache(bench: Bench) -> None:
    """It passes for 30 s at most, counted from the question, and then no more."""
    guard, token = _guard(bench), await _token(bench)
    assert await _reason(guard, token) is None
    await _revoke(bench, token)
    bench.clock.now = NOW + 29.9
    assert await _reason(guard, token) is None
    for bench.clock.now in (NOW + 30, NOW + 31, NOW + 90):
        assert await _reason(guard, token) is Reason.TOKEN_REVOKED


async def test_without_cache_at_once(bench: Bench) -> None:
    guard, token = _guard(bench, seconds=0), await _token(bench)
    assert await _reason(guard, token) is None
    await _revoke(bench, token)
    assert await _reason(guard, token) is Reason.TOKEN_REVOKED


async def test_feed_is_not_waited_out(bench: Bench) -> None:
    """What the feed told counts beside an answer that is remembered: the stricter of the two wins."""
    guard, token = _guard(bench, revocations="required"), await _token(bench)
    await _revoke(bench, token)
    assert await _reason(guard, token) is Reason.TOKEN_REVOKED


async def test_token_expires_in_the_cache(bench: Bench) -> None:
    """Refused from the second of its exp on: no leeway of ours, since the server is asked again."""
    token = await _token(bench)
    exp = compact.parse(token).claims["exp"]
    guard = _guard(bench)
    bench.clock.now = exp - 10
    assert await _reason(guard, token) is None
    bench.clock.now = exp - 0.5
    assert await _reason(guard, token) is None
    for bench.clock.now in (exp, exp + 15, exp + 31):
        assert await _reason(guard, token) is Reason.TOKEN_EXPIRED


async def test_all_that_operator_ends(bench: Bench) -> None:
    guard, token = _guard(bench, seconds=0), await _token(bench)
    await bench.change_client("c1", enabled=False)
    assert await _reason(guard, token) is Reason.TOKEN_REVOKED
    await bench.change_client("c1", enabled=True)
    told = AuditRecord(at=bench.clock.now, trace_id="operator", endpoint="admin", outcome="revoked")
    ended = Revocation("all", "", NOW, NOW + 3600)
    await bench.store.ledger.claim(Entry(told, revocations=(ended,), revoke_refresh=RefreshSelection()))
    assert await _reason(guard, token) is Reason.TOKEN_REVOKED


async def test_answer_is_cached_per_token(bench: Bench) -> None:
    """R37: what is remembered of a good token opens no door to one that is like it."""
    guard, token = _guard(bench), await _token(bench)
    assert await _reason(guard, token) is None
    head, payload, signature = token.split(".")
    other = base64url.encode(base64url.decode(payload).replace(b'"c1"', b'"c2"'))
    like = compact.sign({"typ": "at+jwt"}, compact.parse(token).claims, keys.generate("ES256"))
    variants = [
        f"{head}.{other}.{signature}",
        like,
        f"{token}=",
        f"{token}A",
        token[:-2],
        f"{token}.",
        f"{head}.{payload}.",
    ]
    for text in variants:
        assert await _reason(guard, text) is not None
    ended = await _token(bench)
    await _revoke(bench, ended)
    assert await _reason(guard, ended) is Reason.TOKEN_REVOKED
    assert await _reason(guard, token) is None


async def test_answer_is_cached_per_api(bench: Bench) -> None:
    """R37: two guards of one process share nothing, though they ask the same issuer of the same token."""
    token = await _token(bench, "both", scope="r")
    named = compact.parse(token).claims["aud"]
    mine = _guard(bench)
    secret = SecretBasic(bench.secrets["rs-b"])
    theirs = _guard(bench, audience=OTHER_API, introspection=Introspection("rs-b", secret, cache_seconds=30))
    for guard, api in ((mine, API), (theirs, OTHER_API)):
        assert (await _reason(guard, token) is None) is (api in named)
    await _revoke(bench, token, "both")
    fresh = _guard(bench)
    assert await _reason(mine, token) is None
    assert await _reason(fresh, token) is Reason.TOKEN_REVOKED


async def test_proof_is_checked_despite_the_cache(bench: Bench) -> None:
    """R37: a bound token that is remembered is judged anew by its proof with each request."""
    token = str((await bench.good(bench.signed("bound", dpop(proof()))))["access_token"])
    guard = _guard(bench)

    def _proved(text: str) -> Proved:
        return Proved("GET", API_URL, (text.encode(),))

    assert await _reason(guard, token, scheme="DPoP", proved=_proved(api_proof(token, jti="1"))) is None
    assert await _reason(guard, token) is Reason.TOKEN_BINDING
    assert await _reason(guard, token, scheme="DPoP") is Reason.TOKEN_BINDING
    stolen = api_proof(token, keys.generate("ES256"), jti="2")
    assert await _reason(guard, token, scheme="DPoP", proved=_proved(stolen)) is Reason.TOKEN_BINDING
    again = api_proof(token, BOUND, jti="1")
    assert await _reason(guard, token, scheme="DPoP", proved=_proved(again)) is not None
    assert await _reason(guard, token, scheme="DPoP", proved=_proved(api_proof(token, jti="3"))) is None


async def test_scopes_are_judged_anew(bench: Bench) -> None:
    """R37: what passed one route is remembered, and still not let through another."""
    guard, token = _guard(bench), await _token(bench, scope="r")
    assert await _reason(guard, token, need=["r"]) is None
    assert await _reason(guard, token, need=["w"]) is Reason.SCOPE_INSUFFICIENT


async def test_no_answer_refuses_all(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is away, or the API may not ask: neither a yes nor a no, and nothing that lasts."""
    guard, token = _guard(bench, seconds=0), await _token(bench)

    async def fail(*_: Any) -> Any:
        raise StoreError("away")

    with monkeypatch.context() as patch:
        patch.setattr(bench.store.revocations, "find", fail)
        with pytest.raises(RemoteError):
            await _reason(guard, token)
    assert await _reason(guard, token) is None
    await bench.change_client("rs-a", introspects=())
    with pytest.raises(RemoteError, match="may 'rs-a' introspect"):
        await _reason(guard, token)


async def test_api_that_asks_for_another(bench: Bench) -> None:
    """It hears that the token is none: nobody passes, and nothing of the token is told."""
    asking = Introspection("rs-b", SecretBasic(bench.secrets["rs-b"]))
    guard, token = _guard(bench, introspection=asking), await _token(bench)
    assert await _reason(guard, token) is Reason.TOKEN_REVOKED
