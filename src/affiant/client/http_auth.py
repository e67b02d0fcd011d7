"""One `auth=` object for httpx2, httpx and requests; it depends on none of them.

It has the bases of those that are loaded, so that each recognises it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from affiant.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from affiant.client.token_source import Key, TokenSource

_UNAUTHORIZED = 401
_PORTS = {"http": 80, "https": 443}


class ServiceAuth:
    """Adds the token; renews it once when the API refuses it; sends it to one origin only."""

    requires_request_body = False
    requires_response_body = False

    def __init__(self, source: TokenSource, key: Key, origin: str | None) -> None:
        self._source = source
        self._key = key
        self._origin = _origin(origin) if origin is not None else None

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """For httpx2.Client and httpx.Client."""
        self._check(str(request.url))
        token = self._source.get(self._key).value
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if _wants_another(response):
            self._source.forget(self._key, token)
            request.headers["Authorization"] = f"Bearer {self._source.get(self._key).value}"
            yield request

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """For httpx2.AsyncClient and httpx.AsyncClient."""
        self._check(str(request.url))
        token = (await self._source.aget(self._key)).value
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if _wants_another(response):
            self._source.forget(self._key, token)
            request.headers["Authorization"] = f"Bearer {(await self._source.aget(self._key)).value}"
            yield request

    def __call__(self, request: Any) -> Any:
        """For requests."""
        self._check(request.url)
        token = self._source.get(self._key).value
        request.headers["Authorization"] = f"Bearer {token}"
        body = getattr(request, "body", None)
        if body is None or isinstance(body, str | bytes):  # a stream cannot be sent twice
            request.register_hook("response", lambda response, **options: self._again(response, token, options))
        return request

    def _again(self, response: Any, token: str, options: dict[str, Any]) -> Any:
        if not _wants_another(response):
            return response
        self._source.forget(self._key, token)
        _ = response.content  # lets the connection be used again
        again = response.request.copy()
        again.deregister_hook("response", again.hooks["response"][-1])
        again.headers["Authorization"] = f"Bearer {self._source.get(self._key).value}"
        return response.connection.send(again, **options)

    def _check(self, url: str) -> None:
        if self._origin is not None and _origin(url) != self._origin:
            raise LocalError(
                f"this token is for {self._origin}, and the request goes to {_origin(url)}:"
                " nothing was sent; name the origin with service.auth(…, origin=…) if it is right"
            )


def make_auth(source: TokenSource, key: Key, origin: str | None) -> ServiceAuth:
    """A ServiceAuth that httpx2, httpx and requests recognise, as far as they are loaded."""
    bases = [getattr(sys.modules[name], "Auth", None) for name in ("httpx2", "httpx") if name in sys.modules]
    if "requests" in sys.modules:
        bases.append(sys.modules["requests"].auth.AuthBase)
    kind = type("ServiceAuth", (ServiceAuth, *dict.fromkeys(base for base in bases if base is not None)), {})
    made: ServiceAuth = kind(source, key, origin if origin and urlsplit(origin).scheme in _PORTS else None)
    return made


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{parts.port or _PORTS.get(parts.scheme, 0)}"


def _wants_another(response: Any) -> bool:
    """Whether a new token may help: 401, and not for another reason than the token (RFC 6750 section 3.1)."""
    challenge = str(response.headers.get("WWW-Authenticate", ""))
    return response.status_code == _UNAUTHORIZED and ("invalid_token" in challenge or "error=" not in challenge)
