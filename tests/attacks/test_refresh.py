"""Refresh tokens (RFC 6749 section 6, RFC 9700 section 4.14), in memory and on a file."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.attacks.bench import (
    API,
    BOTH_GRANTS,
    BOUND,
    FILE,
    OTHER,
    OTHER_API,
    STRANGER,
    Bench,
    dpop,
    piece_of,
    post,
    proof,
    running,
)
from tests.wire import Header, Request

from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.server.registry.credentials import keys as client_keys
from affiant.server.token.issue import REFRESH_ABSOLUTE, REFRESH_IDLE
from affiant.storage.entries import KEPT_SECONDS
from affiant.storage.memory import MemoryStore
from affiant.storage.sqlite import SqliteStore

OWNER, LATE = "refreshing", 121  # seconds after which a retry is a reuse


@pytest.fixture(params=["memory", "sqlite"])
async def bench(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Bench]:
    """With two more clients that may refresh: `other`, and `two` for two APIs."""
    store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / FILE)
    async with running(store, caplog, monkeypatch) as made:
        await made.add_client("other", key=OTHER, grant_types=BOTH_GRANTS)
        await made.add_client("two", grant_types=BOTH_GRANTS, resources=(API, OTHER_API))
        yield made


def using(bench: Bench, token: str, *headers: Header, by: str = OWNER, **more: str) -> Request:
    return bench.signed(by, *headers, grant_type="refresh_token", refresh_token=token, **more)


def revoking(bench: Bench, token: str) -> Request:
    return bench.signed(OWNER, path="/revoke", token=token)


async def first(bench: Bench, by: str = OWNER, **more: str) -> str:
    """Return a refresh token that was never used."""
    return str((await bench.good(bench.signed(by, **more)))["refresh_token"])


async def use(bench: Bench, token: str, *headers: Header, **more: str) -> dict[str, Any]:
    return await bench.good(using(bench, token, *headers, **more))


async def refused(bench: Bench, token: str, reason: Reason, **more: str) -> dict[str, Any]:
    reply, _ = await bench.denied(using(bench, token, **more), reason)
    return {**reply.json(), "trace_id": "", "status": reply.status}


def claims(members: dict[str, Any]) -> dict[str, Any]:
    return compact.parse(members["access_token"]).claims


@pytest.mark.attack(164)
@pytest.mark.rfc(6749, "6")
@pytest.mark.rfc(9700, "4.14.2")
async def test_each_use_rotates(bench: Bench) -> None:
    """The old token is marked; neither is in the log or, as it is, in the store."""
    old = await first(bench)
    answer = await use(bench, old)
    new = answer["refresh_token"]
    assert set(answer) == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
    assert len({old, new, (await use(bench, new))["refresh_token"]}) == 3
    rows = {row.digest: row for row in await bench.store.refresh_tokens.list()}
    spent, successor = rows[bench.master_key.digest(old)], rows[bench.master_key.digest(new)]
    assert (spent.spent_at, spent.successor, spent.family) == (bench.clock.now, successor.digest, successor.family)
    assert piece_of("".join(await bench.audited()) + bench.log.text, [old, new]) is None
    assert old.encode() not in b"".join(row.digest for row in rows.values())


@pytest.mark.attack(165)
@pytest.mark.rfc(6749, "6")
async def test_token_of_another_client(bench: Bench) -> None:
    """It is as unknown as no token, and stays good for its own client."""
    token = await first(bench)
    stolen = await refused(bench, token, Reason.REFRESH_UNKNOWN, by="other")
    assert stolen == await refused(bench, "x" * 43, Reason.REFRESH_UNKNOWN, by="other")
    await use(bench, token)


@pytest.mark.attack(166)
@pytest.mark.rfc(6749, "6")
@pytest.mark.parametrize("client_id", [OWNER, "nobody", "absent"])
async def test_no_client_authentication(bench: Bench, client_id: str) -> None:
    token = await first(bench)
    members = {"grant_type": "refresh_token", "refresh_token": token, "client_id": client_id}
    await bench.denied(post({name: text for name, text in members.items() if text != "absent"}), Reason.NO_CREDENTIALS)
    own, bench.signers[OWNER] = bench.signers[OWNER], STRANGER
    await refused(bench, token, Reason.KEY_UNKNOWN)
    bench.signers[OWNER] = own
    await use(bench, token)


@pytest.mark.attack(167)
@pytest.mark.rfc(6749, "5.2")
@pytest.mark.parametrize("place", ["query", "twice", "empty", "none", "access token", "with secret"])
async def test_token_in_wrong_place(bench: Bench, place: str) -> None:
    members = await bench.good(bench.signed(OWNER))
    token = members["refresh_token"]
    good = using(bench, token)
    what, reason = {
        "query": (replace(good, query=f"refresh_token={token}".encode()), Reason.IN_QUERY),
        "twice": (replace(good, body=good.body + b"&refresh_token=x"), Reason.DUPLICATE_PARAMETER),
        "empty": (using(bench, ""), Reason.MISSING_PARAMETER),
        "none": (bench.signed(OWNER, grant_type="refresh_token"), Reason.MISSING_PARAMETER),
        "access token": (using(bench, members["access_token"]), Reason.REFRESH_UNKNOWN),
        "with secret": (using(bench, token, client_secret="x"), Reason.ASSERTION_AND_OTHER),
    }[place]
    await bench.denied(what, reason)
    await use(bench, token)


@pytest.mark.attack(167)
async def test_another_grant_spends_no_token(bench: Bench) -> None:
    token = await first(bench)
    assert (await bench.good(bench.signed(OWNER, refresh_token=token)))["refresh_token"] != token
    await use(bench, token)


@pytest.mark.attack(167)
@pytest.mark.rfc(6749, "5.2")
async def test_token_cut_or_respelt(bench: Bench) -> None:
    """Only the whole of it (CVE-2026-27840); guessing spends nothing."""
    token = await first(bench)
    other = "A" if token[-1] != "A" else "B"
    texts = [token[:20], token[:-1], token[1:], f"{token}A", f"{token}=", f" {token}", f"{token} ", f"{token}\n"]
    texts += [token[:-1] + other, token.swapcase(), f"{token}.{token}", "\0", "x" * 40_000, "\U0001f511"]
    texts += [bench.master_key.digest(token).hex(), "x", "\u20ac", "a b", "' OR 1=1 --"]
    for text in texts:
        await refused(bench, text, Reason.REFRESH_UNKNOWN)
    await use(bench, token)


@pytest.mark.attack(168)
async def test_two_uses_that_differ(bench: Bench) -> None:
    """A retry within the window gets the same successor, and never more than the first use left it."""
    await bench.change_client(OWNER, scope=("r", "w"))
    token = await first(bench)
    both = await asyncio.gather(use(bench, token, scope="r"), use(bench, token, scope="r w"))
    assert len({members["refresh_token"] for members in both}) == 1
    assert [claims(members)["scope"] for members in both] == ["r", "r w"]
    (live,) = [row for row in await bench.store.refresh_tokens.list(OWNER) if row.spent_at is None]
    assert live.scope == ("r", "w")  # RFC 6749 section 6: what is asked for less once may be asked for again


@pytest.mark.attack(168)
async def test_one_request_many_times(bench: Bench) -> None:
    what = using(bench, await first(bench))
    replies = await asyncio.gather(*(bench.send(what) for _ in range(20)))
    assert sorted(reply.status for reply in replies) == [200, *[401] * 19]
    assert len(await bench.store.refresh_tokens.list(OWNER)) == 2


@pytest.mark.attack(168)
async def test_fifty_uses_at_once(bench: Bench) -> None:
    """There is one successor, which every answer has."""
    token = await first(bench)
    replies = await asyncio.gather(*[bench.send(using(bench, token)) for _ in range(50)])
    assert {reply.status for reply in replies} <= {200, 400}
    (successor,) = {reply.json()["refresh_token"] for reply in replies if reply.status == 200}
    spent = [row.spent_at is None for row in await bench.store.refresh_tokens.list(OWNER)]
    assert sorted(spent) == [False, True]
    await use(bench, successor)


@pytest.mark.attack(169)
async def test_use_and_revocation_at_once(bench: Bench) -> None:
    """Whichever comes first: afterwards no token of the family is good."""
    for _ in range(10):
        token = await first(bench)
        used, revoked = await asyncio.gather(bench.send(using(bench, token)), bench.send(revoking(bench, token)))
        assert revoked.status == 200
        for heir in [token, *([used.json()["refresh_token"]] if used.status == 200 else [])]:
            await refused(bench, heir, Reason.REFRESH_REVOKED)


@pytest.mark.attack(170)
@pytest.mark.rfc(9700, "4.14.2")
@pytest.mark.parametrize("seconds", [0, 39, 120])
async def test_lost_reply(bench: Bench, seconds: int) -> None:
    token = await first(bench)
    successor = (await use(bench, token))["refresh_token"]
    bench.clock.advance(seconds)
    assert (await use(bench, token))["refresh_token"] == successor
    assert len(await bench.store.refresh_tokens.list(OWNER)) == 2


@pytest.mark.attack(170)
async def test_lost_reply_is_for_its_client(bench: Bench) -> None:
    """Not for another client, a disabled one, or after a revocation."""
    token = await first(bench)
    await use(bench, token)
    await refused(bench, token, Reason.REFRESH_UNKNOWN, by="other")
    await bench.change_client(OWNER, enabled=False)
    await refused(bench, token, Reason.CLIENT_DISABLED)
    await bench.change_client(OWNER, enabled=True)
    await bench.good(revoking(bench, token))
    await refused(bench, token, Reason.REFRESH_REVOKED)


@pytest.mark.attack(170)
@pytest.mark.rfc(9700, "4.14.2")
async def test_used_successor_ends_retries(bench: Bench) -> None:
    """Its client had the answer, so another holds the token before it: the family ends."""
    token = await first(bench)
    second = (await use(bench, token))["refresh_token"]
    third = (await use(bench, second))["refresh_token"]
    assert (await use(bench, second))["refresh_token"] == third
    await refused(bench, token, Reason.REFRESH_REUSED)
    await refused(bench, third, Reason.REFRESH_REVOKED)


@pytest.mark.attack(171)
@pytest.mark.rfc(9700, "4.14.2")
async def test_late_reuse_ends_family(bench: Bench) -> None:
    """The successor and the access tokens end too; other families, and the client, do not."""
    token, other = await first(bench), await first(bench)
    members = await use(bench, token)
    bench.clock.advance(LATE)
    await refused(bench, token, Reason.REFRESH_REUSED)
    for ended in (members["refresh_token"], token):
        await refused(bench, ended, Reason.REFRESH_REVOKED)
    assert await bench.store.revocations.find([("family", claims(members)["jti"].partition(".")[0])])
    await use(bench, other)
    await first(bench)


@pytest.mark.attack(172)
async def test_late_reuse_by_many(bench: Bench) -> None:
    token = await first(bench)
    await use(bench, token)
    bench.clock.advance(LATE)
    replies = await asyncio.gather(*[bench.send(using(bench, token)) for _ in range(20)])
    assert {reply.status for reply in replies} == {400}
    reasons = {reply.json()["error_uri"].rpartition("/")[2] for reply in replies}
    assert Reason.REFRESH_REUSED.code in reasons <= {Reason.REFRESH_REUSED.code, Reason.REFRESH_REVOKED.code}


@pytest.mark.attack(173)
@pytest.mark.rfc(6749, "6")
@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"scope": "r w"}, Reason.SCOPE_NOT_ALLOWED),
        ({"scope": "r  r"}, Reason.SCOPE_MALFORMED),
        ({"resource": OTHER_API}, Reason.RESOURCE_NOT_ALLOWED),
        ({"resource": "x"}, Reason.RESOURCE_MALFORMED),
    ],
)
async def test_more_than_granted(bench: Bench, more: dict[str, str], reason: Reason) -> None:
    """Refused although the client may have it otherwise; the old token is not spent."""
    await bench.change_client(OWNER, scope=("r", "w"))
    token = await first(bench, scope="r")
    await refused(bench, token, reason, **more)
    assert (await use(bench, token))["scope"] == "r"


@pytest.mark.rfc(6749, "6")
async def test_narrower_scope_leaves_successor_whole(bench: Bench) -> None:
    """The scope of a new refresh token MUST be that of the one that was used."""
    await bench.change_client(OWNER, scope=("r", "w"))
    members = await use(bench, await first(bench), scope="r")
    assert members["scope"] == "r"
    assert (await use(bench, members["refresh_token"]))["scope"] == "r w"


@pytest.mark.rfc(6749, "3.3")
@pytest.mark.rfc(6749, "6")
async def test_no_scope_stays_no_scope(bench: Bench) -> None:
    """Scope has at least one name, so an empty one is left out: of the answers, and of the token."""
    await bench.change_client(OWNER, scope=())
    issued = await bench.good(bench.signed(OWNER))
    refreshed = await use(bench, issued["refresh_token"])
    assert "scope" not in {**issued, **refreshed, **claims(refreshed)}


@pytest.mark.rfc(8707, "2.2")
async def test_resource_within_grant(bench: Bench) -> None:
    token = await first(bench, "two", scope="r", resource=API)
    await refused(bench, token, Reason.RESOURCE_NOT_ALLOWED, by="two", resource=OTHER_API)
    assert claims(await use(bench, token, by="two", resource=API))["aud"] == API


@pytest.mark.rfc(8707, "2.2")
async def test_one_of_granted_resources(bench: Bench) -> None:
    """The successor is for both again."""
    asked = bench.signed("two", scope="r", resource=API)
    both = replace(asked, body=asked.body + f"&resource={OTHER_API}".encode())
    one = await use(bench, (await bench.good(both))["refresh_token"], by="two", resource=API)
    assert claims(one)["aud"] == API
    assert claims(await use(bench, one["refresh_token"], by="two"))["aud"] == [API, OTHER_API]


LOSSES = {
    "enabled": (False, Reason.CLIENT_DISABLED),
    "keys": (client_keys.put((), [OTHER.public()], now=0), Reason.KEY_UNKNOWN),
    "grant_types": (("client_credentials",), Reason.GRANT_NOT_ALLOWED),
    "resources": ((OTHER_API,), Reason.RESOURCE_NOT_ALLOWED),
}


@pytest.mark.attack(174)
@pytest.mark.attack(175)
@pytest.mark.rfc(6749, "10.4")
@pytest.mark.parametrize("lost", LOSSES)
async def test_client_that_lost_right(bench: Bench, lost: str) -> None:
    """The refresh token is the client's, not its key's: with its new key it goes on."""
    token = await first(bench)
    value, reason = LOSSES[lost]
    await bench.change_client(OWNER, **{lost: value})
    await refused(bench, token, reason)
    if lost == "keys":
        bench.signers[OWNER] = OTHER
        await use(bench, token)


@pytest.mark.attack(174)
async def test_client_that_lost_scope(bench: Bench) -> None:
    await bench.change_client(OWNER, scope=("r", "w"))
    token = await first(bench)
    await bench.change_client(OWNER, scope=("r",))
    members = await use(bench, token)
    assert members["scope"] == claims(members)["scope"] == "r"
    await refused(bench, members["refresh_token"], Reason.SCOPE_NOT_ALLOWED, scope="w")


@pytest.mark.rfc(6749, "10.4")
async def test_removed_client(bench: Bench) -> None:
    """A later client of the same name does not inherit its tokens."""
    token = await first(bench)
    await bench.store.clients.remove(OWNER)
    await bench.add_client(OWNER, grant_types=BOTH_GRANTS)
    reply = await bench.send(using(bench, token))
    assert (reply.status, reply.json()["error"]) == (400, "invalid_grant")


@pytest.mark.attack(176)
@pytest.mark.rfc(9449, "5")
async def test_binding_follows_proof(bench: Bench) -> None:
    """A client that authenticates may refresh with another DPoP key (RFC 9449 section 5); a wrong proof spends nothing."""
    members = await bench.good(bench.signed(OWNER, dpop(proof(jti="a"))))
    token = members["refresh_token"]
    await bench.denied(using(bench, token, dpop(proof(htm="GET"))), Reason.DPOP_METHOD)
    again = await use(bench, token, dpop(proof(STRANGER, jti="b")))
    bound = [claims(each)["cnf"]["jkt"] for each in (members, again)]
    assert bound == [BOUND.public().thumbprint, STRANGER.public().thumbprint]
    assert again["token_type"] == "DPoP"
    last = await use(bench, again["refresh_token"])
    assert (last["token_type"], "cnf" in claims(last)) == ("Bearer", False)


@pytest.mark.attack(177)
@pytest.mark.rfc(9700, "4.14.2")
async def test_life_of_family(bench: Bench) -> None:
    """It ends however much it is used, and sooner if it is not used; so does the window for a lost answer."""
    start, token = bench.clock.now, await first(bench)
    while bench.clock.now + REFRESH_IDLE - 1 < start + REFRESH_ABSOLUTE:
        bench.clock.advance(REFRESH_IDLE - 1)
        token = (await use(bench, token))["refresh_token"]
    bench.clock.now = start + REFRESH_ABSOLUTE - 1
    spent, token = token, (await use(bench, token))["refresh_token"]
    assert (await use(bench, spent))["refresh_token"] == token
    bench.clock.now = start + REFRESH_ABSOLUTE
    for last in (token, spent):
        await refused(bench, last, Reason.REFRESH_EXPIRED)
    idle = await first(bench)
    bench.clock.advance(REFRESH_IDLE)
    await refused(bench, idle, Reason.REFRESH_EXPIRED)


@pytest.mark.attack(177)
async def test_deleted_is_refused_like_expired(bench: Bench) -> None:
    """Both are invalid_grant (RFC 6749 section 5.2), whatever became of the row."""
    token = await first(bench)
    bench.clock.advance(REFRESH_ABSOLUTE)
    expired = await refused(bench, token, Reason.REFRESH_EXPIRED)
    await bench.store.ledger.purge(int(bench.clock) + KEPT_SECONDS + 1)
    assert await bench.store.refresh_tokens.list() == []
    bench.clock.advance(KEPT_SECONDS + 2)
    gone = await refused(bench, token, Reason.REFRESH_UNKNOWN)
    assert (gone["status"], gone["error"]) == (expired["status"], expired["error"]) == (400, "invalid_grant")
