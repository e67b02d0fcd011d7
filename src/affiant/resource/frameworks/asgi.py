"""The guard as ASGI middleware."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence

from affiant.oauth.parameters.need import Need, Needed
from affiant.oauth.resource_request import Scope
from affiant.resource.answers import NO_ROUTE, Denied
from affiant.resource.caller import Caller, headers_of
from affiant.resource.checks import Checks
from affiant.resource.frameworks import checked
from affiant.resource.frameworks import routes as rules
from affiant.resource.frameworks.routes import PUBLIC
from affiant.resource.metadata import Published

Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

DENIAL = "websocket.http.response"  # the extension of ASGI by which a server refuses a WebSocket with a whole response
MOST_LAYERS = 32  # of middleware in front of an application
_STARTS = ("http.response.start", "websocket.accept", f"{DENIAL}.start")


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

    A path is what the router of the application decides by: without the root_path where the application is mounted.

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
        """Check a request or a WebSocket, then pass it on. Begin to fetch the keys when the application starts."""
        if await _serve(self._guard.published, scope, send):
            return
        if scope["type"] == "lifespan":
            self._guard.warm_up()
            await self._app(scope, receive, send)
            return
        if scope["type"] not in ("http", "websocket"):
            raise RuntimeError(f"GuardMiddleware knows no ASGI scope of type {scope['type']!r}")
        need = self._find(scope)
        if need is PUBLIC:
            await self._app(scope, receive, send)
            return
        found = need if isinstance(need, Denied) else await checked.check(self._guard, scope, need, scope)
        if isinstance(found, Denied):
            await deny(found, scope, send)
            return
        await self._app(scope, receive, with_next_nonce(scope, send) if headers_of(found) else send)

    def _find(self, scope: Scope) -> Need | Denied | None:
        full_path, raw_path = scope["path"], scope.get("raw_path") or b""
        root_path = _own_root_path(self._app, scope) or scope.get("root_path", "")
        path = rules.mounted_path(full_path, root_path)
        # Attack: Litestar removes the root_path, and all before it, wherever a path has it.
        if path == full_path and root_path.strip("/") and root_path in full_path:
            return NO_ROUTE
        return self._find_need(scope.get("method", "GET"), path, raw_path.decode("latin-1"), full_path)


def _own_root_path(app: object, scope: Scope) -> str:
    """Return what the application puts in place of the server's root_path, also behind other middleware.

    Attack: FastAPI has a `root_path`, and Django FORCE_SCRIPT_NAME. Their routes answer with that prefix, too.
    """
    django = sys.modules.get("django.core.handlers.asgi")
    for _ in range(MOST_LAYERS):
        # Quart has a root_path, too: the folder of the module `import_name`.
        if (found := getattr(app, "root_path", "")) and not hasattr(app, "import_name"):
            return str(found)
        if django is not None and isinstance(app, django.ASGIHandler):
            return str(django.get_script_prefix(scope))
        app = getattr(app, "app", None) or getattr(app, "_app", None)
        if app is None:
            break
    return ""


class Installed:
    """An application with a guard installed: it serves the metadata of the API, and the next nonce with responses."""

    def __init__(self, app: App, guard: Checks, published: Published | None) -> None:
        self._app, self._guard, self._published = app, guard, published

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass all on but a request for the metadata. Begin to fetch the keys when the application starts."""
        if await _serve(self._published, scope, send):
            return
        if scope["type"] == "lifespan":
            self._guard.warm_up()
        await self._app(scope, receive, with_next_nonce(scope, send))


def with_next_nonce(scope: Scope, send: Send) -> Send:
    """Return `send` with the nonce for the caller in the response, in place of headers with the same names."""

    async def send_with_nonce(message: Scope) -> None:
        caller = scope.get(checked.CALLER) if message["type"] in _STARTS else None
        if isinstance(caller, Caller) and (headers := headers_of(caller)):
            added = _encoded(headers)
            names = {name for name, _ in added}
            others = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in names]
            message = {**message, "headers": [*others, *added]}
        await send(message)

    return send_with_nonce


async def _serve(published: Published | None, scope: Scope, send: Send) -> bool:
    """Answer a request for the metadata; return whether it is one."""
    if published is None or scope["type"] != "http":
        return False
    if published.path not in (scope["path"], rules.mounted_path(scope["path"], scope.get("root_path", ""))):
        return False
    status, headers, body = published.answer(scope["method"])
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    return True


async def deny(denied: Denied, scope: Scope, send: Send) -> None:
    """Answer a request. Refuse a WebSocket before it is accepted, with the same answer if the server can send one."""
    kind = "http.response"
    if scope["type"] == "websocket":
        if DENIAL not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008})  # the server makes it a 403
            return
        kind = DENIAL
    headers = [*_encoded(denied.headers), (b"content-length", b"%d" % len(denied.body))]
    await send({"type": f"{kind}.start", "status": denied.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": b"" if scope.get("method") == "HEAD" else denied.body})


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
