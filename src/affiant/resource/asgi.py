"""The guard as ASGI middleware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from affiant.errors import Rejected, RemoteError
from affiant.resource.answers import deny
from affiant.resource.request import read, read_certificate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence

    from affiant.resource.guard import Guard

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Scope]]
    Send = Callable[[Scope], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]


class GuardMiddleware:
    """Lets a request through when its token holds; the caller is then in ``scope["affiant.caller"]``.

    Where the guard publishes metadata of the API, they are answered here, to everybody.

    Args:
        app: what is guarded.
        guard: who checks.
        need: the scopes that every request must have.
        public: paths that need no token.
    """

    def __init__(self, app: App, guard: Guard, *, need: Sequence[str] = (), public: Sequence[str] = ()) -> None:
        self._app = app
        self._guard = guard
        self._need = tuple(need)
        self._public = frozenset(public)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then pass on; everything but HTTP and lifespan is refused, since nothing checks it."""
        published = self._guard.published
        if published is not None and scope["type"] == "http" and scope["path"] == published.path:
            status, headers, body = published.answer(scope["method"])
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        if scope["type"] == "lifespan" or scope.get("path") in self._public:
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        values, proved = read(scope, base=self._guard.url)
        try:
            certificate = read_certificate(scope, self._guard.certificate_proxies)
            scope["affiant.caller"] = await self._guard.check(
                values, need=self._need, proved=proved, certificate=certificate
            )
        except (Rejected, RemoteError) as error:
            denied = deny(self._guard, error, values)
            headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in denied.headers.items()]
            headers.append((b"content-length", b"%d" % len(denied.body)))
            await send({"type": "http.response.start", "status": denied.status, "headers": headers})
            await send({"type": "http.response.body", "body": denied.body})
            return
        await self._app(scope, receive, send)
