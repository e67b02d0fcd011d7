"""An issuer for the guard: metadata and keys over HTTP. Each suite adds what it is about."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import httpx2

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.resource import Caller, Guard

ISSUER, API, NOW = "https://as.example", "https://api.example", 1_800_000_000


class Issuer:
    def __init__(self) -> None:
        self.keys = [keys.generate("ES256")]
        self.now = float(NOW)
        self.is_up = True
        self.endpoints = dict[str, str]()  # more members of the metadata

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/jwks":
            return await self.jwks()
        if request.url.path.startswith("/.well-known/"):
            document = {"issuer": ISSUER, "token_endpoint": f"{ISSUER}/token", "jwks_uri": f"{ISSUER}/jwks"}
            return httpx2.Response(200, json={**document, **self.endpoints})
        return await self.answer(request)

    async def jwks(self) -> httpx2.Response:
        return httpx2.Response(200, json={"keys": [key.public().to_jwk() for key in self.keys]})

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        raise NotImplementedError(request.url.path)

    def guard(self, **options: Any) -> Guard:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self), auth=("another", "client"))
        return Guard(ISSUER, http=http, clock=lambda: self.now, **{"audience": API, **options})

    def token(self, jti: str = "1", *, key: keys.PrivateKey | None = None, **claims: Any) -> bytes:
        now = int(self.now)
        members = {"iss": ISSUER, "aud": API, "sub": "c", "client_id": "c", "iat": now, "exp": now + 3600, "jti": jti}
        text = compact.sign({"typ": "at+jwt"}, {**members, **claims}, key or self.keys[-1])
        return b"Bearer " + text.encode()


def trusted(guard: Guard) -> Any:
    """What the guard has of its only issuer."""
    (found,) = guard._trusted.values()
    return found


async def reason_of(guard: Guard, token: bytes) -> Reason | None:
    try:
        await guard.check([token])
    except Rejected as refusal:
        return refusal.reason
    return None


async def eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(2):
        while not is_so():  # noqa: ASYNC110 - the other task has no event
            await asyncio.sleep(0)


class Check(Protocol):
    """One way to check a request: with an event loop, or in a thread that has none."""

    async def __call__(self, guard: Guard, authorization: Sequence[bytes], **options: Any) -> Caller: ...


async def check_in_loop(guard: Guard, authorization: Sequence[bytes], **options: Any) -> Caller:
    return await guard.check(authorization, **options)


async def check_in_thread(guard: Guard, authorization: Sequence[bytes], **options: Any) -> Caller:
    return await asyncio.to_thread(guard.check_sync, authorization, **options)
