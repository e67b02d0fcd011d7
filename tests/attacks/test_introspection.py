"""T11: what an introspection tells of a token, to whom; and what is over once a revocation was acknowledged."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.attacks.bench import API, FILE, OTHER_API, Bench, assertion, basic, post, row, running
from tests.wire import Reply, Request

from affiant.errors import Rejected, StoreError
from affiant.errors.reasons import Reason
from affiant.jose import base64url, compact
from affiant.oauth.revocations import of_key
from affiant.resource import Guard
from affiant.server.request.limits import Rate, Rates
from affiant.storage.entries import LONGEST_TOKEN, AuditRecord, Entry, RefreshSelection, Revocation
from affiant.storage.sqlite import SqliteStore
from affiant.testing import ISSUER

INACTIVE = {"active": False}


@pytest.fixture
async def apis(bench: Bench) -> Bench:
    """The bench, with the two APIs as clients of their own."""
    for name, api in (("rs-a", API), ("rs-b", OTHER_API)):
        await bench.add_client(name, "client_secret_basic", introspects=(api,))
    return bench


async def _ask(bench: Bench, token: str, by: str = "rs-a", *, accept: bytes = b"*/*") -> Reply:
    return await bench.send(
        post({"token": token}, basic(by, bench.secrets[by]), (b"accept", accept), path="/introspect")
    )


async def _is_active(bench: Bench, token: str, by: str = "rs-a") -> bool:
    members = (await _ask(bench, token, by)).json()
    assert members["active"] or members == INACTIVE
    return bool(members["active"])


async def _token(bench: Bench, client_id: str = "c1", **more: str) -> dict[str, Any]:
    return await bench.good(bench.signed(client_id, **more))


async def _revoke(bench: Bench, token: str, client_id: str = "c1") -> Reply:
    return await bench.send(bench.signed(client_id, path="/revoke", token=token))


async def _end(bench: Bench, kind: str, value: str = "", **selected: str) -> None:
    """As an operator does."""
    told = AuditRecord(at=bench.clock.now, trace_id="operator", endpoint="admin", outcome="revoked")
    now = int(bench.clock.now)
    ended = Revocation(kind, value, now, now + LONGEST_TOKEN)
    await bench.store.ledger.claim(Entry(told, revocations=(ended,), revoke_refresh=RefreshSelection(**selected)))


@pytest.mark.attack(229)
@pytest.mark.rfc(7662, "2.2")
async def test_token_for_two_apis(apis: Bench) -> None:
    token = (await _token(apis, "both", scope="r"))["access_token"]
    aud = compact.parse(token).claims["aud"]
    heard = [(await _ask(apis, token, by)).json() for by in ("rs-a", "rs-b")]
    assert [one["active"] for one in heard] == [name in aud for name in (API, OTHER_API)]
    assert [one.get("aud") for one in heard if one["active"]] == [one for one in (API, OTHER_API) if one in aud]


def _cut(token: str) -> list[str]:
    head, payload, signature = token.split(".")
    changed = base64url.encode(base64url.decode(payload).replace(b'"c1"', b'"c2"'))
    return [
        *(token[:length] for length in (0, 1, len(token) // 2, len(token) - 1)),
        f"{token}A",
        f"{token}.",
        f" {token}",
        f"{token}\n",
        f"{token}=",
        f"{token}\0",
        f"{head}.{payload}.",
        f"{head}.{changed}.{signature}",
        compact.parse(token).claims["jti"],
        "x" * 60_000,
        "\U0001f511" * 100,
    ]


@pytest.mark.attack(231)
async def test_cut_or_changed_token_is_inactive(apis: Bench) -> None:
    """A truncated one is no shorter way to the same token (CVE-2026-27840)."""
    token = (await _token(apis))["access_token"]
    for text in filter(None, _cut(token)):
        assert (await _ask(apis, text)).json() == INACTIVE, text[:80]
    assert (await _ask(apis, "")).status == 400
    assert await _is_active(apis, token)


@pytest.mark.attack(231)
async def test_other_kinds_of_token_are_inactive(apis: Bench) -> None:
    """A refresh token, an assertion, a proof, the feed of revocations and the server's own signed answer."""
    made = await _token(apis, "refreshing")
    feed = (await apis.send(Request(method="GET", path="/revocations", headers=()))).body.decode()
    signed = (await _ask(apis, made["access_token"], accept=b"application/token-introspection+jwt")).body.decode()
    for text in (made["refresh_token"], assertion(), feed, signed):
        assert (await _ask(apis, text)).json() == INACTIVE
        reply = await _revoke(apis, text, "refreshing")
        assert (reply.status, reply.json()) == (200, {})


@pytest.mark.parametrize("path", ["/introspect", "/revoke"])
async def test_repeated_token_parameter(apis: Bench, path: str) -> None:
    token = (await _token(apis))["access_token"]
    body = f"token={token}&token=x"
    reply = await apis.send(post(body, basic("rs-a", apis.secrets["rs-a"]), path=path))
    assert (reply.status, reply.json()["error_uri"].rpartition("/")[2]) == (400, Reason.DUPLICATE_PARAMETER.code)


@pytest.mark.attack(233)
@pytest.mark.rfc(7009, "2")
@pytest.mark.parametrize("path", ["/introspect", "/revoke"])
async def test_token_in_the_url_is_not_logged(apis: Bench, path: str) -> None:
    """It is refused, and ends nothing."""
    token = (await _token(apis))["access_token"]
    good = apis.signed(path=path, token=token)
    for request, status in (
        (Request(method="GET"), 405),
        (Request(method="HEAD"), 405),
        (Request(b"token=x"), 400),
        (good, 400),
    ):
        reply = await apis.send(replace(request, path=path, query=f"token={token}".encode()))
        assert reply.status == status
    assert token[:40] not in apis.log.text + "".join(await apis.audited())
    assert await _is_active(apis, token)


_ENDS = [
    row(237, "access token", "jti"),
    row(238, "family", "family"),
    row(239, "client", "client"),
    row(239, "key of a client", "key"),
    row(239, "key of anybody", "thumbprint"),
    row(239, "api", "api"),
    row(239, "all", "all"),
]


@pytest.mark.rfc(7009, "2")
@pytest.mark.rfc(7009, "2.1")
@pytest.mark.rfc(7662, "4")
@pytest.mark.parametrize("kind", _ENDS)
async def test_revoked_tokens_are_inactive_at_once(apis: Bench, kind: str) -> None:
    """And no refresh token that is meant brings another; but one that is issued later stands, where there may be one."""
    made = await _token(apis, "refreshing")
    token, claims = made["access_token"], compact.parse(made["access_token"]).claims
    assert await _guarded(apis, token) is None
    await _end_kind(apis, kind, made, claims)
    assert not await _is_active(apis, token)
    assert await _guarded(apis, token) is Reason.TOKEN_REVOKED
    if kind != "jti":
        again = apis.signed("refreshing", grant_type="refresh_token", refresh_token=made["refresh_token"])
        assert (await apis.send(again)).json()["error"] == "invalid_grant"
    apis.clock.now += 3
    assert not await _is_active(apis, token)
    later = (await _token(apis, "refreshing"))["access_token"]
    assert await _is_active(apis, later) is (kind not in ("key", "thumbprint"))


async def _end_kind(bench: Bench, kind: str, made: dict[str, Any], claims: dict[str, Any]) -> None:
    key = claims["client_key"]
    if kind in ("jti", "family"):
        assert (
            await _revoke(bench, made["access_token" if kind == "jti" else "refresh_token"], "refreshing")
        ).status == 200
    elif kind == "key":
        await _end(bench, "key", of_key("refreshing", key) or "", client_id="refreshing", key_thumbprint=key)
    elif kind == "thumbprint":
        await _end(bench, "key", key, key_thumbprint=key)
    elif kind == "client":
        await _end(bench, "client", "refreshing", client_id="refreshing")
    elif kind == "api":
        await _end(bench, "api", API, resource=API)
    else:
        await _end(bench, "all")


async def _guarded(bench: Bench, token: str) -> Reason | None:
    """By a guard that was just started; what a running one hears, and when, is tested elsewhere."""
    try:
        await Guard(ISSUER, audience=API, http=bench.http, clock=bench.clock).check([f"Bearer {token}".encode()])
    except Rejected as refusal:
        return refusal.reason
    return None


async def test_copied_key_revokes_no_owner(apis: Bench) -> None:
    """Who registers another's public key as its own, and revokes that."""
    token = (await _token(apis))["access_token"]
    await _end(apis, "key", of_key("evil", compact.parse(token).claims["client_key"]) or "", client_id="evil")
    assert await _is_active(apis, token)


@pytest.mark.attack(228)
async def test_caller_that_lost_introspects(apis: Bench) -> None:
    """A client that speaks for the API no more, or is disabled, hears nothing from the next request on."""
    token = (await _token(apis))["access_token"]
    await apis.change_client("rs-a", introspects=())
    assert (await _ask(apis, token)).status == 403
    await apis.change_client("rs-b", introspects=(API,), enabled=False)
    assert (await _ask(apis, token, "rs-b")).status == 401


async def test_token_for_api_that_is_gone(apis: Bench) -> None:
    token = (await _token(apis))["access_token"]
    await apis.store.apis.remove(API)
    assert (await _ask(apis, token)).json() == INACTIVE


@pytest.mark.rfc(7009, "2.2.1")
async def test_unavailable_store_gets_503(apis: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, never an answer from memory; and a revocation that was not written down is not acknowledged."""
    made = await _token(apis, "refreshing")
    token = made["access_token"]

    async def fail(*_: Any) -> Any:
        raise StoreError("away")

    with monkeypatch.context() as patch:
        patch.setattr(apis.store.ledger, "claim", fail)
        ends = [await _revoke(apis, made[kind], "refreshing") for kind in ("access_token", "refresh_token")]
        for reply in (await _ask(apis, token), *ends):
            assert (reply.status, reply.json()["error"]) == (503, "temporarily_unavailable")
            assert reply.headers["retry-after"] == "1"
    with monkeypatch.context() as patch:
        patch.setattr(apis.store.revocations, "find", fail)
        assert (await _ask(apis, token)).status == 503
    assert await _is_active(apis, token)
    again = await _token(apis, "refreshing", grant_type="refresh_token", refresh_token=made["refresh_token"])
    assert (await _revoke(apis, again["refresh_token"], "refreshing")).status == 200
    assert not await _is_active(apis, token)


@pytest.fixture
async def limited(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    """On a file, where a client may have five tokens and fail three times."""
    rates = Rates(failures=Rate(3, 0.001), tokens=Rate(5, 0.001))
    async with running(SqliteStore(tmp_path / FILE), caplog, monkeypatch, rates) as made:
        await made.add_client("rs-a", "client_secret_basic", introspects=(API,))
        yield made


@pytest.mark.attack(241)
async def test_introspections_are_not_limited(limited: Bench) -> None:
    """More often than any client may have tokens; each is written down, and costs less than the second has for it."""
    token, before = (await _token(limited))["access_token"], len(await limited.audited())
    begun, worked = time.perf_counter(), time.process_time()
    replies = [reply for _ in range(20) for reply in await asyncio.gather(*(_ask(limited, token) for _ in range(50)))]
    took, worked = time.perf_counter() - begun, time.process_time() - worked
    print(f"{1000 / took:.0f} introspections/s and {worked:.2f} ms of the processor for each, on a file")
    assert {reply.status for reply in replies} == {200}
    assert all(reply.json()["active"] for reply in replies)
    assert len(await limited.audited()) == before + 1000
    assert worked < 2.0  # ms: a thousand in a second, on the two cores that everything here has


@pytest.mark.attack(241)
async def test_introspections_do_not_block(limited: Bench) -> None:
    """A thousand ask of one token; in their midst it is used, revoked and asked for, and nobody hears what is over."""
    token = (await _token(limited))["access_token"]
    ended, heard = asyncio.Event(), list[tuple[bool, bool]]()

    async def ask() -> None:
        was_over = ended.is_set()
        heard.append((was_over, await _is_active(limited, token)))

    async def revoke() -> None:
        assert (await _revoke(limited, token)).status == 200
        ended.set()

    for number in range(20):
        doing = [ask() for _ in range(50)] + ([revoke()] if number == 10 else [])
        begun = time.perf_counter()
        await asyncio.gather(
            *doing, _token(limited, "both", scope="r", resource=API) if number < 3 else asyncio.sleep(0)
        )
        assert time.perf_counter() - begun < 2
    assert len(heard) == 1000
    assert {is_active for was_over, is_active in heard if was_over} == {False}
    assert all(is_active for _, is_active in heard[:500])


@pytest.mark.attack(241)
async def test_failed_introspections_are_limited(limited: Bench) -> None:
    """What is not limited is asking; guessing the secret of who asks is, and so is asking for nobody."""
    token = (await _token(limited))["access_token"]
    wrong = post({"token": token}, basic("rs-a", "x" * 43), path="/introspect")
    assert [(await limited.send(wrong)).status for _ in range(5)] == [401] * 3 + [429] * 2
    statuses = []
    for _ in range(7):
        what = limited.signed("both", path="/introspect", token=token)
        statuses.append((await limited.send(what)).status)
    assert statuses == [403] * 5 + [429] * 2
    assert await _is_active(limited, token)
