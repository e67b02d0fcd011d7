"""HTTP requests of the guard to its issuer, limited in time and size."""

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
from affiant.oauth.metadata import Metadata
from affiant.system.network import async_http_client, authorities, failure, find_proxy
from affiant.values import Value

if TYPE_CHECKING:  # the first request loads it
    import httpx2

MAX_BYTES = 262_144
TIMEOUT_SECONDS = 3.0
OK, NOT_MODIFIED = 200, 304


class Response(Value, frozen=True):
    HIDDEN: ClassVar[frozenset[str]] = frozenset({"body"})

    status: int
    body: bytes
    cache_control: str
    etag: str | None
    media_type: str  # the Content-Type without parameters, in lower case


class Issuer:
    """The issuer with this identifier. Without `http`, each `connect` makes an HTTP client of its own."""

    def __init__(self, identifier: str, *, http: httpx2.AsyncClient | None) -> None:
        self.identifier = identifier
        self._http = http
        self._tls: ssl.SSLContext | None = None
        self._metadata: Metadata | None = None

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[httpx2.AsyncClient]:
        """Yield the HTTP client; turn network errors into Unreachable, and unusable responses into RemoteError."""
        import httpx2  # noqa: PLC0415 - an API without guarded calls never loads it

        try:
            if self._http is None:
                # Not kept: an HTTP client belongs to one event loop.
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
        """Return the certificate authorities, read once, in a thread: it takes 50 ms."""
        if self._tls is None:
            try:
                self._tls = await asyncio.to_thread(authorities)
            except ConfigError as error:
                raise Unreachable(str(error)) from None
        return self._tls

    async def metadata(self, http: httpx2.AsyncClient) -> Metadata:
        """Return the issuer's metadata, fetched once."""
        if self._metadata is None:
            url, fallback = metadata.urls(self.identifier)
            found = await self.get(http, url)
            if found.status == metadata.NOT_FOUND:
                url = fallback
                found = await self.get(http, url)
            self._metadata = metadata.parse_response(found.status, found.body, url=url, issuer=self.identifier)
        return self._metadata

    async def get(
        self,
        http: httpx2.AsyncClient,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        limit: int = MAX_BYTES,
        timeout: float = TIMEOUT_SECONDS,  # noqa: ASYNC109 - the client's own
    ) -> Response:
        """Send GET without following redirects; `timeout` is for the whole response."""
        request = http.stream("GET", url, headers=headers, follow_redirects=False, timeout=timeout)
        async with asyncio.timeout(timeout):  # the HTTP client's timeout is for each part of a response
            return await _read(request, url, limit)

    async def post(
        self, http: httpx2.AsyncClient, url: str, form: list[tuple[str, str]], *, headers: dict[str, str]
    ) -> Response:
        """Send a form. It authenticates by itself, whatever `auth` the HTTP client has."""
        request = http.stream(
            "POST",
            url,
            content=urlencode(form),
            headers={**headers, "content-type": "application/x-www-form-urlencoded"},
            auth=None,
            follow_redirects=False,
            timeout=TIMEOUT_SECONDS,
        )
        return await _read(request, url, MAX_BYTES)


async def _read(request: AbstractAsyncContextManager[httpx2.Response], url: str, limit: int) -> Response:
    async with request as response:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > limit:
                raise RemoteError(f"{url} answered with more than {limit} bytes")
        cache_control, content_type = (response.headers.get(name, "") for name in ("cache-control", "content-type"))
        media_type = content_type.partition(";")[0].strip().lower()
        return Response(response.status_code, bytes(body), cache_control, response.headers.get("etag"), media_type)
