"""The guard as ASGI middleware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from affiant.oauth.parameters.need import Needed
from affiant.oauth.resource_request import Scope
from affiant.resource.answers import Denied
from affiant.resource.caller import headers_of
from affiant.resource.checks import Checks
from affiant.resource.frameworks import routes as rules
from affiant.resource.frameworks.routes import PUBLIC

Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class GuardMiddleware:
    """Passes on requests and WebSockets with a valid token; the caller is then in ``scope["affiant.caller"]``.

    If the guard publishes metadata of the API, this middleware serves them, without a token.

    Args:
        app: the guarded application.
        guard: checks the tokens.
        need: the scopes that every token must have; as a str, separated by spaces. Of `any_of` one is enough.
        public: paths that need no token.
        routes: what each route needs, in place of `need` and `public`: ``{"GET /orders*": "orders.read"}``; a request
            that no rule names gets 404.

    Raises:
        ConfigError: `need` is no scope, `public` is not a list of str, or a route is none.
    """

    def __init__(
        self,
        app: App,
        guard: Checks,
        *,
        need: Needed = (),
        public: Sequence[str] = (),
        routes: Mapping[str, Needed | None] | None = None,
    ) -> None:
        self._app = app
        self._guard = guard
        self._find_need = rules.finder(need=need, public=public, routes=routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request or a WebSocket, then pass it on. Lifespan is passed on unchecked."""
        published = self._guard.published
        if published is not None and scope["type"] == "http" and scope["path"] == published.path:
            status, headers, body = published.answer(scope["method"])
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] not in ("http", "websocket"):
            raise RuntimeError(f"GuardMiddleware knows no ASGI scope of type {scope['type']!r}")
        raw_path = scope.get("raw_path") or b""
        need = self._find_need(scope.get("method", "GET"), scope["path"], raw_path.decode("latin-1"))
        if need is PUBLIC:
            await self._app(scope, receive, send)
            return
        found = need if isinstance(need, Denied) else await self._guard.check_scope(scope, need=need)
        if isinstance(found, Denied):
            await _send(found, scope, send)
            return
        scope["affiant.caller"] = found
        await self._app(scope, receive, _with_headers(headers_of(found), send))


def _with_headers(headers: dict[str, str], send: Send) -> Send:
    """Return `send` with these headers in the response, in place of its own with the same names."""
    if not headers:
        return send
    added = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    names = {name for name, _ in added}

    async def send_with_headers(message: Scope) -> None:
        if message["type"] == "http.response.start":
            others = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in names]
            message = {**message, "headers": [*others, *added]}
        await send(message)

    return send_with_headers


async def _send(denied: Denied, scope: Scope, send: Send) -> None:
    """Answer a request. Refuse a WebSocket before it is accepted, with the same answer if the server can send one."""
    kind = "http.response"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008})  # the server makes it a 403
            return
        kind = "websocket.http.response"
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in denied.headers.items()]
    headers.append((b"content-length", b"%d" % len(denied.body)))
    await send({"type": f"{kind}.start", "status": denied.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": denied.body})
