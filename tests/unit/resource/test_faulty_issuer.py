"""A warm guard with an issuer that misbehaves: what has a known key waits for nothing, and what has not is refused.

tests/chaos/test_guard.py does the same over sockets and in real time.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx2
import pytest
from tests.unit.resource.issuer import API, ISSUER, NOW, Issuer, trusted
from tests.unit.resource.listening import until

from affiant.errors import Rejected, RemoteError
from affiant.errors.reasons import Reason
from affiant.jose import keys
from affiant.resource import Guard
from affiant.resource.issuer import remote
from affiant.resource.issuer.keys import BURST, FRESH_SECONDS, REFILL_SECONDS, REFRESH_AT
from affiant.resource.issuer.remote import MAX_BYTES

TIMEOUT = 0.05
HUGE, CHUNK = 100_000_000, 65_536
STRANGER = keys.generate("ES256")

Answer = Callable[[httpx2.Request], Awaitable[httpx2.Response]]


class Faulty(Issuer):
    """An issuer that answers as `fault` does, once it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Answer | None = None
        self.sent = 0  # bytes of a huge answer

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        return await (super().__call__(request) if self.fault is None else self.fault(request))

    def guard(self, **options: object) -> Guard:
        def connect() -> httpx2.AsyncClient:
            return httpx2.AsyncClient(transport=httpx2.MockTransport(self), trust_env=False)

        return Guard(ISSUER, audience=API, http=connect, clock=lambda: self.now, revocations="off")

    async def hanging(self, _: httpx2.Request) -> httpx2.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def dripping(self, _: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=self._drip())

    async def _drip(self) -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(TIMEOUT / 10)

    async def huge(self, _: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=self._pour())

    async def _pour(self) -> AsyncIterator[bytes]:
        self.sent = 0
        while self.sent < HUGE:
            self.sent += CHUNK
            yield b" " * CHUNK

    async def another_issuer(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/jwks":
            return httpx2.Response(404)
        return httpx2.Response(200, json={"issuer": "https://other.example", "jwks_uri": f"{ISSUER}/others"})

    async def redirecting(self, _: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(302, headers={"location": f"{ISSUER}/others"})

    async def dead(self, _: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")


def answering(status: int, body: bytes) -> Answer:
    async def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, content=body)

    return answer


FAULTS: dict[str, Callable[[Faulty], Answer]] = {
    "hanging": lambda issuer: issuer.hanging,
    "dripping": lambda issuer: issuer.dripping,
    "huge": lambda issuer: issuer.huge,
    "another issuer": lambda issuer: issuer.another_issuer,
    "redirecting": lambda issuer: issuer.redirecting,
    "dead": lambda issuer: issuer.dead,
    "failing": lambda _: answering(500, b""),
    "invalid JSON": lambda _: answering(200, b'{"keys": ['),
    "no object": lambda _: answering(200, b"[]"),
    "no keys": lambda _: answering(200, b'{"keys": "all of them"}'),
    "deep": lambda _: answering(200, b"[" * 100_000),
    "a page": lambda _: answering(200, b"<!doctype html><title>Welcome</title>"),
    "nothing": lambda _: answering(200, b""),
    "no UTF-8": lambda _: answering(200, b"\xff\xfe{}"),
}


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Faulty:
    defaults = remote.RemoteIssuer.get.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "timeout", TIMEOUT)
    return Faulty()


def check_without_waiting(guard: Guard, token: bytes) -> str:
    """Run a check as an event loop does; it is refused here if it ever has to wait."""
    check = guard.check([token])
    try:
        check.send(None)
    except StopIteration as done:
        client_id: str = done.value.client_id
        return client_id
    check.close()
    pytest.fail("it waited")


def is_idle(guard: Guard) -> bool:
    return trusted(guard).keys._flight.find() is None


@pytest.mark.parametrize("fault", FAULTS)
def test_known_key_waits_for_nothing(fault: str, issuer: Faulty) -> None:
    """From the first refresh on, for as long again as the keys are fresh; then the issuer is well again."""
    guard, tokens = issuer.guard(), [issuer.token(str(number), exp=NOW + 10_000) for number in range(3)]
    for token in tokens:
        guard.check_sync([token])
    issuer.fault = FAULTS[fault](issuer)
    issuer.now += REFRESH_AT * FRESH_SECONDS
    while issuer.now < NOW + 2 * FRESH_SECONDS:
        for token in tokens:
            assert check_without_waiting(guard, token) == "c"
            assert guard.check_sync([token]).client_id == "c"
        until(lambda: is_idle(guard))
        issuer.now += REFILL_SECONDS
    issuer.fault = None
    issuer.keys.append(keys.generate("ES256"))
    assert guard.check_sync([issuer.token("new")]).client_id == "c"


@pytest.mark.parametrize("fault", FAULTS)
def test_unknown_key_is_refused(fault: str, issuer: Faulty) -> None:
    """Within the time of one fetch, and without a fetch when many of them come."""
    guard = issuer.guard()
    guard.check_sync([issuer.token()])
    issuer.fault = FAULTS[fault](issuer)
    for number in range(int(BURST) + 5):
        stranger = keys.parse_private_jwk({**STRANGER.to_jwk(), "kid": str(number)})
        with pytest.raises((Rejected, RemoteError)) as refusal:
            guard.check_sync([issuer.token(key=stranger)])
        assert getattr(refusal.value, "reason", Reason.TOKEN_KEY) == Reason.TOKEN_KEY
        forged = keys.parse_private_jwk({**STRANGER.to_jwk(), "kid": issuer.keys[0].kid})
        with pytest.raises(Rejected) as forgery:
            guard.check_sync([issuer.token(key=forged)])
        assert forgery.value.reason is Reason.TOKEN_SIGNATURE
    assert issuer.sent <= MAX_BYTES + 2 * CHUNK


def test_moved_keys_are_found(issuer: Faulty) -> None:
    guard, token = issuer.guard(), issuer.token(exp=NOW + 10_000)
    guard.check_sync([token])
    new = keys.generate("ES256")

    async def moved(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/jwks":
            return httpx2.Response(404)
        if request.url.path == "/moved":
            return httpx2.Response(200, json={"keys": [key.public().to_jwk() for key in (*issuer.keys, new)]})
        return httpx2.Response(200, json={"issuer": ISSUER, "jwks_uri": f"{ISSUER}/moved"})

    issuer.fault = moved
    issuer.now += REFRESH_AT * FRESH_SECONDS
    assert check_without_waiting(guard, token) == "c"
    until(lambda: is_idle(guard))
    assert check_without_waiting(guard, issuer.token(key=new)) == "c"
