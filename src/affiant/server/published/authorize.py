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

from affiant.server.published.public import route

_REFUSAL = {
    "error": "unsupported_response_type",
    "error_description": "this server authorizes services, at its token endpoint; users do not log in here",
}


class Stub:
    """An authorization endpoint that refuses every request."""

    def __init__(self, issuer: str) -> None:
        self._url = f"{issuer}/authorize"

    def metadata(self) -> dict[str, Any]:
        return {"authorization_endpoint": self._url}

    def routes(self) -> list[Route]:
        return [route(urlsplit(self._url).path, _refuse, "GET", "POST")]  # RFC 6749 section 3.1


async def _refuse(_: Request) -> Response:
    return JSONResponse(_REFUSAL, 400)
