"""The admin API: what an operator reads and changes, for programs (docs/reference/admin.md)."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

from affiant.server.request import http


class Late:
    """The admin API of a server, loaded when somebody first calls it: few of its processes ever need it."""

    def __init__(self, *, clock: Callable[[], float], **parts: Any) -> None:
        self._clock = clock
        self._parts = parts
        self._lock = asyncio.Lock()
        self._app: Any = None

    async def __call__(self, scope: http.Scope, receive: http.Receive, send: http.Send) -> None:
        """Answer one request."""
        async with self._lock:
            if self._app is None:
                # On a thread: it takes a third of a second, and tokens are issued meanwhile.
                self._app = await asyncio.to_thread(self._build)
        await self._app(scope, receive, send)

    def _build(self) -> Any:
        from affiant.server.admin import app  # noqa: PLC0415
        from affiant.server.admin.calls import Desk  # noqa: PLC0415

        built = app.build(Desk(**self._parts), clock=self._clock)
        if gc.get_freeze_count():  # in a server that keeps its imports out of garbage collection, these too
            gc.freeze()
        return built
