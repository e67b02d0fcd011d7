"""Count the HTTP answers of published documents, the admin API and the console."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from affiant.telemetry import Telemetry

OTHER = "other"  # Attack: a scan of paths would make ever new labels


class Counted:
    """An ASGI application whose answers are counted by their status.

    Args:
        app: the application.
        telemetry: counts them.
        names: of the documents, by their paths; the name of any other path is `name`.
    """

    def __init__(
        self, app: ASGIApp, telemetry: Telemetry, names: dict[str, str] | None = None, *, name: str = OTHER
    ) -> None:
        self._app, self._telemetry = app, telemetry
        self._names, self._name = names or {}, name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name, status = self._names.get(scope["path"], self._name), 500

        async def note(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            self._telemetry.count("affiant_http_requests_total", name, str(status))
