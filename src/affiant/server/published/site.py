"""The public routes."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from affiant.jose import base64url
from affiant.oauth import names
from affiant.oauth.metadata import well_known_url
from affiant.server.published import pages
from affiant.server.published.health import Health
from affiant.server.published.public import Show, is_known, public_route, route
from affiant.server.published.revocations import RevocationFeed
from affiant.server.registry.directory import Directory


def routes(
    issuer: str,
    *,
    document: Callable[[], Awaitable[dict[str, Any]]],
    directory: Directory,
    max_age: int,
    health: Health,
    feed: RevocationFeed,
) -> list[Route]:
    """Return the routes of this issuer; `document` makes its metadata, `max_age` is of the key set, in seconds."""
    path = urlsplit(issuer).path

    async def show_metadata(_: Request) -> Response:
        return JSONResponse(await document(), headers={"Cache-Control": "public, max-age=300"})

    async def show_reason(request: Request) -> Response:
        page = pages.reason(request.path_params["code"], issuer)
        status = 200 if page else 404
        return HTMLResponse(page or pages.index(issuer), status_code=status, headers=pages.SECURITY_HEADERS)

    async def show_reasons(_: Request) -> Response:
        return HTMLResponse(pages.index(issuer), headers=pages.SECURITY_HEADERS)

    # RFC 8414 3.1 puts the well-known part before the issuer's path, OpenID Connect Discovery 4.1 after it; clients
    # look for each document in either place.
    suffixes = (names.WELL_KNOWN_OAUTH, names.WELL_KNOWN_OPENID)
    discovery = {urlsplit(well_known_url(issuer, suffix=suffix)).path for suffix in suffixes}
    discovery |= {f"{path}{suffix}" for suffix in suffixes}
    return [
        *(public_route(place, show_metadata) for place in sorted(discovery)),
        public_route(f"{path}/jwks", _show_keys(directory, max_age)),
        public_route(f"{path}/revocations", feed.show),
        route(f"{path}/health", health.ready),
        route(f"{path}/health/ready", health.ready),
        route(f"{path}/health/live", health.live),
        public_route(f"{path}/errors", show_reasons),
        public_route(f"{path}/errors/{{code}}", show_reason),
    ]


def _show_keys(directory: Directory, max_age: int) -> Show:
    async def show_keys(request: Request) -> Response:
        await directory.refresh()
        body = json.dumps(directory.published_keys().to_jwks(), separators=(",", ":")).encode()
        etag = f'"{base64url.encode(sha256(body).digest()[:12])}"'
        headers = {"Cache-Control": f"public, max-age={max_age}", "ETag": etag}
        if is_known(request, etag):
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)

    return show_keys
