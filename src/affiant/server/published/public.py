"""Routes of documents and pages: the headers of all, CORS on the public documents, and preconditions.

Pages of any origin may read the public documents: an MCP client in a browser discovers the server by them. The other
endpoints have no CORS headers: they are for clients with a key or a secret, which a page cannot keep, and a page of
another origin should send nothing to a server in its reader's network. `/health` has none either: it says why the
server is not ready.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from affiant.server.request.http import NO_SNIFF, NO_STORE

Show = Callable[[Request], Awaitable[Response]]

ANY_ORIGIN = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "ETag, Retry-After, X-Trace-Id"}
PREFLIGHT = {
    **NO_SNIFF,
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    # Named as well, for browsers that take * for a name.
    "Access-Control-Allow-Headers": "If-None-Match, MCP-Protocol-Version, *",
    "Access-Control-Max-Age": "86400",
    "Allow": "GET, HEAD, OPTIONS",
}


def route(path: str, show: Show, *methods: str) -> Route:
    """Return a route without CORS headers, whose answers are not stored."""

    @wraps(show)
    async def answer(request: Request) -> Response:
        response = await show(request)
        response.headers.update(NO_STORE)
        return response

    return Route(path, answer, methods=methods or None)


def public_route(path: str, show: Show) -> Route:
    """Return the route of a document for pages of any origin, with its preflight (Fetch 4.8)."""

    @wraps(show)
    async def answer(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=PREFLIGHT)
        response = await show(request)
        response.headers.update(NO_SNIFF | ANY_ORIGIN)
        return response

    return Route(path, answer, methods=["GET", "OPTIONS"])


def is_known(request: Request, etag: str) -> bool:
    """Whether If-None-Match has this ETag, by the weak comparison, or is ``*`` (RFC 9110 sections 8.8.3.2, 13.1.2)."""
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return etag.removeprefix("W/") in known or known == ["*"]
