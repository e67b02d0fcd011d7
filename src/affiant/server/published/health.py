"""Whether the server lives, and whether it should be sent requests; and if not, why not."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from affiant.errors import ConfigError, StoreError
from affiant.server.registry.directory import Directory
from affiant.server.request.background import Background

_HEADERS = {"Cache-Control": "no-store"}


class Health:
    """Answers for whoever decides where requests go."""

    def __init__(self, directory: Directory, background: Background) -> None:
        self._directory = directory
        self._background = background

    async def live(self, _: Request) -> Response:
        """200 as long as the process answers at all: a store that is away is no reason to start it anew."""
        return JSONResponse({"status": "ok"}, headers=_HEADERS)

    async def ready(self, _: Request) -> Response:
        """200 when a token could be issued now; 503 with what stands in the way."""
        why = await self._obstacles()
        if why:
            return JSONResponse({"status": "failing", "why": why}, status_code=503, headers=_HEADERS)
        return JSONResponse({"status": "ok"}, headers=_HEADERS)

    async def _obstacles(self) -> list[str]:
        why = self._background.obstacles()
        try:
            await self._directory.refresh()
            _ = self._directory.signer
        except (StoreError, ConfigError) as error:
            why.append(str(error))
        return why
