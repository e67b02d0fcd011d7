"""The public routes: metadata (RFC 8414), keys, reasons, health; and the answers to requests that have no route."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from affiant.errors import ConfigError, StoreError
from affiant.jose import base64url
from affiant.jose.key_set import KeySet
from affiant.oauth import names as registered
from affiant.oauth.metadata import well_known_url
from affiant.server.published import pages
from affiant.server.published.public import ANY_ORIGIN, Show, is_known, public_route, route
from affiant.server.published.revocations import RevocationFeed
from affiant.server.registry.directory import Directory
from affiant.server.request.background import Background
from affiant.server.request.http import NO_STORE
from affiant.server.request.notes import without_credentials
from affiant.system.identifiers import new_trace_id

log: logging.Logger = logging.getLogger(__name__)

_NOT_FOUND = 404
_NO_USERS = {
    "error": "unsupported_response_type",
    "error_description": "this server authorizes services, at its token endpoint; users do not log in here",
}


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
    suffixes = (registered.WELL_KNOWN_OAUTH, registered.WELL_KNOWN_OPENID)
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


def names(of: Iterable[BaseRoute]) -> dict[str, str]:
    """Return the names of the published documents, by their paths; a path with a parameter has none."""
    paths = [one.path for one in of if isinstance(one, Route) and "{" not in one.path]
    return {path: "metadata" if "/.well-known/" in path else path.rpartition("/")[2] for path in paths}


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


def metadata(
    issuer: str, parts: Iterable[dict[str, Any]], *, keys: KeySet, mtls_url: str | None = None
) -> dict[str, Any]:
    """Return the metadata of this server; OpenID Connect discovery serves the same members."""
    document: dict[str, Any] = {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/jwks",
        # RFC 8414 section 2 requires the member, section 3.2 forbids it empty; clients need it, so it is empty.
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": _signing_algorithms(keys),
        "service_documentation": f"{issuer}/errors",
    }
    for part in parts:
        document |= part
    if mtls_url is not None:  # RFC 8705 section 5
        named = [name for name in document if name.endswith("_endpoint")]
        document["mtls_endpoint_aliases"] = {name: mtls_url + document[name].removeprefix(issuer) for name in named}
    return document


def _signing_algorithms(keys: KeySet) -> list[str]:
    """Return the algorithms of the published keys: with these, and no others, access tokens are signed.

    No ID token is ever signed, but relying parties read this member for whatever token they verify:
    express-oauth2-jwt-bearer rejects an algorithm that is missing here. OpenID Connect Discovery 3 wants RS256 from
    every OpenID provider, which this server is not: it lists RS256 when it has a key for it (`--signing-alg RS256`).
    """
    return sorted({key.alg for key in keys.keys if key.alg is not None})


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
        why = await self.obstacles()
        if why:
            return JSONResponse({"status": "failing", "why": why}, status_code=503)
        return JSONResponse({"status": "ok"})

    async def obstacles(self) -> list[str]:
        """Return what keeps tokens from being issued; empty if nothing does."""
        why = self._background.obstacles()
        try:
            await self._directory.refresh()
            _ = self._directory.signer
        except (StoreError, ConfigError) as error:
            why.append(str(error))
        return why


class Stub:
    """An authorization endpoint that refuses every request, for client libraries that insist on one.

    MSAL and the SDKs of MCP reject metadata without `authorization_endpoint`, although a client that is a service never
    uses it. So an operator may publish one that gives the same refusal to every request (RFC 6749 section 3.1.1). It
    reads nothing of the request and never redirects: the `redirect_uri` is an attacker's choice (RFC 9700 4.11).
    """

    def __init__(self, issuer: str) -> None:
        self._url = f"{issuer}/authorize"

    def metadata(self) -> dict[str, Any]:
        return {"authorization_endpoint": self._url}

    def routes(self) -> list[Route]:
        return [route(urlsplit(self._url).path, _refuse, "GET", "POST")]  # RFC 6749 section 3.1


async def _refuse(_: Request) -> Response:
    return JSONResponse(_NO_USERS, 400)


def handlers(issuer: str, *, console: str | None = None) -> dict[Any, Any]:
    """Return the exception handlers for Starlette; a browser at the issuer's URL is led to the path `console`."""
    home = urlsplit(issuer).path
    where = f"the token endpoint is {issuer}/token, and all others are listed at {well_known_url(issuer)}"

    async def not_found(request: Request, error: Exception) -> Response:
        trace_id = new_trace_id()
        # Attack: a scan of paths would fill the audit log, so this goes to the log only, without tokens and line ends.
        log.debug("trace %s: not found: %r %r", trace_id, request.method, without_credentials(request.url.path))
        status = getattr(error, "status_code", _NOT_FOUND)
        headers = {**(getattr(error, "headers", None) or {}), "Vary": "Accept"}
        if status == _NOT_FOUND and _is_browser(request):
            if request.url.path in (home, f"{home}/") and console is not None:
                return RedirectResponse(console, 303, {**NO_STORE, "Vary": "Accept"})
            if request.url.path in (home, f"{home}/"):
                return _page(pages.home(issuer), 200, trace_id)
            return _page(pages.absent(issuer, trace_id), status, trace_id)
        if status == _NOT_FOUND:
            return _refusal(status, "not_found", f"no endpoint has this path; {where}", trace_id, headers)
        allowed = f"this path takes {headers.get('Allow', 'other methods')}; {where}"
        return _refusal(status, "method_not_allowed", allowed, trace_id, headers)

    async def away(_: Request, error: Exception) -> Response:
        trace_id = new_trace_id()
        log.error("trace %s: the store failed: %s", trace_id, error)
        # RFC 9110 10.2.3. Only public documents get here, so any origin may read this refusal too.
        headers = {**ANY_ORIGIN, "Retry-After": "1"}
        return _refusal(503, "temporarily_unavailable", "the store does not answer; retry", trace_id, headers)

    async def failed(_: Request, error: Exception) -> Response:
        trace_id = new_trace_id()
        log.error("trace %s: unexpected: %s", trace_id, type(error).__name__)
        return _refusal(500, "server_error", "the server failed; its log has the trace_id", trace_id, {})

    return {_NOT_FOUND: not_found, 405: not_found, 500: failed, StoreError: away}


def _is_browser(request: Request) -> bool:
    return request.method in ("GET", "HEAD") and "text/html" in request.headers.get("accept", "").lower()


def _page(page: str, status: int, trace_id: str) -> Response:
    headers = {**pages.SECURITY_HEADERS, **NO_STORE, "Vary": "Accept", "X-Trace-Id": trace_id}
    return HTMLResponse(page, status, headers)


def _refusal(status: int, error: str, description: str, trace_id: str, headers: dict[str, str]) -> Response:
    members = {"error": error, "error_description": description, "trace_id": trace_id}
    return JSONResponse(members, status, {**headers, **NO_STORE, "X-Trace-Id": trace_id})
