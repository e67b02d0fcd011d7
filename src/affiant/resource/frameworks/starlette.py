"""The guard in Starlette: a decorator for endpoints, and a backend for its AuthenticationMiddleware."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser
from starlette.concurrency import run_in_threadpool
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.websockets import WebSocket

from affiant.errors import ConfigError
from affiant.oauth.parameters import need as needs
from affiant.oauth.parameters.need import Need, Needed
from affiant.oauth.resource_request import Scope
from affiant.resource.answers import Denied
from affiant.resource.caller import Caller, headers_of
from affiant.resource.checks import Checks
from affiant.resource.frameworks import asgi, checked

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class Decorator(Protocol):
    """Of an endpoint."""

    def __call__(self, endpoint: Endpoint, /) -> Endpoint: ...


class CallerUser(SimpleUser):
    """``request.user``: the caller, whose name is its client_id.

    Attributes:
        caller: of the request.
    """

    def __init__(self, caller: Caller) -> None:
        super().__init__(caller.client_id)
        self.caller = caller


class GuardBackend(AuthenticationBackend):
    """Authenticates requests for AuthenticationMiddleware: ``request.user.caller`` and ``request.auth.scopes``.

    Args:
        guard: checks the tokens.
        need: the scopes that every token must have. If left out, a request without a token passes as Starlette's
            UnauthenticatedUser, and ``@requires`` decides.

    Give the middleware `on_error`, too: it answers a refusal exactly.
    """

    def __init__(self, guard: Checks, need: Needed | None = None) -> None:
        self._guard = guard
        self._need = None if need is None else needs.parse(need)

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, CallerUser] | None:
        """Return the scopes with ``authenticated``, and the caller; raise AuthenticationError for a refusal."""
        if self._need is None and "authorization" not in conn.headers:
            return None
        found = await checked.check(self._guard, conn.scope, self._need or needs.parse(()), conn.scope)
        if isinstance(found, Denied):
            raise _Refused(found)
        return _credentials(found)

    @staticmethod
    def on_error(_: HTTPConnection, error: Exception) -> Response:
        """Return the response for a refusal of this backend; for one of another, that of Starlette."""
        return response(error.denied) if isinstance(error, _Refused) else PlainTextResponse(str(error), status_code=400)


class _Refused(AuthenticationError):
    def __init__(self, denied: Denied) -> None:
        super().__init__(denied.error)
        self.denied = denied


def guarded(guard: Checks, need: Need) -> Decorator:
    """Return a decorator for a function, a method or a class that is an endpoint of HTTP or WebSocket."""

    def decorate(endpoint: Any) -> Any:
        if isinstance(endpoint, type):
            return _guarded_class(guard, need, endpoint)
        return _guarded_function(guard, need, endpoint)

    return decorate


def _guarded_function(guard: Checks, need: Need, endpoint: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(endpoint)
    async def check(*args: Any) -> Any:
        connection: HTTPConnection = args[-1]
        found = await _check(guard, connection.scope, need)
        if isinstance(found, Denied):
            return await _refuse(connection, found)
        if not inspect.iscoroutinefunction(endpoint):
            answer = await run_in_threadpool(endpoint, *args)
        else:
            answer = await endpoint(*args)
        if isinstance(answer, Response):
            answer.headers.update(headers_of(found))
        return answer

    return check


def _guarded_class(guard: Checks, need: Need, endpoint: type) -> type:
    if not issubclass(endpoint, HTTPEndpoint | WebSocketEndpoint):
        raise ConfigError(f"{endpoint.__name__} is neither an HTTPEndpoint nor a WebSocketEndpoint")

    async def dispatch(self: Any) -> None:
        found = await _check(guard, self.scope, need)
        if isinstance(found, Denied):
            await asgi.deny(found, self.scope, self.send)
            return
        self.send = asgi.with_next_nonce(self.scope, self.send)
        await endpoint.dispatch(self)

    members = {"dispatch": dispatch, "__doc__": endpoint.__doc__, "__module__": endpoint.__module__}
    return type(endpoint.__name__, (endpoint,), members)


async def _check(guard: Checks, scope: Scope, need: Need) -> Caller | Denied:
    found = await checked.check(guard, scope, need, scope)
    if isinstance(found, Caller):
        scope["auth"], scope["user"] = _credentials(found)
    return found


async def _refuse(connection: HTTPConnection, denied: Denied) -> Response | None:
    if not isinstance(connection, WebSocket):
        return response(denied)
    if asgi.DENIAL in (connection.scope.get("extensions") or {}):
        await connection.send_denial_response(response(denied))
    else:
        await connection.close(1008)
    return None


def _credentials(caller: Caller) -> tuple[AuthCredentials, CallerUser]:
    return AuthCredentials(["authenticated", *sorted(caller.scopes)]), CallerUser(caller)


def response(denied: Denied) -> Response:
    """Return the refusal, exactly; on a WebSocket it is a denial response, where the server can send one."""
    return Response(denied.body, denied.status, headers=denied.headers)


def install(guard: Checks, app: Starlette) -> None:
    """Put `Installed` in front of the application."""
    app.add_middleware(asgi.Installed, guard=guard, published=guard.publish())
