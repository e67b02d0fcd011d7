"""The ASGI application of a server: its endpoints, what it publishes, and what is loaded late."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from affiant.server.published import site
from affiant.server.request.counting.answers import Counted
from affiant.telemetry import Telemetry


class Server(Starlette):
    """The routes, with a shorter way to the endpoints that authenticate clients."""

    def __init__(
        self,
        *,
        endpoints: Mapping[str, ASGIApp],
        below: dict[str, Late],
        obstacles: Callable[[], Awaitable[list[str]]],
        telemetry: Telemetry,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.obstacles = obstacles  # what keeps tokens from being issued now; empty if nothing does
        # Attack: a redirect for a trailing slash would go to the host that the request names.
        self.router.redirect_slashes = False
        self._endpoints = endpoints
        # By the first part of their paths, whose last segment is their name.
        self._below = {first: Counted(app, telemetry, name=first.rpartition("/")[2]) for first, app in below.items()}
        self._published = Counted(super().__call__, telemetry, site.names(self.routes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # An endpoint answers its own failures, so it needs no middleware.
        endpoint = self.find(scope["path"]) if scope["type"] == "http" else None
        await (endpoint or self._published)(scope, receive, send)

    def find(self, path: str) -> ASGIApp | None:
        """The endpoint of this path; one whose path ends in a slash has all that are one segment longer."""
        endpoint = self._endpoints.get(path)
        if endpoint is not None:
            return endpoint
        # Not by a route's pattern, which matches no path with a line end in it: all of it is behind one gate.
        for first, app in self._below.items():
            if f"{path}/".startswith(f"{first}/"):
                return app
        return self._endpoints.get(path[: path.rfind("/") + 1])


class Late:
    """An ASGI application that is loaded with its first request: few processes ever need it."""

    def __init__(self, load: Callable[[], ASGIApp]) -> None:
        self._load = load
        self._lock = asyncio.Lock()
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._lock:
            if self._app is None:
                # On a thread: it takes a third of a second, in which tokens are issued.
                self._app = await asyncio.to_thread(self._build)
        await self._app(scope, receive, send)

    def _build(self) -> ASGIApp:
        built = self._load()
        if gc.get_freeze_count():  # in a server that keeps its imports out of garbage collection, these too
            gc.freeze()
        return built
