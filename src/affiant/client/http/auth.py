"""One `auth=` object for httpx2, httpx, requests and aiohttp; it depends on none of them.

Its class is derived from the auth classes of those that are installed, so that each accepts it. For aiohttp it is a
client middleware.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Generator
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn, Protocol
from urllib.parse import urlsplit

from affiant.client.token import Token, TokenKey
from affiant.errors import LocalError
from affiant.oauth.metadata import is_safe_url

if TYPE_CHECKING:  # it loads cryptography, which a cached token does not need
    from affiant.client.protocol.prover import Prover

_UNAUTHORIZED = 401
_RENEW, _PROVE = "renew the token", "prove with the nonce"
_PORTS = {"http": 80, "https": 443}


class WrongOrigin(LocalError):
    """The request goes to another origin than that of the token. Nothing was sent."""


class NoTls(LocalError):
    """The token would go to another machine without TLS. Nothing was sent."""


class Tokens(Protocol):
    """A source of tokens."""

    def get(self, key: TokenKey) -> Token:
        """Return a good token; block while it is requested."""

    async def aget(self, key: TokenKey) -> Token:
        """Return a good token without blocking the event loop."""

    def forget(self, key: TokenKey, value: str) -> bool:
        """Drop a token that an API refused. Return whether there is another one, or will be."""


class ServiceAuth:
    """Adds the token to requests to one origin, and renews it once if the API refuses it.

    With a prover, adds a DPoP proof too, and makes another one once if the API answers with a nonce.
    """

    requires_request_body = False
    requires_response_body = False

    def __init__(
        self, source: Tokens, key: TokenKey, origin: str | None, prover: Prover | None, *, is_clear_allowed: bool
    ) -> None:
        self._is_clear_allowed = is_clear_allowed
        self._source = source
        self._key = key
        self._origin = origin
        self._prover = prover

    def __reduce__(self) -> NoReturn:
        raise TypeError("an auth contains tokens and cannot be pickled: make it in the process that uses it")

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """For httpx2.Client and httpx.Client."""
        self._check(str(request.url))
        token, tried = self._source.get(self._key).value, set[str]()
        while True:
            self._authorize(request, token)
            response = yield request
            request = response.request  # that of the last hop, if the library followed redirects
            remedy = self._remedy(request, response, token, tried)
            if remedy is None or not _has_whole_body(request):
                return
            if remedy == _RENEW:
                token = self._source.get(self._key).value

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """For httpx2.AsyncClient and httpx.AsyncClient."""
        self._check(str(request.url))
        token, tried = (await self._source.aget(self._key)).value, set[str]()
        while True:
            self._authorize(request, token)
            response = yield request
            request = response.request  # that of the last hop, if the library followed redirects
            remedy = self._remedy(request, response, token, tried)
            if remedy is None or not _has_whole_body(request):
                return
            if remedy == _RENEW:
                token = (await self._source.aget(self._key)).value

    def __call__(self, request: Any, handler: Any = None) -> Any:
        """For requests, and for any other library that calls its auth with the request; with `handler`, for aiohttp."""
        if handler is not None:
            return self._through(request, handler)
        self._check(str(request.url))
        token = self._source.get(self._key).value
        self._authorize(request, token)
        if hasattr(request, "register_hook"):
            tried = set[str]()
            request.register_hook("response", lambda response, **options: self._again(response, token, tried, options))
        return request

    def _again(self, response: Any, token: str, tried: set[str], options: dict[str, Any]) -> Any:
        sent = response.request
        remedy = self._remedy(sent, response, token, tried)
        if remedy is None or (sent.body is not None and not isinstance(sent.body, str | bytes)):
            return response  # a stream cannot be sent twice
        _ = response.content  # makes the connection free again
        again = sent.copy()
        if remedy == _RENEW:
            token = self._source.get(self._key).value
        self._authorize(again, token)
        answer = response.connection.send(again, **options)
        answer.history.append(response)
        return self._again(answer, token, tried, options)

    async def _through(self, request: Any, handler: Any) -> Any:
        """Send a request of aiohttp, as its client middleware."""
        if self._origin is None:
            # Attack: aiohttp calls its middleware again after a redirect, and the token would go wherever that leads.
            raise LocalError("with aiohttp name the origin of the API: service.auth(…, origin=…)")
        self._check(str(request.url))
        token, tried = (await self._source.aget(self._key)).value, set[str]()
        while True:
            self._authorize(request, token)
            response = await handler(request)
            remedy = self._remedy(request, response, token, tried)
            if remedy is None or not _is_sent_again(request.body):
                return response
            response.release()
            if remedy == _RENEW:
                token = (await self._source.aget(self._key)).value

    def _authorize(self, request: Any, token: str) -> None:
        request.headers["Authorization"] = self._credentials(token)
        if self._prover is not None:
            request.headers["DPoP"] = self._prover.prove(request.method, str(request.url), access_token=token)

    def _credentials(self, token: str) -> str:
        return f"{'Bearer' if self._prover is None else 'DPoP'} {token}"

    def _remedy(self, request: Any, response: Any, token: str, tried: set[str]) -> str | None:
        """Return what may help against this response, each remedy once, or None. Forget a refused token."""
        # A library that follows a redirect to another origin drops the header: the token was not sent there, must not
        # be sent now, and was not refused. Attack: that origin answers 401, and the first one gets a POST twice.
        if request.headers.get("Authorization") != self._credentials(token):
            return None
        has_nonce = self._prover is not None and self._prover.learn(str(request.url), response.headers)
        remedy = _PROVE if has_nonce and _wants_nonce(response) else _RENEW if _is_refused(response) else None
        if remedy is None or remedy in tried:
            return None
        tried.add(remedy)
        if remedy == _RENEW and not self._source.forget(self._key, token):
            return None
        return remedy

    def _check(self, url: str) -> None:
        origin = _origin(url)
        if self._origin is not None and origin != self._origin:
            raise WrongOrigin(
                f"this token is for {self._origin}, but the request goes to {origin}: nothing was sent;"
                " if that is right, name the origin with service.auth(…, origin=…)"
            )
        # Attack (RFC 6750 section 5.3): a token is read off the network.
        if not self._is_clear_allowed and not is_safe_url(origin):
            raise NoTls(
                f"the token would go to {origin} without TLS: nothing was sent; use https, or say"
                " service.auth(…, unsafe_http=True) where something else encrypts the connection"
            )


def make_auth(
    source: Tokens,
    key: TokenKey,
    *,
    origin: str | None = None,
    prover: Prover | None = None,
    unsafe_http: bool = False,
) -> ServiceAuth:
    """Return a ServiceAuth that httpx2, httpx, requests and aiohttp accept, as far as they are installed.

    The token is sent to this origin only: by default to that of the resource, or anywhere if the resource is no URL.
    """
    bases = [_base(name) for name in ("httpx2", "httpx")]
    if "requests" in sys.modules:  # requests accepts any callable
        bases.append(sys.modules["requests"].auth.AuthBase)
    kind = type("ServiceAuth", (ServiceAuth, *dict.fromkeys(base for base in bases if base is not None)), {})
    made: ServiceAuth = kind(source, key, _bound(key.resource, origin), prover, is_clear_allowed=unsafe_http)
    return made


def _base(library: str) -> Any:
    try:
        return getattr(import_module(library), "Auth", None)
    except ImportError:
        return None


def _bound(resource: str | None, origin: str | None) -> str | None:
    if origin is not None:
        return _origin(origin)
    return _origin(resource) if resource is not None and resource.lower().startswith(("http:", "https:")) else None


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (KeyError, ValueError):
        raise LocalError(f"{url!r} is not an http or https URL: write it like https://api.example") from None
    if not parts.hostname:
        raise LocalError(f"{url!r} names no host: write it like https://api.example")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def _is_refused(response: Any) -> bool:
    """Whether the API answered 401 because of the token (RFC 6750 section 3.1)."""
    challenge = str(response.headers.get("WWW-Authenticate", ""))
    return _status(response) == _UNAUTHORIZED and ("invalid_token" in challenge or "error=" not in challenge)


def _wants_nonce(response: Any) -> bool:
    """Whether the API answered 401 because the proof needs a nonce (RFC 9449 section 9)."""
    return _status(response) == _UNAUTHORIZED and "use_dpop_nonce" in str(response.headers.get("WWW-Authenticate"))


def _status(response: Any) -> int:
    status: int = response.status if hasattr(response, "status") else response.status_code
    return status


def _is_sent_again(body: Any) -> bool:
    """Whether a body of aiohttp can be sent twice: bytes and text, and no stream."""
    payload = import_module("aiohttp.payload")
    return isinstance(body, bytes | payload.BytesPayload)


def _has_whole_body(request: Any) -> bool:
    """Whether the body can be sent twice: a stream cannot."""
    try:
        _ = request.content
    except RuntimeError:  # RequestNotRead: a stream, or the bytes that a redirect took along
        library = sys.modules[type(request).__module__.partition(".")[0]]
        return isinstance(request.stream, library.ByteStream)
    return True
