"""Health checks: whether the process answers, and whether it should get requests."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from affiant.errors import ConfigError, StoreError
from affiant.server.registry.directory import Directory
from affiant.server.request.background import Background


class Health:
    """Answers the checks of a load balancer or orchestrator."""

    def __init__(self, directory: Directory, background: Background) -> None:
        self._directory = directory
        self._background = background

    async def live(self, _: Request) -> Response:
        """Answer 200, also without a store: that is no reason to restart the process."""
        return JSONResponse({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        """Answer 200 if a token could be issued now, and else 503 with the obstacles."""
        why = await self._obstacles()
        if why:
            return JSONResponse({"status": "failing", "why": why}, status_code=503)
        return JSONResponse({"status": "ok"})

    async def _obstacles(self) -> list[str]:
        why = self._background.obstacles()
        try:
            await self._directory.refresh()
            _ = self._directory.signer
        except (StoreError, ConfigError) as error:
            why.append(str(error))
        return why
