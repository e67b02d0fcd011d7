"""The guard hears of what its issuer revoked, and knows what to do while it hears nothing."""

import asyncio
from typing import Any

import httpx2
import pytest
from tests.unit.resource import issuer as issuers
from tests.unit.resource.issuer import API, ISSUER, NOW, eventually, reason_of, trusted

from affiant.errors import ConfigError, Rejected, RemoteError
from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.oauth import revocations as feed
from affiant.resource import Guard
from affiant.resource.issuer import revocations


class Issuer(issuers.Issuer):
    """With a feed of revocations; with `wait` it is delayed until it changes."""

    def __init__(self) -> None:
        super().__init__()
        self.endpoints = {"revocations_uri": f"{ISSUER}/revocations"}
        self.signer: keys.PrivateKey | None = None
        self.asked = list[str]()
        self.revoked = list[tuple[str, str, int]]()
        self.changed = asyncio.Event()
        self.body = ""

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(str(request.url))
        if not self.is_up:
            raise httpx2.ConnectError("down")
        etag = f'W/"{len(self.revoked)}"'
        if request.headers.get("if-none-match") == etag:
            await self.changed.wait()
            if not self.is_up:
                raise httpx2.ReadError("gone")
            etag = f'W/"{len(self.revoked)}"'
        if request.headers.get("if-none-match") == etag:
            return httpx2.Response(304, headers={"etag": etag})
        body = self.body or await feed.build(
            self.revoked, issuer=ISSUER, now=int(self.now), signer=self.signer or self.keys[0]
        )
        return httpx2.Response(200, text=body, headers={"etag": etag})

    def revoke(self, kind: str, value: str) -> None:
        self.revoked.append((kind, value, int(self.now)))
        self.changed.set()


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Issuer:
    monkeypatch.setattr(revocations, "LEAST_SECONDS", 0.01)
    return Issuer()


async def _until(guard: Guard, token: bytes, reason: Reason | None) -> None:
    async with asyncio.timeout(2):
        while await reason_of(guard, token) is not reason:  # noqa: ASYNC110 - it is the guard that asks
            await asyncio.sleep(0.01)


async def test_the_first_request_knows_already(issuer: Issuer) -> None:
    issuer.revoke("jti", "1")
    guard = issuer.guard()
    assert await reason_of(guard, issuer.token()) is Reason.TOKEN_REVOKED
    assert await reason_of(guard, issuer.token("2")) is None


async def test_a_token_that_was_good_is_refused_from_then_on(issuer: Issuer) -> None:
    """Also a token with a remembered signature; and no request waits while the issuer delays its response."""
    guard = issuer.guard()
    for _ in range(3):
        assert await reason_of(guard, issuer.token()) is None
    issuer.revoke("client", "c")
    await _until(guard, issuer.token(), Reason.TOKEN_REVOKED)
    assert f"{ISSUER}/revocations?wait={revocations.WAIT_SECONDS}" in issuer.asked


async def test_many_at_once_ask_once(issuer: Issuer) -> None:
    guard = issuer.guard()
    await asyncio.gather(*(guard.check([issuer.token(str(n))]) for n in range(50)))
    assert len(issuer.asked) <= 2


async def test_revoked_before_scope(issuer: Issuer) -> None:
    """A caller without a valid token gets 401, not 403 for a scope."""
    issuer.revoke("jti", "1")
    with pytest.raises(Rejected) as refusal:
        await issuer.guard().check([issuer.token()], need=["admin"])
    assert refusal.value.reason is Reason.TOKEN_REVOKED


async def test_an_issuer_without_a_feed(issuer: Issuer) -> None:
    """Is one of the many: its tokens are judged by themselves, unless the guard demands more."""
    issuer.endpoints = {}
    assert await reason_of(issuer.guard(), issuer.token()) is None
    with pytest.raises(RemoteError):
        await issuer.guard(revocations="required").check([issuer.token()])
    assert not issuer.asked


async def test_off_asks_nothing(issuer: Issuer) -> None:
    issuer.revoke("jti", "1")
    assert await reason_of(issuer.guard(revocations="off"), issuer.token()) is None
    assert not issuer.asked


async def test_known_revocations_count_while_the_issuer_is_down(
    issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.revoke("jti", "1")
    guards = [issuer.guard(), issuer.guard(revocations="required")]
    for guard in guards:
        assert await reason_of(guard, issuer.token()) is Reason.TOKEN_REVOKED
    issuer.is_up = False
    issuer.now += revocations.STALE_SECONDS
    for guard in guards:
        assert await reason_of(guard, issuer.token()) is Reason.TOKEN_REVOKED
        assert await reason_of(guard, issuer.token("2")) is None
    issuer.now += 1
    assert await reason_of(guards[0], issuer.token("2")) is None
    with pytest.raises(RemoteError):
        await guards[1].check([issuer.token("2")])
    await eventually(lambda: "cannot be fetched" in caplog.text)
    issuer.is_up = True
    async with asyncio.timeout(5):
        while True:
            try:
                await guards[1].check([issuer.token("2")])
                break
            except RemoteError:
                await asyncio.sleep(0.02)


async def test_never_heard_of_anything(issuer: Issuer) -> None:
    issuer.is_up = False
    assert await reason_of(issuer.guard(), issuer.token()) is None
    with pytest.raises(RemoteError):
        await issuer.guard(revocations="required").check([issuer.token()])


async def test_feed_expires_even_if_confirmed(issuer: Issuer) -> None:
    """Attack: 304 is answered for ever. The signed feed expires."""
    guard = issuer.guard(revocations="required")
    assert await reason_of(guard, issuer.token()) is None
    issuer.changed.set()  # each question is answered at once with 304
    issuer.now += feed.LIFETIME - 1
    async with asyncio.timeout(2):
        while True:
            try:
                await guard.check([issuer.token()])
                break
            except RemoteError:
                await asyncio.sleep(0.01)
    issuer.now += 1
    asked = len(issuer.asked)
    await eventually(lambda: len(issuer.asked) >= asked + 3)
    with pytest.raises(RemoteError):
        await guard.check([issuer.token()])


async def test_older_feed_unrevokes_nothing(issuer: Issuer) -> None:
    """A rejected token stays rejected, even if the next feed does not have it yet."""
    guard = issuer.guard()
    issuer.revoke("jti", "1")
    assert await reason_of(guard, issuer.token()) is Reason.TOKEN_REVOKED
    issuer.revoked.clear()
    await eventually(lambda: len(issuer.asked) >= 4)
    assert await reason_of(guard, issuer.token()) is Reason.TOKEN_REVOKED


async def test_repeated_old_feed_unrevokes_nothing(issuer: Issuer) -> None:
    """Attack: a feed from before the revocation is replayed."""
    guard = issuer.guard()
    old = await feed.build([], issuer=ISSUER, now=NOW, signer=issuer.keys[0])
    issuer.revoke("jti", "1")
    assert await reason_of(guard, issuer.token()) is Reason.TOKEN_REVOKED
    issuer.body = old
    issuer.revoke("jti", "2")
    await eventually(lambda: len(issuer.asked) >= 3)
    for number in range(3, 6):  # each of them the old answer, under a name of its own
        issuer.revoke("jti", str(number))
        asked = len(issuer.asked)
        await eventually(lambda asked=asked: len(issuer.asked) > asked)  # type: ignore[misc]
    assert await reason_of(guard, issuer.token()) is Reason.TOKEN_REVOKED


async def test_older_feed_of_a_later_period_unrevokes_nothing(issuer: Issuer) -> None:
    """A node whose clock is ahead signs an older state for the next period."""
    guard = issuer.guard()
    issuer.revoke("jti", "1")
    assert await reason_of(guard, issuer.token()) is Reason.TOKEN_REVOKED
    issuer.body = await feed.build([], issuer=ISSUER, now=NOW + 20, signer=issuer.keys[0])
    for number in range(2, 6):
        issuer.revoke("jti", str(number))
        asked = len(issuer.asked)
        await eventually(lambda asked=asked: len(issuer.asked) > asked)  # type: ignore[misc]
        assert await reason_of(guard, issuer.token()) is Reason.TOKEN_REVOKED
    issuer.body = await feed.build([], issuer=ISSUER, now=NOW + feed.PERIOD, signer=issuer.keys[0])
    issuer.now += feed.PERIOD
    issuer.revoke("jti", "6")
    await _until(guard, issuer.token(), None)  # for good it is over when two periods say so


async def test_issuer_without_304_is_not_asked_without_a_pause(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy drops ETag or If-None-Match: the same feed is no change."""
    monkeypatch.setattr(revocations, "LEAST_SECONDS", 60.0)
    guard, answer = issuer.guard(), issuer.answer

    async def forgetful(request: httpx2.Request) -> httpx2.Response:
        request.headers.pop("if-none-match", None)
        return await answer(request)

    monkeypatch.setattr(issuer, "answer", forgetful)
    assert await reason_of(guard, issuer.token()) is None
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(issuer.asked) == 2  # at once, and the one that may be delayed


@pytest.mark.parametrize("how", ["stranger", "at+jwt", "other issuer", "text", "not ascii", "large"])
async def test_feed_of_another_issuer_is_rejected(issuer: Issuer, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it counts: no stranger ends a token, and none passes where the feed is required."""
    issuer.revoke("jti", "1")
    claims = {"iss": ISSUER, "iat": NOW, "exp": NOW + 60, "revoked": [], "revoked_before": {}}
    if how == "stranger":
        issuer.signer = keys.generate("ES256")
    elif how == "large":
        monkeypatch.setattr(revocations, "MAX_BYTES", 100)
    else:
        given = {**claims, "iss": "https://evil.example"} if how == "other issuer" else claims
        typ = "at+jwt" if how == "at+jwt" else "revocations+jwt"
        signed = compact.sign({"typ": typ}, given, issuer.keys[0])
        issuer.body = {"text": "x", "not ascii": "\u00e9"}.get(how, signed)
    assert await reason_of(issuer.guard(), issuer.token()) is None
    with pytest.raises(RemoteError):
        await issuer.guard(revocations="required").check([issuer.token()])


async def test_idle_guard_requests_nothing(issuer: Issuer) -> None:
    guard = issuer.guard()
    issuer.changed.set()
    await guard.check([issuer.token()])
    issuer.now += revocations.IDLE_SECONDS
    await eventually(lambda: trusted(guard).revocations._flight.find() is None)
    asked = len(issuer.asked)
    issuer.revoke("jti", "1")
    # The next request does not rely on the old feed.
    assert await reason_of(guard, issuer.token()) is Reason.TOKEN_REVOKED
    assert len(issuer.asked) > asked


async def test_a_closed_client_is_no_crash(issuer: Issuer) -> None:
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(issuer))
    guard = Guard(ISSUER, audience=API, http=http, clock=lambda: issuer.now)
    await guard.check([issuer.token()])
    await http.aclose()
    issuer.changed.set()
    for _ in range(10):
        await asyncio.sleep(0.01)
        await guard.check([issuer.token()])


def test_unknown_policy_is_rejected() -> None:
    with pytest.raises(ConfigError):
        Guard(ISSUER, audience=API, revocations="sometimes")


def test_each_event_loop_asks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a server with threads: a loop that ended leaves nothing behind that would be waited for."""
    monkeypatch.setattr(revocations, "LEAST_SECONDS", 0.01)

    async def make() -> Issuer:
        return Issuer()

    issuer = asyncio.run(make())
    guard = issuer.guard()
    for _ in range(3):
        issuer.changed = asyncio.run(_event())
        assert asyncio.run(reason_of(guard, issuer.token())) is None
    assert trusted(guard).revocations._flight.find() is None


async def _event() -> asyncio.Event:
    return asyncio.Event()


async def test_names_of_a_token_are_digested_once_and_when_needed(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = list[str]()

    def digests(claims: dict[str, Any]) -> tuple[bytes, ...]:
        made.append(claims["jti"])
        return feed.digests(claims)

    monkeypatch.setattr(revocations, "digests", digests)
    guard, token = issuer.guard(), issuer.token()
    for _ in range(3):
        assert await reason_of(guard, token) is None
    assert not made, "nothing is revoked"
    issuer.revoke("jti", "another")
    await eventually(lambda: any(known.whole for known in trusted(guard).revocations._feeds))
    for _ in range(3):
        assert await reason_of(guard, token) is None
    assert made == ["1"]
    issuer.revoke("jti", "1")
    await _until(guard, token, Reason.TOKEN_REVOKED)
    assert made == ["1"]
