"""T7: refresh tokens, on a file; the races run many requests at once through the whole server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.attacks.bench import (
    KEY,
    OTHER,
    OTHER_API,
    STRANGER,
    Bench,
    Reply,
    Request,
    assertion,
    check_answer,
    form,
    piece_of,
    post,
)
from tests.attacks.conftest import BOTH_GRANTS, running
from tests.attacks.proofs import BOUND, dpop, proof

from affiant.jose import compact, keys
from affiant.jose.signer import Signer
from affiant.reasons import Reason
from affiant.server.token.issue import REFRESH_ABSOLUTE, REFRESH_IDLE
from affiant.storage.entries import KEPT_SECONDS
from affiant.storage.memory import MemoryStore
from affiant.storage.sqlite import SqliteStore

pytestmark = pytest.mark.anyio
OWNER = "refreshing"


@pytest.fixture(params=["memory", "sqlite"])
async def bench(
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> AsyncIterator[Bench]:
    """On memory and on a file, with a second client that may refresh."""
    store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "affiant.db")
    async with running(store, caplog, monkeypatch) as made:
        await made.register("other", keys=(OTHER.public(),), grant_types=BOTH_GRANTS)
        yield made


def _assertion(bench: Bench, name: str = OWNER, signer: Signer = KEY) -> str:
    bench.serial += 1
    now = int(bench.now[0])
    return assertion(signer, iss=name, sub=name, jti=f"t7-{bench.serial}", iat=now, exp=now + 60)


def _refresh(bench: Bench, token: str, *headers: tuple[bytes, bytes], by: str | None = None, **more: str) -> Request:
    text = by or _assertion(bench)
    return post(form(text, grant_type="refresh_token", refresh_token=token, **more), *headers)


async def _first(bench: Bench, **more: str) -> str:
    reply = await bench.send(post(form(_assertion(bench), **more)))
    assert reply.status == 200, reply.body
    return str(reply.json()["refresh_token"])


async def _last(bench: Bench) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((await bench.audited())[-1])
    return record


async def _refused(bench: Bench, what: Request, reason: Reason) -> Reply:
    """The answer, and a record that has no piece of what was sent."""
    reply = await bench.send(what)
    check_answer(reply, reason, what)
    record = await _last(bench)
    assert (record["reason"], record["outcome"]) == (reason.code, "refused")
    assert piece_of(json.dumps(record), what.sensitive()) is None
    return reply


async def _good(bench: Bench, what: Request) -> dict[str, Any]:
    reply = await bench.send(what)
    assert reply.status == 200, reply.body
    members: dict[str, Any] = reply.json()
    return members


@pytest.mark.attack(164)
async def test_one_use(bench: Bench) -> None:
    """A new token, and the old one is marked; neither stands in the log or, as it is, in the store."""
    old = await _first(bench)
    new = (await _good(bench, _refresh(bench, old)))["refresh_token"]
    assert new != old
    rows = {row.digest: row for row in await bench.store.refresh_tokens.list()}
    spent, successor = rows[bench.master_key.digest(old)], rows[bench.master_key.digest(new)]
    assert (spent.spent_at, spent.successor) == (bench.now[0], successor.digest)
    assert (successor.spent_at, successor.family) == (None, spent.family)
    assert piece_of("".join(await bench.audited()) + bench.log.text, [old, new]) is None
    assert old.encode() not in b"".join(row.digest for row in rows.values())


@pytest.mark.attack(165)
async def test_another_client_s_token(bench: Bench) -> None:
    """As unknown as none, whoever asks; and it stays good."""
    token = await _first(bench)
    by = _assertion(bench, "other", OTHER)
    reply = await _refused(bench, _refresh(bench, token, by=by), Reason.REFRESH_UNKNOWN)
    none = await _refused(
        bench, _refresh(bench, "x" * 43, by=_assertion(bench, "other", OTHER)), Reason.REFRESH_UNKNOWN
    )
    assert {**reply.json(), "trace_id": ""} == {**none.json(), "trace_id": ""}
    await _good(bench, _refresh(bench, token))


@pytest.mark.attack(166)
@pytest.mark.parametrize(
    ("client_id", "reason"),
    [(OWNER, Reason.NO_CREDENTIALS), ("nobody", Reason.NO_CREDENTIALS), (None, Reason.NO_CREDENTIALS)],
)
async def test_without_client_authentication(bench: Bench, client_id: str | None, reason: Reason) -> None:
    token = await _first(bench)
    members = {"grant_type": "refresh_token", "refresh_token": token}
    await _refused(bench, post({**members, **({"client_id": client_id} if client_id else {})}), reason)
    await _refused(bench, _refresh(bench, token, by=_assertion(bench, OWNER, STRANGER)), Reason.KEY_UNKNOWN)
    await _good(bench, _refresh(bench, token))


@pytest.mark.attack(167)
@pytest.mark.parametrize("place", ["query", "client_credentials", "twice", "empty", "access token", "with secret"])
async def test_token_in_the_wrong_place(bench: Bench, place: str) -> None:
    """Each is refused, and the token stays good."""
    members = await _good(bench, post(form(_assertion(bench))))
    token = members["refresh_token"]
    good = _refresh(bench, token)
    if place == "query":
        what, reason = replace(good, query=f"refresh_token={token}".encode()), Reason.IN_QUERY
    elif place == "twice":
        what, reason = replace(good, body=good.body + b"&refresh_token=x"), Reason.DUPLICATE_PARAMETER
    elif place == "empty":
        what, reason = _refresh(bench, ""), Reason.MISSING_PARAMETER
    elif place == "access token":
        what, reason = _refresh(bench, members["access_token"]), Reason.REFRESH_UNKNOWN
    elif place == "with secret":
        what, reason = _refresh(bench, token, client_secret="x"), Reason.ASSERTION_AND_OTHER
    else:
        extra = await _good(bench, post(form(_assertion(bench), refresh_token=token)))
        assert extra["refresh_token"] != token  # not a refresh: the parameter is not this grant's, and spends nothing
        await _good(bench, good)
        return
    await _refused(bench, what, reason)
    await _good(bench, _refresh(bench, token))


@pytest.mark.attack(167)
async def test_token_that_is_cut_or_spelt_otherwise_is_none(bench: Bench) -> None:
    """Only the whole of it (CVE-2026-27840); guessing spends nothing."""
    token = await _first(bench)
    other = "A" if token[-1] != "A" else "B"
    texts = [token[:20], token[:-1], token[1:], f"{token}A", f"{token}=", f" {token}", f"{token} ", f"{token}\n"]
    texts += [token[:-1] + other, token.swapcase(), f"{token}.{token}", "\0", "x" * 40_000, "\U0001f511"]
    texts.append(bench.master_key.digest(token).hex())
    for text in texts:
        await _refused(bench, _refresh(bench, text), Reason.REFRESH_UNKNOWN)
    await _good(bench, _refresh(bench, token))


@pytest.mark.attack(168)
async def test_two_uses_that_ask_for_different_things(bench: Bench) -> None:
    """A repetition within the window gets the same successor, and never more than the first use left it."""
    await bench.store.clients.update(OWNER, lambda client: replace(client, scope=("r", "w")))
    token = await _first(bench)
    narrow, wide = await asyncio.gather(
        bench.send(_refresh(bench, token, scope="r")), bench.send(_refresh(bench, token, scope="r w"))
    )
    successors = {reply.json()["refresh_token"] for reply in (narrow, wide)}
    assert len(successors) == 1
    assert [compact.parse(reply.json()["access_token"]).claims["scope"] for reply in (narrow, wide)] == ["r", "r w"]
    (live,) = [row for row in await bench.store.refresh_tokens.list(OWNER) if row.spent_at is None]
    assert live.scope == ("r", "w")  # RFC 6749 section 6: what is asked for less once may be asked for again


@pytest.mark.attack(168)
async def test_many_with_one_assertion_and_one_token(bench: Bench) -> None:
    """The very same request again and again: one answer, and the token is spent once."""
    what = _refresh(bench, await _first(bench))
    replies = await asyncio.gather(*(bench.send(what) for _ in range(20)))
    assert sorted(reply.status for reply in replies) == [200, *[401] * 19]
    assert len(await bench.store.refresh_tokens.list(OWNER)) == 2


@pytest.mark.attack(168)
async def test_fifty_at_once(bench: Bench) -> None:
    """One new generation: everybody who gets an answer gets the same successor."""
    token = await _first(bench)
    replies = await asyncio.gather(*[bench.send(_refresh(bench, token)) for _ in range(50)])
    assert {reply.status for reply in replies} <= {200, 400}
    successors = {reply.json()["refresh_token"] for reply in replies if reply.status == 200}
    assert len(successors) == 1
    family = await bench.store.refresh_tokens.list(OWNER)
    assert len(family) == 2
    assert sum(row.spent_at is None for row in family) == 1
    await _good(bench, _refresh(bench, successors.pop()))


@pytest.mark.attack(169)
async def test_use_and_revocation_at_once(bench: Bench) -> None:
    """Whichever comes first: afterwards no token of the family is good."""
    for _ in range(10):
        token = await _first(bench)
        revoke = replace(post(form(_assertion(bench), token=token)), path="/revoke")
        used, revoked = await asyncio.gather(bench.send(_refresh(bench, token)), bench.send(revoke))
        assert revoked.status == 200
        heirs = [token] + ([used.json()["refresh_token"]] if used.status == 200 else [])
        for heir in heirs:
            await _refused(bench, _refresh(bench, heir), Reason.REFRESH_REVOKED)


@pytest.mark.attack(170)
@pytest.mark.parametrize("seconds", [0, 39, 120])
async def test_lost_reply(bench: Bench, seconds: int) -> None:
    """The identical successor, and no second one."""
    token = await _first(bench)
    successor = (await _good(bench, _refresh(bench, token)))["refresh_token"]
    bench.now[0] += seconds
    assert (await _good(bench, _refresh(bench, token)))["refresh_token"] == successor
    assert len(await bench.store.refresh_tokens.list(OWNER)) == 2


@pytest.mark.attack(170)
async def test_lost_reply_is_for_who_is_its_client(bench: Bench) -> None:
    """Within the window too: nobody else gets the successor, a revoked family gives none, and neither does a clock."""
    token = await _first(bench)
    await _good(bench, _refresh(bench, token))
    by = _assertion(bench, "other", OTHER)
    await _refused(bench, _refresh(bench, token, by=by), Reason.REFRESH_UNKNOWN)
    await bench.store.clients.update(OWNER, lambda client: replace(client, enabled=False))
    await _refused(bench, _refresh(bench, token), Reason.CLIENT_DISABLED)
    await bench.store.clients.update(OWNER, lambda client: replace(client, enabled=True))
    revoke = replace(post(form(_assertion(bench), token=token)), path="/revoke")
    assert (await bench.send(revoke)).status == 200
    await _refused(bench, _refresh(bench, token), Reason.REFRESH_REVOKED)


@pytest.mark.attack(170)
@pytest.mark.rfc(9700, "4.14.2")
async def test_no_reply_was_lost_once_the_successor_was_used(bench: Bench) -> None:
    """Its holder had the answer. The token before it is in a second hand: the family ends, the window or not."""
    token = await _first(bench)
    second = (await _good(bench, _refresh(bench, token)))["refresh_token"]
    third = (await _good(bench, _refresh(bench, second)))["refresh_token"]
    assert (await _good(bench, _refresh(bench, second)))["refresh_token"] == third
    await _refused(bench, _refresh(bench, token), Reason.REFRESH_REUSED)
    await _refused(bench, _refresh(bench, third), Reason.REFRESH_REVOKED)


@pytest.mark.attack(171)
async def test_used_again_too_late(bench: Bench) -> None:
    """The whole family ends: the successor too, and the access tokens that came with it (see introspection)."""
    token = await _first(bench)
    members = await _good(bench, _refresh(bench, token))
    bench.now[0] += 121
    await _refused(bench, _refresh(bench, token), Reason.REFRESH_REUSED)
    await _refused(bench, _refresh(bench, members["refresh_token"]), Reason.REFRESH_REVOKED)
    await _refused(bench, _refresh(bench, token), Reason.REFRESH_REVOKED)
    family = compact.parse(members["access_token"]).claims["jti"].partition(".")[0]
    assert await bench.store.revocations.find([("family", family)])
    await _first(bench)  # the client is not locked out


@pytest.mark.attack(172)
async def test_used_again_by_many_too_late(bench: Bench) -> None:
    """Among a crowd of late ones nobody gets a token, and the family ends once."""
    token = await _first(bench)
    await _good(bench, _refresh(bench, token))
    bench.now[0] += 121
    replies = await asyncio.gather(*[bench.send(_refresh(bench, token)) for _ in range(20)])
    assert {reply.status for reply in replies} == {400}
    reasons = [reply.json()["error_uri"].rpartition("/")[2] for reply in replies]
    assert set(reasons) <= {Reason.REFRESH_REUSED.code, Reason.REFRESH_REVOKED.code}
    assert Reason.REFRESH_REUSED.code in reasons


@pytest.mark.attack(173)
@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"scope": "r w"}, Reason.SCOPE_NOT_ALLOWED),
        ({"scope": "r  r"}, Reason.SCOPE_MALFORMED),
        ({"resource": OTHER_API}, Reason.RESOURCE_NOT_ALLOWED),
        ({"resource": "x"}, Reason.RESOURCE_MALFORMED),
    ],
)
async def test_more_than_was_granted(bench: Bench, more: dict[str, str], reason: Reason) -> None:
    """Refused although the client may have it otherwise; the old token is not used up."""
    await bench.store.clients.update(OWNER, lambda client: replace(client, scope=("r", "w")))
    token = await _first(bench, scope="r")
    await _refused(bench, _refresh(bench, token, **more), reason)
    assert (await _good(bench, _refresh(bench, token)))["scope"] == "r"


@pytest.mark.attack(174)
async def test_client_is_disabled(bench: Bench) -> None:
    token = await _first(bench)
    await bench.store.clients.update(OWNER, lambda client: replace(client, enabled=False))
    await _refused(bench, _refresh(bench, token), Reason.CLIENT_DISABLED)


@pytest.mark.attack(174)
async def test_client_has_a_new_key(bench: Bench) -> None:
    """The refresh token is the client's, not its key's; with the old key alone nobody refreshes any more."""
    token = await _first(bench)
    await bench.store.clients.update(OWNER, lambda client: _with_key(client, OTHER))
    await _refused(bench, _refresh(bench, token), Reason.KEY_UNKNOWN)
    await _good(bench, _refresh(bench, token, by=_assertion(bench, OWNER, OTHER)))


def _with_key(client: Any, key: keys.PrivateKey) -> Any:
    from affiant.server.credentials import keys as client_keys

    return replace(client, keys=client_keys.put((), [key.public()], now=0))


@pytest.mark.attack(174)
async def test_scope_is_taken_away(bench: Bench) -> None:
    """What a client may no longer have, it does not get by an older token."""
    await bench.store.clients.update(OWNER, lambda client: replace(client, scope=("r", "w")))
    token = await _first(bench)
    await bench.store.clients.update(OWNER, lambda client: replace(client, scope=("r",)))
    members = await _good(bench, _refresh(bench, token))
    assert members["scope"] == "r"
    assert compact.parse(members["access_token"]).claims["scope"] == "r"
    await _refused(bench, _refresh(bench, members["refresh_token"], scope="w"), Reason.SCOPE_NOT_ALLOWED)


@pytest.mark.attack(174)
async def test_grant_is_taken_away(bench: Bench) -> None:
    token = await _first(bench)
    only = ("client_credentials",)
    await bench.store.clients.update(OWNER, lambda client: replace(client, grant_types=only))
    await _refused(bench, _refresh(bench, token), Reason.GRANT_NOT_ALLOWED)


@pytest.mark.attack(175)
async def test_api_is_taken_away(bench: Bench) -> None:
    """A token for an API that the client may no longer call is not made anew."""
    token = await _first(bench)
    await bench.store.clients.update(OWNER, lambda client: replace(client, resources=(OTHER_API,)))
    await _refused(bench, _refresh(bench, token), Reason.RESOURCE_NOT_ALLOWED)


@pytest.mark.attack(176)
async def test_bound_to_whichever_key_is_proved_now(bench: Bench) -> None:
    """The row is about public clients. Ours authenticate, so a refresh token is theirs and no key's.

    The new access token is bound to the key of this request's proof (RFC 9449 section 5); a wrong proof spends nothing.
    """
    first = await _good(bench, post(form(_assertion(bench)), dpop(proof(jti="a"))))
    token = first["refresh_token"]
    await _refused(bench, _refresh(bench, token, dpop(proof(htm="GET"))), Reason.DPOP_METHOD)
    members = await _good(bench, _refresh(bench, token, dpop(proof(STRANGER, jti="b"))))
    bound = [compact.parse(each["access_token"]).claims["cnf"]["jkt"] for each in (first, members)]
    assert bound == [BOUND.public().thumbprint, STRANGER.public().thumbprint]
    assert members["token_type"] == "DPoP"


@pytest.mark.attack(177)
async def test_life_of_a_family(bench: Bench) -> None:
    """However much it is used, it ends; and unused it ends before."""
    start, token = bench.now[0], await _first(bench)
    while bench.now[0] + REFRESH_IDLE - 1 < start + REFRESH_ABSOLUTE:
        bench.now[0] += REFRESH_IDLE - 1
        token = (await _good(bench, _refresh(bench, token)))["refresh_token"]
    bench.now[0] = start + REFRESH_ABSOLUTE - 1
    spent, token = token, (await _good(bench, _refresh(bench, token)))["refresh_token"]
    assert (await _good(bench, _refresh(bench, spent)))["refresh_token"] == token
    bench.now[0] = start + REFRESH_ABSOLUTE
    # The window for a lost answer goes no further than the family.
    for last in (token, spent):
        await _refused(bench, _refresh(bench, last), Reason.REFRESH_EXPIRED)
    idle = await _first(bench)
    bench.now[0] += REFRESH_IDLE
    await _refused(bench, _refresh(bench, idle), Reason.REFRESH_EXPIRED)


@pytest.mark.attack(177)
async def test_what_was_deleted_is_refused_as_what_expired(bench: Bench) -> None:
    """Both are invalid_grant (RFC 6749 section 5.2), whatever became of the row."""
    token = await _first(bench)
    bench.now[0] += REFRESH_ABSOLUTE
    expired = await _refused(bench, _refresh(bench, token), Reason.REFRESH_EXPIRED)
    await bench.store.ledger.purge(int(bench.now[0]) + KEPT_SECONDS + 1)
    assert await bench.store.refresh_tokens.list() == []
    bench.now[0] += KEPT_SECONDS + 2
    gone = await _refused(bench, _refresh(bench, token), Reason.REFRESH_UNKNOWN)
    assert (gone.status, gone.json()["error"]) == (expired.status, expired.json()["error"])
