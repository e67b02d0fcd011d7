"""One issuer, asked over HTTP: what it publishes and what it answers, within limits of time and size."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlencode

from affiant.errors import ConfigError, RemoteError, Unreachable
from affiant.oauth import metadata
from affiant.oauth.metadata import Metadata, openid_url, well_known_url
from affiant.system.network import async_http_client, authorities, failure, find_proxy
from affiant.values import Value

if TYPE_CHECKING:
    import httpx2

MAX_BYTES = 262_144
TIMEOUT_SECONDS = 3.0
OK, NOT_MODIFIED, NOT_FOUND = 200, 304, 404


class Published(Value, frozen=True):
    """What an issuer answered."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"body"})

    status: int
    body: bytes
    cache_control: str
    etag: str | None
    content_type: str = ""

    @property
    def media_type(self) -> str:
        """What the body is, without parameters and in lower case."""
        return self.content_type.partition(";")[0].strip().lower()


class Issuer:
    """The issuer of this identifier.

    Args:
        identifier: exactly as its metadata spell it.
        http: what to ask with; when left out, a client of its own for each `asking`.
    """

    def __init__(self, identifier: str, *, http: httpx2.AsyncClient | None) -> None:
        self.identifier = identifier
        self._http = http
        self._tls: ssl.SSLContext | None = None
        self._metadata: Metadata | None = None

    @contextlib.asynccontextmanager
    async def asking(self) -> AsyncIterator[httpx2.AsyncClient]:
        """What to ask with; a failure of the network, or an answer that is none, becomes a RemoteError.

        Raises:
            Unreachable: the issuer does not answer.
            RemoteError: what it answers cannot be used.
        """
        import httpx2  # noqa: PLC0415 - an API without guarded calls never loads it

        try:
            if self._http is None:
                # One that was kept for longer would belong to one event loop.
                async with async_http_client(verify=await self._authorities()) as http:
                    yield http
            else:
                yield self._http
        except (httpx2.TransportError, TimeoutError) as error:
            proxy = find_proxy(self.identifier) if self._http is None or self._http.trust_env else None
            raise Unreachable(failure(error, self.identifier, proxy=proxy)) from None
        except RuntimeError:
            if self._http is None or not self._http.is_closed:
                raise
            raise Unreachable(f"{self.identifier} cannot be asked: the HTTP client is closed") from None
        except (ConfigError, ValueError, httpx2.InvalidURL, httpx2.DecodingError) as error:
            raise RemoteError(f"{self.identifier}: {error}") from None

    async def _authorities(self) -> ssl.SSLContext:
        """Who vouches for servers: read once, and not in the event loop, which would stand still for 50 ms."""
        if self._tls is None:
            try:
                self._tls = await asyncio.to_thread(authorities)
            except ConfigError as error:
                raise Unreachable(str(error)) from None
        return self._tls

    async def metadata(self, http: httpx2.AsyncClient) -> Metadata:
        """Its metadata, fetched once."""
        if self._metadata is None:
            found = await self.get(http, well_known_url(self.identifier))
            if found.status == NOT_FOUND:
                found = await self.get(http, openid_url(self.identifier))
            if found.status != OK:
                raise RemoteError(f"the metadata of {self.identifier} answered {found.status}")
            self._metadata = metadata.parse(found.body, issuer=self.identifier)
        return self._metadata

    async def get(
        self,
        http: httpx2.AsyncClient,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        limit: int = MAX_BYTES,
        timeout: float = TIMEOUT_SECONDS,  # noqa: ASYNC109 - the client's own
    ) -> Published:
        """What is at this address, as it is told now: nothing is followed elsewhere.

        Raises:
            RemoteError: more than `limit` bytes.
            TimeoutError: it was not all there within `timeout` seconds.
        """
        asked = http.stream("GET", url, headers=headers, follow_redirects=False, timeout=timeout)
        async with asyncio.timeout(timeout):  # the client's own is for each piece of an answer
            return await _read(asked, url, limit)

    async def post(
        self, http: httpx2.AsyncClient, url: str, form: list[tuple[str, str]], *, headers: dict[str, str]
    ) -> Published:
        """What is answered to this form. It says by itself who asks, whatever the HTTP client was set up with.

        Raises:
            RemoteError: more than MAX_BYTES.
        """
        asked = http.stream(
            "POST",
            url,
            content=urlencode(form),
            headers={**headers, "content-type": "application/x-www-form-urlencoded"},
            auth=None,
            follow_redirects=False,
            timeout=TIMEOUT_SECONDS,
        )
        return await _read(asked, url, MAX_BYTES)


async def _read(asked: AbstractAsyncContextManager[httpx2.Response], url: str, limit: int) -> Published:
    async with asked as response:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > limit:
                raise RemoteError(f"{url} answered with more than {limit} bytes")
        told = response.headers
        return Published(
            response.status_code,
            bytes(body),
            told.get("cache-control", ""),
            told.get("etag"),
            told.get("content-type", ""),
        )
