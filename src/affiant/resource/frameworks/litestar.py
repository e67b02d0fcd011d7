"""The guard as a guard of Litestar, on any layer: application, router, controller or handler."""

from __future__ import annotations

import logging
from typing import Any

from litestar import Litestar, Request, Response
from litestar.connection import ASGIConnection
from litestar.exceptions import ImproperlyConfiguredException, WebSocketException
from litestar.handlers import BaseRouteHandler

from affiant.oauth.parameters.need import Need
from affiant.oauth.resource_request import Scope
from affiant.resource.answers import Denied
from affiant.resource.caller import Caller
from affiant.resource.checks import Checks
from affiant.resource.frameworks import asgi, checked

log: logging.Logger = logging.getLogger(__name__)

_DENIED = "affiant.denied"  # in the scope of a WebSocket


class Refused(Exception):
    """The guard refuses a request. `install` adds the handler that answers it.

    It is not an HTTPException: the application's own handlers of these have other bodies.
    """

    def __init__(self, denied: Denied) -> None:
        super().__init__(f"{denied.status} {denied.error}")
        self.denied = denied


class RouteGuard:
    """Accepts requests and WebSockets with a valid token; the caller is then ``connection.user``."""

    def __init__(self, guard: Checks, need: Need) -> None:
        self._guard, self._need = guard, need

    def __deepcopy__(self, _: dict[int, Any]) -> RouteGuard:
        """Return this one: Litestar copies each handler with its guards, and these share one cache of keys."""
        return self

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        """Return, or raise what Litestar answers."""
        if Refused not in connection.app.exception_handlers:
            log.error("a guarded route answers 500: call guard.install(app) before the application starts")
            raise ImproperlyConfiguredException("call guard.install(app) before the application starts")
        scope: Any = connection.scope
        found = await checked.check(self._guard, scope, self._need, scope)
        if isinstance(found, Caller):
            scope["user"], scope["auth"] = found, found.claims
            return
        if scope["type"] == "websocket":
            scope[_DENIED] = found
            raise WebSocketException(detail=found.error, code=1008)
        raise Refused(found)


def install(guard: Checks, app: Litestar) -> None:
    """Answer refusals exactly, serve the metadata and the next nonce, and fetch the keys at the start."""
    app.exception_handlers[Refused] = _answer
    installed: Any = asgi.Installed(_with_denials(app.asgi_handler), guard, guard.publish())
    app.asgi_handler = installed
    app.on_startup.append(guard.warm_up)


def _answer(_: Request[Any, Any, Any], refused: Refused) -> Response[bytes]:
    denied = refused.denied
    headers = {name: value for name, value in denied.headers.items() if name != "Content-Type"}
    return Response(denied.body, status_code=denied.status, headers=headers, media_type=denied.headers["Content-Type"])


def _with_denials(app: Any) -> asgi.App:
    """Return the application. It refuses a WebSocket with a whole response, where the server can send one."""

    async def refuse(scope: Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        async def send_denial(message: Scope) -> None:
            denied = scope.pop(_DENIED, None)
            if denied is not None and message["type"] == "websocket.close":
                await asgi.deny(denied, scope, send)
            else:
                await send(message)

        await app(scope, receive, send_denial if scope["type"] == "websocket" else send)

    return refuse
