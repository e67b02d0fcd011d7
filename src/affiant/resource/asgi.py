"""The guard as ASGI middleware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from affiant.oauth.parameters import need as needs
from affiant.oauth.parameters.need import Needed
from affiant.oauth.resource_request import Scope
from affiant.resource.answers import Denied
from affiant.resource.guard import Guard, check_list, headers_of

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

    Raises:
        ConfigError: `need` is no scope, or `public` is not a list of str.
    """

    def __init__(self, app: App, guard: Guard, *, need: Needed = (), public: Sequence[str] = ()) -> None:
        self._app = app
        self._guard = guard
        check_list("public", public)
        self._need = needs.parse(need)
        self._public = frozenset(public)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request or a WebSocket, then pass it on. Lifespan is passed on unchecked."""
        published = self._guard.published
        if published is not None and scope["type"] == "http" and scope["path"] == published.path:
            status, headers, body = published.answer(scope["method"])
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        if scope["type"] == "lifespan" or scope.get("path") in self._public:
            await self._app(scope, receive, send)
            return
        if scope["type"] not in ("http", "websocket"):
            raise RuntimeError(f"GuardMiddleware knows no ASGI scope of type {scope['type']!r}")
        found = await self._guard.check_scope(scope, need=self._need)
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
