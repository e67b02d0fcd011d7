"""The guard as middleware of aiohttp's server."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from affiant.oauth.parameters.need import Needed
from affiant.oauth.resource_request import Scope
from affiant.resource.answers import Denied
from affiant.resource.caller import Caller, headers_of
from affiant.resource.checks import Checks
from affiant.resource.frameworks import checked
from affiant.resource.frameworks import routes as rules
from affiant.resource.frameworks.routes import PUBLIC
from affiant.resource.metadata import Published

CALLER = web.RequestKey("affiant.caller", Caller)  # of a request that the guard passed on
_MARKS = web.RequestKey("affiant.marks", dict[str, Any])


class GuardMiddleware:
    """Passes on requests with a valid token; the caller is then in ``request[CALLER]``.

    A WebSocket is refused before it is accepted. If the guard publishes metadata of the API, this middleware serves
    them, without a token.

    Args:
        guard: checks the tokens.
        need: the scopes that every token must have. Of `any_of` one is enough.
        public: paths that need no token.
        routes: what each route needs, in place of `need` and `public`; a request that no rule names gets 404.

    Raises:
        ConfigError: `need` is no scope, `public` is not a list of str, or a route is none.
    """

    __middleware_version__ = 1  # of aiohttp: called with the request and the next handler

    def __init__(
        self,
        guard: Checks,
        *,
        need: Needed = (),
        public: Sequence[str] = (),
        routes: Mapping[str, Needed | None] | None = None,
    ) -> None:
        self._guard = guard
        self._find_need = rules.finder(need=need, public=public, routes=routes)

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check a request, then pass it on."""
        if (document := _serve(self._guard.published, request)) is not None:
            return document
        need = self._find_need(request.method, request.path, request.rel_url.raw_path)
        if need is PUBLIC:
            return await handler(request)
        marks = request.setdefault(_MARKS, {})
        found = need if isinstance(need, Denied) else await checked.check(self._guard, _scope(request), need, marks)
        if isinstance(found, Denied):
            return web.Response(status=found.status, headers=found.headers, body=found.body)
        request[CALLER] = found
        try:
            response = await handler(request)
        except web.HTTPException as raised:
            await _add_headers(request, raised)
            raise
        if not response.prepared:
            await _add_headers(request, response)
        return response


def install(guard: Checks, app: web.Application) -> None:
    """Serve the metadata, send the next nonce with streams and WebSockets, too, and fetch the keys at the start."""
    published = guard.publish()

    @web.middleware
    async def serve(request: web.Request, handler: Handler) -> web.StreamResponse:
        return _serve(published, request) or await handler(request)

    async def warm_up(_: web.Application) -> None:
        guard.warm_up()

    app.middlewares.insert(0, serve)
    app.on_response_prepare.append(_add_headers)
    app.on_startup.append(warm_up)


def _serve(published: Published | None, request: web.Request) -> web.Response | None:
    """Return the metadata if the request is for them."""
    if published is None or request.path != published.path:
        return None
    status, headers, body = published.answer_text(request.method)
    return web.Response(status=status, headers=headers, body=body)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers that the caller needs."""
    if (caller := request.get(CALLER)) is not None:
        response.headers.update(headers_of(caller))


def _scope(request: web.Request) -> Scope:
    """Return the request in the form of ASGI."""
    return {
        "type": "http",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.rel_url.raw_path.encode("utf-8"),
        "query_string": request.rel_url.raw_query_string.encode("utf-8"),
        "headers": [(name.lower(), value) for name, value in request.raw_headers],
        **_connection(request),
    }


def _connection(request: web.Request) -> dict[str, Any]:
    """Return what the connection itself says of the peer. `request.remote` may be from a header."""
    transport = request.transport
    if transport is None:
        return {}
    peer, tls = transport.get_extra_info("peername"), transport.get_extra_info("ssl_object")
    # TLS does not ask for a certificate that it would not verify.
    der = tls.getpeercert(binary_form=True) if isinstance(tls, ssl.SSLObject) else None
    chain = [ssl.DER_cert_to_PEM_cert(der)] if der else []
    return {
        "client": tuple(peer[:2]) if isinstance(peer, tuple) else None,
        "extensions": {"tls": {"client_cert_chain": chain}},
    }
