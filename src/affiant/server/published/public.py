"""What all answers to a page have in common, and the step that lets browsers of any origin read the public ones.

The documents are public, so any page may read them: an MCP client in a browser finds the server by them. The other
endpoints have no CORS headers. They are for clients with a key or a secret, which a page cannot keep, and a page of
another origin should send nothing to a server in the network of its reader. `/health` has none either: it says why the
server is not ready.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    Show = Callable[[Request], Awaitable[Response]]

PLAIN = {"X-Content-Type-Options": "nosniff"}
ANY_ORIGIN = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "ETag, Retry-After, X-Trace-Id"}
PREFLIGHT = {
    **PLAIN,
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    # Named as well, for browsers that take * for a name.
    "Access-Control-Allow-Headers": "If-None-Match, MCP-Protocol-Version, *",
    "Access-Control-Max-Age": "86400",
    "Allow": "GET, HEAD, OPTIONS",
}


def route(path: str, show: Show) -> Route:
    """Return the route of a page that is for one origin."""

    @wraps(show)
    async def answer(request: Request) -> Response:
        response = await show(request)
        response.headers.update(PLAIN)
        return response

    return Route(path, answer)


def public_route(path: str, show: Show) -> Route:
    """Return the route of a document that pages of any origin may read, with its preflight (Fetch 4.8)."""

    @wraps(show)
    async def answer(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=PREFLIGHT)
        response = await show(request)
        response.headers.update(PLAIN | ANY_ORIGIN)
        return response

    return Route(path, answer, methods=["GET", "OPTIONS"])
