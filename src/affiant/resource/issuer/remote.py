"""HTTP requests of the guard to its issuer, limited in time and size."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar
from urllib.parse import urlencode

from affiant.errors import ConfigError, RemoteError, Unreachable
from affiant.oauth import metadata
from affiant.oauth.metadata import Metadata, Reach
from affiant.resource.issuer.clocks import Clocks
from affiant.resource.issuer.flight import arrive, result
from affiant.resource.issuer.worker import submit, worker
from affiant.system.network import async_http_client, authorities, failure, find_proxy, require_http
from affiant.system.values import Value

if TYPE_CHECKING:  # the first request loads it
    import httpx2

log: logging.Logger = logging.getLogger(__name__)

MAX_BYTES = 262_144
TIMEOUT_SECONDS = 3.0
REREAD_SECONDS = 60.0  # between two attempts to read the metadata again
OK, NOT_MODIFIED = 200, 304

Result = TypeVar("Result")
Http: TypeAlias = "httpx2.AsyncClient | Callable[[], httpx2.AsyncClient]"


class Response(Value, frozen=True):
    HIDDEN: ClassVar[frozenset[str]] = frozenset({"body"})

    status: int
    body: bytes
    cache_control: str
    etag: str | None
    media_type: str  # the Content-Type without parameters, in lower case
    date: str
    age: str


class RemoteIssuer:
    """The issuer with this identifier. Without `http`, each `connect` makes an HTTP client of its own.

    With `reach`, the guard sends its requests there.

    Requests are made on one event loop, whatever threads and loops need their answers: that of the worker. An HTTP
    client that is given belongs to the loop that first used it, and stays with it for as long as that loop runs. A
    function that is given makes the client of each `connect`.
    """

    def __init__(
        self,
        identifier: str,
        *,
        http: Http | None,
        clock: Callable[[], float] = time.time,
        reach: Reach | None = None,
    ) -> None:
        self.identifier = identifier
        self._reach = reach or Reach.of(identifier)
        self.reads: int = 0  # of the metadata
        self.clocks: Clocks = Clocks(identifier, clock)
        self._http = None if callable(http) else http
        self._make_http = http if callable(http) else None
        self._clock = clock
        self._tls: ssl.SSLContext | None = None
        self.known: Metadata | None = None  # the metadata that were last read
        self._read_at = self._reread_at = float("-inf")
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None  # of `http`, and in which fork
        self._kept: tuple[int, asyncio.AbstractEventLoop, httpx2.AsyncClient] | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop for requests."""
        if self._http is None:
            return worker.loop()
        if self._home is None or self._home[0] != worker.forks or not self._home[1].is_running():
            try:
                self._home = worker.forks, asyncio.get_running_loop()
            except RuntimeError:
                self._home = worker.forks, worker.loop()
        return self._home[1]

    async def perform(self, work: Callable[[], Coroutine[Any, Any, Result]], *, seconds: float) -> Result:
        """Return what a coroutine returns on the event loop for requests."""
        loop = self.loop()
        if loop is asyncio.get_running_loop():
            return await work()
        future = submit(work(), loop)
        if not await arrive(future, seconds=seconds):
            raise Unreachable(f"{self.identifier} did not answer within {seconds:.0f} s")
        return result(future)

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[httpx2.AsyncClient]:
        """Yield the HTTP client; turn network errors into Unreachable, and unusable responses into RemoteError."""
        with self._errors():
            if self._make_http is not None:
                async with self._make_http() as http:
                    yield http
            elif self._http is None:
                async with async_http_client(verify=await self._authorities()) as http:
                    yield http
            else:
                yield self._http

    @contextlib.asynccontextmanager
    async def reconnect(self) -> AsyncIterator[httpx2.AsyncClient]:
        """Yield an HTTP client, as `connect` does, whose connections stay open for the next request."""
        if self._http is not None or self._make_http is not None:
            async with self.connect() as http:
                yield http
        else:
            with self._errors():
                yield await self._keep()

    async def _keep(self) -> httpx2.AsyncClient:
        tls, forks, loop = await self._authorities(), worker.forks, asyncio.get_running_loop()
        if self._kept is None or self._kept[:2] != (forks, loop):
            http = async_http_client(verify=tls)
            self._kept = forks, loop, http
            weakref.finalize(self, _close, forks, loop, http).atexit = False
        return self._kept[2]

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        require_http()
        import httpx2  # noqa: PLC0415 - an API without guarded calls never loads it

        try:
            yield
        except (httpx2.TransportError, TimeoutError) as error:
            proxy = find_proxy(self._reach.inner) if self._http is None or self._http.trust_env else None
            raise Unreachable(failure(error, self._reach.inner, proxy=proxy)) from None
        except RuntimeError as error:
            if self._http is None or not (self._http.is_closed or "loop" in str(error)):
                raise
            raise Unreachable(f"{self.identifier} cannot be asked: {_unusable(self._http)}") from None
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
        """Return the issuer's metadata, which are fetched if there are none yet."""
        return self.known or await self._read(http)

    async def reread(self, *, least_seconds: float) -> bool:
        """Fetch the metadata again if they are so old; return whether they changed. A failure changes nothing."""
        now, before = self._clock(), self.known
        if before is None or now - self._read_at < least_seconds or now - self._reread_at < REREAD_SECONDS:
            return False
        self._reread_at = now
        try:
            async with self.connect() as http:
                return await self._read(http) != before
        except RemoteError as error:
            log.info("the metadata of %s cannot be read again, the last ones are used: %s", self.identifier, error)
            return False

    async def _read(self, http: httpx2.AsyncClient) -> Metadata:
        url, fallback = metadata.urls(self.identifier)
        found = await self.get(http, url)
        if found.status in metadata.ELSEWHERE:
            url = fallback
            found = await self.get(http, url)
        body = self._reach.outward(found.body)
        self.known = metadata.parse_response(found.status, body, url=url, issuer=self.identifier)
        self._read_at = self._clock()
        self.reads += 1
        return self.known

    def proof_algorithms(self) -> frozenset[str] | None:
        """Return the algorithms of DPoP proofs that the metadata name, as far as they are known (RFC 9449 section 5.1).

        No member of the metadata is about the signatures of access tokens.
        """
        said = self.known.raw.get("dpop_signing_alg_values_supported") if self.known is not None else None
        return frozenset(name for name in said if isinstance(name, str)) if isinstance(said, list) else None

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
        url = self._reach.inward(url)
        request = http.stream("GET", url, headers=headers, follow_redirects=False, timeout=timeout)
        sent = self.clocks.now()
        async with asyncio.timeout(timeout):  # the HTTP client's timeout is for each part of a response
            return self._note(await _read(request, url, limit), sent)

    async def post(
        self, http: httpx2.AsyncClient, url: str, form: list[tuple[str, str]], *, headers: dict[str, str]
    ) -> Response:
        """Send a form. It authenticates by itself, whatever `auth` the HTTP client has."""
        url = self._reach.inward(url)
        request = http.stream(
            "POST",
            url,
            content=urlencode(form),
            headers={**headers, "content-type": "application/x-www-form-urlencoded"},
            auth=None,
            follow_redirects=False,
            timeout=TIMEOUT_SECONDS,
        )
        sent = self.clocks.now()
        return self._note(await _read(request, url, MAX_BYTES), sent)

    def _note(self, response: Response, sent: float) -> Response:
        self.clocks.note(response.date, response.age, sent)
        return response


def _close(forks: int, loop: asyncio.AbstractEventLoop, http: httpx2.AsyncClient) -> None:
    """Close the connections of a guard that is no longer in use, where they belong."""
    if forks == worker.forks and loop.is_running():
        submit(http.aclose(), loop)


def _unusable(http: httpx2.AsyncClient) -> str:
    if http.is_closed:
        return "the HTTP client is closed"
    return (
        "the HTTP client given as http= has connections of another event loop: leave http= out, or give a client that"
        " nothing else uses and an event loop that lasts"
    )


async def _read(request: AbstractAsyncContextManager[httpx2.Response], url: str, limit: int) -> Response:
    async with request as response:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > limit:
                raise RemoteError(f"{url} answered with more than {limit} bytes")
        names = ("cache-control", "content-type", "date", "age")
        cache_control, content_type, date, age = (response.headers.get(name, "") for name in names)
        media_type = content_type.partition(";")[0].strip().lower()
        etag = response.headers.get("etag")
        return Response(response.status_code, bytes(body), cache_control, etag, media_type, date, age)
