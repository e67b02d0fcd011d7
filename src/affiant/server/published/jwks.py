"""The key set: what tokens of this server verify with, for anybody (RFC 7517 section 5)."""

from __future__ import annotations

import json
from hashlib import sha256

from starlette.requests import Request
from starlette.responses import Response

from affiant.jose import base64url
from affiant.server.published import preconditions
from affiant.server.registry.directory import Directory


class Jwks:
    """Answers with the keys that are announced, active or retiring."""

    def __init__(self, directory: Directory, *, max_age: int) -> None:
        self._directory = directory
        self._headers = {"Cache-Control": f"public, max-age={max_age}"}

    async def show(self, request: Request) -> Response:
        """The set, or 304 to who has it already (RFC 9110 section 13.1.2)."""
        await self._directory.refresh()
        body = json.dumps(self._directory.published_keys().to_jwks(), separators=(",", ":")).encode()
        etag = f'"{base64url.encode(sha256(body).digest()[:12])}"'
        headers = {**self._headers, "ETag": etag}
        if preconditions.is_known(request, etag):
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)
