"""An authorization endpoint that refuses every request, for client libraries that insist on one.

MSAL and the SDKs of MCP reject metadata without `authorization_endpoint`, although a client that is a service never
uses it. So an operator may publish one that gives the same refusal to every request (RFC 6749 section 3.1.1). It
reads nothing of the request and never redirects: the `redirect_uri` is an attacker's choice (RFC 9700 4.11).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from affiant.server.published.public import PLAIN

_METHODS = ["GET", "POST"]  # RFC 6749 section 3.1
_HEADERS = {**PLAIN, "Cache-Control": "no-store"}
_REFUSAL = {
    "error": "unsupported_response_type",
    "error_description": "this server authorizes services, at its token endpoint; nobody logs in here",
}


class Stub:
    """An authorization endpoint that refuses every request."""

    def __init__(self, issuer: str) -> None:
        self._url = f"{issuer}/authorize"

    def metadata(self) -> dict[str, Any]:
        """What the server's metadata say of it (RFC 8414 section 2)."""
        return {"authorization_endpoint": self._url}

    def routes(self) -> list[Route]:
        """Where it is."""
        return [Route(urlsplit(self._url).path, _refuse, methods=_METHODS)]


async def _refuse(_: Request) -> Response:
    return JSONResponse(_REFUSAL, 400, _HEADERS)
