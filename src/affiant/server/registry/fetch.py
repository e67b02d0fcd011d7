"""Fetch a document from a URL that a client or an issuer chose (RFC 8725 section 3.10, RFC 7591 section 5).

The host is resolved once, every address is checked, and the connection goes to a checked address. Attack: the name
resolves to another address a moment later. No redirects, cookies, proxies or compression; at most 3 seconds and 64 KiB.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpcore2
from httpcore2 import AnyIOBackend

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth import names, revocations
from affiant.oauth.parameters.jwks_uri import parse_max_age
from affiant.server.registry.addresses import Address, Allowed, find_forbidden
from affiant.server.registry.key_cache import FETCH_SECONDS, Fetched

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

CONNECT_SECONDS = 1.0  # for one of several addresses
MAX_BYTES = 65_536
MAX_ADDRESSES = 4  # that are tried
MAX_LOOKUPS = 32  # in flight: a resolver can take half a minute, and occupies a thread
_OK = 200
_HEADERS = [("Accept", "application/jwk-set+json, application/json"), ("Accept-Encoding", "identity")]
_JSON = r"application/(?:[a-z0-9.+-]+\+)?json|text/(?:json|plain)|application/octet-stream|"


class Kind(NamedTuple):
    """The bounds of a document."""

    most: int  # bytes
    types: re.Pattern[str]  # accepted values of Content-Type; it may be absent


_FEED = rf"application/{re.escape(names.REVOCATIONS_TYP)}|{_JSON}"
JSON = Kind(MAX_BYTES, re.compile(_JSON, re.IGNORECASE))
FEED = Kind(revocations.MAX_BYTES, re.compile(_FEED, re.IGNORECASE))


class Fetcher:
    """Fetches documents over https."""

    def __init__(
        self,
        allowed: Allowed | None = None,
        *,
        resolve: Resolve | None = None,
        network: httpcore2.AsyncNetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
        kind: Kind = JSON,
    ) -> None:
        self._allowed = allowed or Allowed()
        self._resolve = resolve or Resolver()
        self._network = network or AnyIOBackend()
        self._tls = tls
        self._kind = kind

    async def __call__(self, uri: str, *, ca: str | None = None) -> Fetched:
        """Return the document at this URL, which oauth.jwks_uri has parsed.

        `ca` are PEM certificates: then they alone vouch for the host, and no authority of the machine.
        """
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                return await self._fetch(uri, self._public_tls() if ca is None else _private_tls(ca))
        except TimeoutError:
            raise Rejected(Reason.JWKS_TIMEOUT, detail=_host(uri)) from None
        except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
            raise _failed(uri, error) from None

    def _public_tls(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    async def _fetch(self, uri: str, tls: ssl.SSLContext) -> Fetched:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port or 443
        network = _Pinned(await self._addresses(host, port), self._network)
        url = httpcore2.URL(scheme="https", host=host, port=parts.port, target=_target(uri))
        # A pool for each fetch, so that no connection is shared.
        pool = httpcore2.AsyncConnectionPool(ssl_context=tls, network_backend=network)
        # RFC 9110 section 7.2: httpcore leaves out the brackets of an IPv6 address.
        headers = [("Host", parts.netloc), *_HEADERS]
        async with network, pool, pool.stream("GET", url, headers=headers) as response:
            return await _read(response, self._kind)

    async def _addresses(self, host: str, port: int) -> list[Address]:
        found = [ipaddress.ip_address(text) for text in await self._look_up(host, port)]
        if not found:
            raise Rejected(Reason.JWKS_UNAVAILABLE, detail=f"{host} has no address")
        # Attack: a name has public and private addresses. One private address is enough to refuse it.
        forbidden = find_forbidden(host, found, self._allowed)
        if forbidden is not None:
            raise Rejected(Reason.JWKS_BLOCKED, expected="a public address", got=str(forbidden), detail=host)
        return found[:MAX_ADDRESSES]

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        with contextlib.suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        return await self._resolve(host, port)


@lru_cache(maxsize=64)
def _private_tls(ca: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without any authority yet
    context.load_verify_locations(cadata=ca)
    # The operator may give the certificate of the host itself in place of an authority.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


class Resolver:
    """The resolver of the operating system, in threads."""

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(MAX_LOOKUPS)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        if not self._free.acquire(blocking=False):
            raise OSError("the resolver does not answer")
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[str]] = loop.create_future()
        # Not the loop's threads: hanging ones would delay other work and the shutdown.
        threading.Thread(target=self._look_up, args=(host, port, loop, found), daemon=True).start()
        return await found

    def _look_up(
        self, host: str, port: int, loop: asyncio.AbstractEventLoop, found: asyncio.Future[Sequence[str]]
    ) -> None:
        answer: Sequence[str] | OSError
        try:
            answer = [str(row[4][0]) for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        except (OSError, UnicodeError) as error:
            answer = error if isinstance(error, OSError) else OSError("not a host name")
        self._free.release()
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(_settle, found, answer)


def _settle(found: asyncio.Future[Sequence[str]], answer: Sequence[str] | OSError) -> None:
    if found.done():  # the caller stopped waiting
        return
    if isinstance(answer, OSError):
        found.set_exception(answer)
    else:
        found.set_result(answer)


class _Pinned(httpcore2.AsyncNetworkBackend):
    """Connects to checked addresses, whatever the host; TLS still compares the host."""

    def __init__(self, addresses: Sequence[Address], network: httpcore2.AsyncNetworkBackend) -> None:
        self._addresses = addresses
        self._network = network
        self._opened: list[httpcore2.AsyncNetworkStream] = []

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_: object) -> None:
        # httpcore leaks a connection whose TLS handshake is cancelled.
        for stream in self._opened:
            await stream.aclose()

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - that is the point
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109, ARG002 - httpcore's signature; the whole has a deadline
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        *others, last = map(str, self._addresses)
        for address in others:
            with contextlib.suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return await self._open(address, port, CONNECT_SECONDS, local_address, socket_options)
        return await self._open(last, port, None, local_address, socket_options)

    async def _open(self, *where: Any) -> httpcore2.AsyncNetworkStream:
        stream = await self._network.connect_tcp(*where)
        self._opened.append(stream)
        return stream


async def _read(response: httpcore2.Response, kind: Kind) -> Fetched:
    headers = [(name.lower(), value.decode("latin-1").strip()) for name, value in response.headers]
    if response.status != _OK:
        raise Rejected(Reason.JWKS_STATUS, expected="200", got=str(response.status))
    _check_headers(headers, kind)
    body = bytearray()
    async for chunk in response.aiter_stream():
        body += chunk
        if len(body) > kind.most:
            raise Rejected(Reason.JWKS_TOO_LARGE)
    control = ", ".join(value for name, value in headers if name == b"cache-control")
    return Fetched(bytes(body), parse_max_age(control))


def _check_headers(headers: list[tuple[bytes, str]], kind: Kind) -> None:
    for name, value in headers:
        # Attack: a small compressed body that fills the memory. The request asked for identity.
        if name == b"content-encoding" and value.lower() not in ("", "identity"):
            raise Rejected(Reason.JWKS_MALFORMED, detail="the answer is compressed")
        if name == b"content-type" and kind.types.fullmatch(value.partition(";")[0].strip()) is None:
            raise Rejected(Reason.JWKS_MALFORMED, detail="the answer is not JSON, by its Content-Type")
        if name == b"content-length" and value.isdecimal() and int(value[:20]) > kind.most:
            raise Rejected(Reason.JWKS_TOO_LARGE)


def _failed(uri: str, error: Exception) -> Rejected:
    """Return the refusal for this failure; nothing that the other side sent is repeated."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return Rejected(Reason.JWKS_TLS, detail=f"{_host(uri)}: {_why(cause)}")
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpcore2.ProtocolError):
        return Rejected(
            Reason.JWKS_MALFORMED, detail=f"{_host(uri)}: the answer is not HTTP, or its headers are too long"
        )
    return Rejected(Reason.JWKS_UNAVAILABLE, detail=f"{_host(uri)}: {type(error).__name__}")


def _why(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return error.reason or "TLS failed"


def _host(uri: str) -> str:
    return urlsplit(uri).hostname or ""


def _target(uri: str) -> str:
    parts = urlsplit(uri)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
