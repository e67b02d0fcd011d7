"""An issuer with an unusable or endless response counts as unreachable: 503, within the timeout."""

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest

from affiant.errors import RemoteError
from affiant.jose import compact, keys
from affiant.oauth import revocations as feed
from affiant.resource import Guard, revocations
from affiant.resource.issuer import Issuer

ISSUER, API, NOW = "https://as.example", "https://api.example", 1_800_000_000
METADATA, JWKS, FEED = "/.well-known/oauth-authorization-server", "/jwks", "/revocations"
KEY = keys.generate("ES256")


class Endless(httpx2.AsyncByteStream):
    """A byte now and then: each of them comes in time."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)


def _garbled() -> httpx2.Response:
    class Sent(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"this is not what the header says"

    return httpx2.Response(200, headers={"content-encoding": "gzip"}, stream=Sent())


def _guard(path: str, answer: Callable[[], httpx2.Response]) -> Guard:
    async def serve(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == path:
            return answer()
        if request.url.path == JWKS:
            return httpx2.Response(200, json={"keys": [KEY.public().to_jwk()]})
        if request.url.path == FEED:
            return httpx2.Response(200, text=await feed.build([], issuer=ISSUER, now=NOW, signer=KEY))
        document = {"issuer": ISSUER, "token_endpoint": f"{ISSUER}/token", "jwks_uri": ISSUER + JWKS}
        return httpx2.Response(200, json={**document, "revocations_uri": ISSUER + FEED})

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(serve))
    return Guard(ISSUER, audience=API, http=http, revocations="required", clock=lambda: float(NOW))


def _token() -> bytes:
    claims = {"iss": ISSUER, "aud": API, "sub": "c", "client_id": "c", "iat": NOW, "exp": NOW + 60, "jti": "1"}
    return b"Bearer " + compact.sign({"typ": "at+jwt"}, claims, KEY).encode()


@pytest.mark.parametrize("path", [METADATA, JWKS, FEED])
async def test_broken_compression_is_an_error(path: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RemoteError):
        await _guard(path, _garbled).check([_token()])
    if path == FEED:
        assert "cannot be fetched" in caplog.text


@pytest.mark.parametrize("path", [METADATA, JWKS, FEED])
async def test_endless_response_ends_in_an_error(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Issuer.get.__kwdefaults__ or {}, "timeout", 0.1)
    monkeypatch.setattr(revocations, "TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(revocations, "WAIT_SECONDS", 0)
    async with asyncio.timeout(5):
        with pytest.raises(RemoteError):
            await _guard(path, lambda: httpx2.Response(200, stream=Endless())).check([_token()])
