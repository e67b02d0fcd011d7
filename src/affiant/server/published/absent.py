"""Answers without a route: unknown path, wrong method, unreachable store, unexpected failure."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from affiant.errors import StoreError
from affiant.oauth.metadata import well_known_url
from affiant.server.published import pages
from affiant.server.published.public import ANY_ORIGIN
from affiant.server.request.http import NO_STORE
from affiant.server.request.notes import without_credentials
from affiant.system.identifiers import new_trace_id

log = logging.getLogger(__name__)

_NOT_FOUND = 404


def handlers(issuer: str) -> dict[Any, Any]:
    """Return the exception handlers for Starlette."""
    home = urlsplit(issuer).path
    where = f"the token endpoint is {issuer}/token, and all others are listed at {well_known_url(issuer)}"

    async def not_found(request: Request, error: Exception) -> Response:
        trace_id = new_trace_id()
        # Attack: a scan of paths would fill the audit log, so this goes to the log only, without tokens and line ends.
        log.info("trace %s: not found: %r %r", trace_id, request.method, without_credentials(request.url.path))
        status = getattr(error, "status_code", _NOT_FOUND)
        headers = {**(getattr(error, "headers", None) or {}), "Vary": "Accept"}
        if status == _NOT_FOUND and _is_browser(request):
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
