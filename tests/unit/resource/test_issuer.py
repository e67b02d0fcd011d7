"""An issuer with an unusable or endless response counts as unreachable: 503, within the timeout."""

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
from tests.unit.resource import issuer as issuers
from tests.unit.resource.issuer import ISSUER, NOW
from tests.unit.resource.listening import METADATA, OPENID, listening

from affiant.errors import RemoteError
from affiant.oauth import revocations as feed
from affiant.resource.issuer import remote, revocations

JWKS, FEED = "/jwks", "/revocations"


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


class Issuer(issuers.Issuer):
    """With a feed of revocations; the path `odd` has another answer."""

    def __init__(self, odd: str, made: Callable[[], httpx2.Response]) -> None:
        super().__init__()
        self.endpoints = {"revocations_uri": ISSUER + FEED}
        self.odd, self.made = odd, made

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        return self.made() if request.url.path == self.odd else await super().__call__(request)

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        assert request.url.path == FEED
        return httpx2.Response(200, text=await feed.build([], issuer=ISSUER, now=NOW, signer=self.keys[0]))

    async def refuse(self) -> None:
        with pytest.raises(RemoteError):
            await self.guard(revocations="required").check([self.token()])


@pytest.mark.parametrize("path", [METADATA, JWKS, FEED])
async def test_broken_compression_is_an_error(path: str, caplog: pytest.LogCaptureFixture) -> None:
    await Issuer(path, _garbled).refuse()
    if path == FEED:
        assert "cannot be fetched" in caplog.text


@pytest.mark.parametrize("path", [METADATA, JWKS, FEED])
async def test_endless_response_ends_in_an_error(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(remote.RemoteIssuer.get.__kwdefaults__ or {}, "timeout", 0.1)
    monkeypatch.setattr(revocations, "TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(revocations, "WAIT_SECONDS", 0)
    async with asyncio.timeout(5):
        await Issuer(path, lambda: httpx2.Response(200, stream=Endless())).refuse()


@pytest.mark.parametrize("status", [400, 401, 403, 405])
def test_metadata_of_openid_connect_are_found(status: int) -> None:
    """Whatever a server answers where RFC 8414 would have them."""
    with listening() as found:
        found.statuses[METADATA] = status
        assert asyncio.run(found.guard().check([found.token()])).client_id == "c"
        assert found.count(OPENID) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_metadata_are_not_looked_for_elsewhere_while_the_server_is_not_available(status: int) -> None:
    with listening() as found:
        found.statuses[METADATA] = status
        with pytest.raises(RemoteError, match=f"answered {status}"):
            asyncio.run(found.guard().check([found.token()]))
        assert not found.count(OPENID)


def test_issuer_that_only_signs_needs_no_token_endpoint() -> None:
    with listening() as found:
        del found.metadata["token_endpoint"]
        assert asyncio.run(found.guard().check([found.token()])).client_id == "c"
