"""The guard hears of what its issuer revoked, and knows what to do while it hears nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from affiant.errors import ConfigError, Rejected, RemoteError
from affiant.jose import compact, keys
from affiant.oauth import revocations as feed
from affiant.reasons import Reason
from affiant.resource import Guard, revocations

pytestmark = pytest.mark.anyio
ISSUER, API, NOW = "https://as.example", "https://api.example", 1_800_000_000


class Issuer:
    """Metadata, keys and revocations over HTTP; with `wait` the last are delayed until they change."""

    def __init__(self) -> None:
        self.key = keys.generate("ES256")
        self.signer: keys.PrivateKey | None = None
        self.now, self.asked = float(NOW), list[str]()
        self.revoked = list[tuple[str, str, int]]()
        self.changed = asyncio.Event()
        self.named, self.is_up, self.body = True, True, ""

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/jwks":
            return httpx2.Response(200, json={"keys": [self.key.public().to_jwk()]})
        if request.url.path == "/revocations":
            return await self._tell(request)
        document = {"issuer": ISSUER, "token_endpoint": f"{ISSUER}/token", "jwks_uri": f"{ISSUER}/jwks"}
        more = {"revocations_uri": f"{ISSUER}/revocations"} if self.named else {}
        return httpx2.Response(200, json={**document, **more})

    async def _tell(self, request: httpx2.Request) -> httpx2.Response:
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
            self.revoked, issuer=ISSUER, now=int(self.now), signer=self.signer or self.key
        )
        return httpx2.Response(200, text=body, headers={"etag": etag})

    def revoke(self, kind: str, value: str) -> None:
        self.revoked.append((kind, value, int(self.now)))
        self.changed.set()

    def guard(self, **options: Any) -> Guard:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self))
        return Guard(ISSUER, audience=API, http=http, clock=lambda: self.now, **options)

    def token(self, jti: str = "1", **claims: Any) -> bytes:
        now = int(self.now)
        members = {"iss": ISSUER, "aud": API, "sub": "c", "client_id": "c", "iat": now, "exp": now + 3600, "jti": jti}
        return b"Bearer " + compact.sign({"typ": "at+jwt"}, {**members, **claims}, self.key).encode()


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Issuer:
    monkeypatch.setattr(revocations, "LEAST_SECONDS", 0.01)
    return Issuer()


async def _reason(guard: Guard, token: bytes) -> Reason | None:
    try:
        await guard.check([token])
    except Rejected as refusal:
        return refusal.reason
    return None


async def _until(guard: Guard, token: bytes, reason: Reason | None) -> None:
    async with asyncio.timeout(2):
        while await _reason(guard, token) is not reason:  # noqa: ASYNC110 - it is the guard that asks
            await asyncio.sleep(0.01)


async def _eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(2):
        while not is_so():  # noqa: ASYNC110 - the other task has no event
            await asyncio.sleep(0.01)


async def test_the_first_request_knows_already(issuer: Issuer) -> None:
    issuer.revoke("jti", "1")
    guard = issuer.guard()
    assert await _reason(guard, issuer.token()) is Reason.TOKEN_REVOKED
    assert await _reason(guard, issuer.token("2")) is None


async def test_a_token_that_was_good_is_refused_from_then_on(issuer: Issuer) -> None:
    """Also a token with a remembered signature; and no request waits while the issuer delays its response."""
    guard = issuer.guard()
    for _ in range(3):
        assert await _reason(guard, issuer.token()) is None
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
    issuer.named = False
    assert await _reason(issuer.guard(), issuer.token()) is None
    with pytest.raises(RemoteError):
        await issuer.guard(revocations="required").check([issuer.token()])
    assert not issuer.asked


async def test_off_asks_nothing(issuer: Issuer) -> None:
    issuer.revoke("jti", "1")
    assert await _reason(issuer.guard(revocations="off"), issuer.token()) is None
    assert not issuer.asked


async def test_while_the_issuer_is_away_what_is_known_counts(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    issuer.revoke("jti", "1")
    guards = [issuer.guard(), issuer.guard(revocations="required")]
    for guard in guards:
        assert await _reason(guard, issuer.token()) is Reason.TOKEN_REVOKED
    issuer.is_up = False
    issuer.now += revocations.STALE_SECONDS
    for guard in guards:
        assert await _reason(guard, issuer.token()) is Reason.TOKEN_REVOKED
        assert await _reason(guard, issuer.token("2")) is None
    issuer.now += 1
    assert await _reason(guards[0], issuer.token("2")) is None
    with pytest.raises(RemoteError):
        await guards[1].check([issuer.token("2")])
    await _eventually(lambda: "cannot be fetched" in caplog.text)
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
    assert await _reason(issuer.guard(), issuer.token()) is None
    with pytest.raises(RemoteError):
        await issuer.guard(revocations="required").check([issuer.token()])


async def test_what_is_confirmed_for_ever_is_not_believed_for_ever(issuer: Issuer) -> None:
    """Attack: 304 is answered for ever. The signed feed expires."""
    guard = issuer.guard(revocations="required")
    assert await _reason(guard, issuer.token()) is None
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
    await _eventually(lambda: len(issuer.asked) >= asked + 3)
    with pytest.raises(RemoteError):
        await guard.check([issuer.token()])


async def test_a_node_that_is_behind_takes_nothing_back(issuer: Issuer) -> None:
    """A rejected token stays rejected, even if the next feed does not have it yet."""
    guard = issuer.guard()
    issuer.revoke("jti", "1")
    assert await _reason(guard, issuer.token()) is Reason.TOKEN_REVOKED
    issuer.revoked.clear()
    await _eventually(lambda: len(issuer.asked) >= 4)
    assert await _reason(guard, issuer.token()) is Reason.TOKEN_REVOKED


async def test_an_old_answer_takes_nothing_back_however_often_it_is_told(issuer: Issuer) -> None:
    """Attack: a feed from before the revocation is replayed."""
    guard = issuer.guard()
    old = await feed.build([], issuer=ISSUER, now=NOW, signer=issuer.key)
    issuer.revoke("jti", "1")
    assert await _reason(guard, issuer.token()) is Reason.TOKEN_REVOKED
    issuer.body = old
    issuer.revoke("jti", "2")
    await _eventually(lambda: len(issuer.asked) >= 3)
    for number in range(3, 6):  # each of them the old answer, under a name of its own
        issuer.revoke("jti", str(number))
        asked = len(issuer.asked)
        await _eventually(lambda asked=asked: len(issuer.asked) > asked)  # type: ignore[misc]
    assert await _reason(guard, issuer.token()) is Reason.TOKEN_REVOKED


async def test_a_node_that_is_behind_and_ahead_of_time_takes_nothing_back(issuer: Issuer) -> None:
    """A node whose clock is ahead signs an older state for the next period."""
    guard = issuer.guard()
    issuer.revoke("jti", "1")
    assert await _reason(guard, issuer.token()) is Reason.TOKEN_REVOKED
    issuer.body = await feed.build([], issuer=ISSUER, now=NOW + 20, signer=issuer.key)
    for number in range(2, 6):
        issuer.revoke("jti", str(number))
        asked = len(issuer.asked)
        await _eventually(lambda asked=asked: len(issuer.asked) > asked)  # type: ignore[misc]
        assert await _reason(guard, issuer.token()) is Reason.TOKEN_REVOKED
    issuer.body = await feed.build([], issuer=ISSUER, now=NOW + feed.PERIOD, signer=issuer.key)
    issuer.now += feed.PERIOD
    issuer.revoke("jti", "6")
    await _until(guard, issuer.token(), None)  # for good it is over when two periods say so


async def test_who_always_answers_in_full_is_not_asked_without_a_pause(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy drops ETag or If-None-Match: the same feed is no change."""
    monkeypatch.setattr(revocations, "LEAST_SECONDS", 60.0)
    guard, tell = issuer.guard(), issuer._tell

    async def forgetful(request: httpx2.Request) -> httpx2.Response:
        request.headers.pop("if-none-match", None)
        return await tell(request)

    monkeypatch.setattr(issuer, "_tell", forgetful)
    assert await _reason(guard, issuer.token()) is None
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(issuer.asked) == 2  # at once, and the one that may be delayed


@pytest.mark.parametrize("how", ["stranger", "at+jwt", "other issuer", "text", "not ascii", "large"])
async def test_what_is_not_the_issuers_feed(issuer: Issuer, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
        signed = compact.sign({"typ": typ}, given, issuer.key)
        issuer.body = {"text": "x", "not ascii": "\u00e9"}.get(how, signed)
    assert await _reason(issuer.guard(), issuer.token()) is None
    with pytest.raises(RemoteError):
        await issuer.guard(revocations="required").check([issuer.token()])


async def test_a_guard_that_nobody_asks_asks_nobody(issuer: Issuer) -> None:
    guard = issuer.guard()
    issuer.changed.set()
    await guard.check([issuer.token()])
    issuer.now += revocations.IDLE_SECONDS
    await _eventually(lambda: not guard._revocations._tasks)
    asked = len(issuer.asked)
    issuer.revoke("jti", "1")
    # The next request does not rely on the old feed.
    assert await _reason(guard, issuer.token()) is Reason.TOKEN_REVOKED
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


def test_a_policy_that_is_none() -> None:
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
        assert asyncio.run(_reason(guard, issuer.token())) is None
    assert not guard._revocations._tasks


async def _event() -> asyncio.Event:
    return asyncio.Event()
