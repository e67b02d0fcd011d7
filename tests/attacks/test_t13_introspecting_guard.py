"""T13: a guard that asks the real server of each token, with and without a cache (row 261, root cause R37)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from tests.attacks.bench import API, ISSUER, KEY, NOW, OTHER_API, Bench, assertion, form, post
from tests.attacks.proofs import API_URL, BOUND, TOKEN_URL, api_proof, dpop, proof

from affiant.client.auth import Assertion, SecretBasic
from affiant.errors import Rejected, RemoteError, StoreError
from affiant.jose import base64url, compact, keys
from affiant.reasons import Reason
from affiant.resource import Guard, Introspection
from affiant.resource.request import Proved
from affiant.storage.entries import AuditRecord, Entry, RefreshSelection, Revocation

pytestmark = [pytest.mark.anyio, pytest.mark.attack(261)]


@pytest.fixture
async def http(bench: Bench) -> AsyncIterator[httpx2.AsyncClient]:
    """To the server; the two APIs are its clients."""
    await bench.register("rs-a", introspects=(API,))
    await bench.register("rs-b", "client_secret_basic", introspects=(OTHER_API,))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=bench.app), base_url=ISSUER) as made:
        yield made


def _guard(bench: Bench, http: httpx2.AsyncClient, *, seconds: float = 30, **options: Any) -> Guard:
    asking = Introspection("rs-a", Assertion(KEY), cache_seconds=seconds, signed=True)
    options = {"audience": API, "introspection": asking, "revocations": "off", **options}
    return Guard(ISSUER, http=http, clock=lambda: bench.now[0], **options)


async def _reason(guard: Guard, token: str, **shown: Any) -> Reason | None:
    try:
        await guard.check([f"{shown.pop('scheme', 'Bearer')} {token}".encode()], **shown)
    except Rejected as refusal:
        return refusal.reason
    return None


def _as(bench: Bench, client_id: str = "c1", **more: str) -> dict[str, str]:
    bench.serial += 1
    now = int(bench.now[0])
    return form(assertion(iss=client_id, sub=client_id, jti=f"t13-{bench.serial}", iat=now, exp=now + 60), **more)


async def _token(bench: Bench, client_id: str = "c1", **more: str) -> str:
    reply = await bench.send(post(_as(bench, client_id, **more)))
    assert reply.status == 200, reply.body
    return str(reply.json()["access_token"])


async def _revoke(bench: Bench, token: str, client_id: str = "c1") -> None:
    request = replace(post(_as(bench, client_id, token=token, grant_type="absent")), path="/revoke")
    assert (await bench.send(request)).status == 200


async def test_a_revoked_token_and_a_cache(bench: Bench, http: httpx2.AsyncClient) -> None:
    """It passes for 30 s at most, counted from the question, and then no more."""
    guard, token = _guard(bench, http), await _token(bench)
    assert await _reason(guard, token) is None
    await _revoke(bench, token)
    bench.now[0] = NOW + 29.9
    assert await _reason(guard, token) is None
    for bench.now[0] in (NOW + 30, NOW + 31, NOW + 90):
        assert await _reason(guard, token) is Reason.TOKEN_REVOKED


async def test_without_a_cache_at_once(bench: Bench, http: httpx2.AsyncClient) -> None:
    guard, token = _guard(bench, http, seconds=0), await _token(bench)
    assert await _reason(guard, token) is None
    await _revoke(bench, token)
    assert await _reason(guard, token) is Reason.TOKEN_REVOKED


async def test_a_feed_is_not_waited_out(bench: Bench, http: httpx2.AsyncClient) -> None:
    """What the feed told counts beside an answer that is remembered: the stricter of the two wins."""
    guard, token = _guard(bench, http, revocations="required"), await _token(bench)
    await _revoke(bench, token)
    assert await _reason(guard, token) is Reason.TOKEN_REVOKED


async def test_a_token_that_expires_while_it_is_remembered(bench: Bench, http: httpx2.AsyncClient) -> None:
    """Refused from the second of its exp on: no leeway of ours, since the server is asked again."""
    token = await _token(bench)
    exp = compact.parse(token).claims["exp"]
    guard = _guard(bench, http)
    bench.now[0] = exp - 10
    assert await _reason(guard, token) is None
    bench.now[0] = exp - 0.5
    assert await _reason(guard, token) is None
    for bench.now[0] in (exp, exp + 15, exp + 31):
        assert await _reason(guard, token) is Reason.TOKEN_EXPIRED


async def test_all_that_an_operator_ends(bench: Bench, http: httpx2.AsyncClient) -> None:
    guard, token = _guard(bench, http, seconds=0), await _token(bench)
    await bench.store.clients.update("c1", lambda client: replace(client, enabled=False))
    assert await _reason(guard, token) is Reason.TOKEN_REVOKED
    await bench.store.clients.update("c1", lambda client: replace(client, enabled=True))
    told = AuditRecord(at=bench.now[0], trace_id="operator", endpoint="admin", outcome="revoked")
    ended = Revocation("all", "", NOW, NOW + 3600)
    await bench.store.ledger.claim(Entry(told, revocations=(ended,), revoke_refresh=RefreshSelection()))
    assert await _reason(guard, token) is Reason.TOKEN_REVOKED


async def test_the_answer_for_one_token_is_for_no_other(bench: Bench, http: httpx2.AsyncClient) -> None:
    """R37: what is remembered of a good token opens no door to one that is like it."""
    guard, token = _guard(bench, http), await _token(bench)
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


async def test_the_answer_at_one_api_is_for_no_other(bench: Bench, http: httpx2.AsyncClient) -> None:
    """R37: two guards of one process share nothing, though they ask the same issuer of the same token."""
    token = await _token(bench, "both", scope="r")
    named = compact.parse(token).claims["aud"]
    mine = _guard(bench, http)
    secret = SecretBasic(bench.secrets["rs-b"])
    theirs = _guard(bench, http, audience=OTHER_API, introspection=Introspection("rs-b", secret, cache_seconds=30))
    for guard, api in ((mine, API), (theirs, OTHER_API)):
        assert (await _reason(guard, token) is None) is (api in named)
    await _revoke(bench, token, "both")
    fresh = _guard(bench, http)
    assert await _reason(mine, token) is None
    assert await _reason(fresh, token) is Reason.TOKEN_REVOKED


async def test_the_answer_for_who_has_the_key_is_for_no_thief(bench: Bench, http: httpx2.AsyncClient) -> None:
    """R37: a bound token that is remembered is judged anew by its proof with each request."""
    made = await bench.send(post(_as(bench, "bound"), dpop(proof(htu=TOKEN_URL))))
    assert made.status == 200, made.body
    token = str(made.json()["access_token"])
    guard = _guard(bench, http)

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


async def test_scopes_are_judged_anew(bench: Bench, http: httpx2.AsyncClient) -> None:
    """R37: what passed one route is remembered, and still not let through another."""
    guard, token = _guard(bench, http), await _token(bench, scope="r")
    assert await _reason(guard, token, need=["r"]) is None
    assert await _reason(guard, token, need=["w"]) is Reason.SCOPE_INSUFFICIENT


async def test_without_an_answer_nobody_passes(
    bench: Bench, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is away, or the API may not ask: neither a yes nor a no, and nothing that lasts."""
    guard, token = _guard(bench, http, seconds=0), await _token(bench)

    async def fail(*_: Any) -> Any:
        raise StoreError("away")

    with monkeypatch.context() as patch:
        patch.setattr(bench.store.revocations, "find", fail)
        with pytest.raises(RemoteError):
            await _reason(guard, token)
    assert await _reason(guard, token) is None
    await bench.store.clients.update("rs-a", lambda client: replace(client, introspects=()))
    with pytest.raises(RemoteError, match="may 'rs-a' introspect"):
        await _reason(guard, token)


async def test_an_api_that_asks_for_another(bench: Bench, http: httpx2.AsyncClient) -> None:
    """It hears that the token is none: nobody passes, and nothing of the token is told."""
    asking = Introspection("rs-b", SecretBasic(bench.secrets["rs-b"]))
    guard, token = _guard(bench, http, introspection=asking), await _token(bench)
    assert await _reason(guard, token) is Reason.TOKEN_REVOKED
