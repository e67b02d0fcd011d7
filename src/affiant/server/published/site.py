"""The public routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from affiant.oauth import names
from affiant.oauth.metadata import well_known_url
from affiant.server.published import pages
from affiant.server.published.health import Health
from affiant.server.published.jwks import Jwks
from affiant.server.published.public import public_route, route
from affiant.server.published.revocations import RevocationFeed


def routes(
    issuer: str, document: Callable[[], Awaitable[dict[str, Any]]], jwks: Jwks, health: Health, feed: RevocationFeed
) -> list[Route]:
    """The routes of this issuer; `document` is its metadata as it is now."""
    path = urlsplit(issuer).path

    async def show_metadata(_: Request) -> Response:
        return JSONResponse(await document(), headers={"Cache-Control": "public, max-age=300"})

    async def show_reason(request: Request) -> Response:
        page = pages.reason(request.path_params["code"], issuer)
        status = 200 if page else 404
        return HTMLResponse(page or pages.index(issuer), status_code=status, headers=pages.SECURITY_HEADERS)

    async def show_reasons(_: Request) -> Response:
        return HTMLResponse(pages.index(issuer), headers=pages.SECURITY_HEADERS)

    # RFC 8414 3.1 puts the well-known part before the issuer's path, OpenID Connect Discovery 4.1 after it; there are
    # clients that look for each document in either place.
    suffixes = (names.WELL_KNOWN_OAUTH, names.WELL_KNOWN_OPENID)
    discovery = {urlsplit(well_known_url(issuer, suffix=suffix)).path for suffix in suffixes}
    discovery |= {f"{path}{suffix}" for suffix in suffixes}
    return [
        *(public_route(place, show_metadata) for place in sorted(discovery)),
        public_route(f"{path}/jwks", jwks.show),
        public_route(f"{path}/revocations", feed.show),
        route(f"{path}/health", health.ready),
        route(f"{path}/health/ready", health.ready),
        route(f"{path}/health/live", health.live),
        public_route(f"{path}/errors", show_reasons),
        public_route(f"{path}/errors/{{code}}", show_reason),
    ]
