"""Spans of OpenTelemetry for the requests to the endpoints that decide something, with what was decided."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from affiant.oauth import names
from affiant.server.request.notes import REFUSED, Request
from affiant.telemetry.tracing import propagation
from affiant.telemetry.tracing.traces import Traces

Tally = Callable[[Request, str | None, str | None], None]
# Attack: a stranger writes any text as the method of HTTP or as the grant.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
_OTHER_METHOD = "_OTHER"  # as the semantic conventions have it
_GRANTS = frozenset({names.CLIENT_CREDENTIALS, names.REFRESH_TOKEN, names.JWT_BEARER, names.TOKEN_EXCHANGE})
_FAILED = 500  # a server is at fault from this status on


class Spans:
    """Makes the spans of one server.

    `is_linked`: each request begins a trace of its own, with a link to that of its sender, as OpenTelemetry advises for
    public endpoints. Attack: a stranger chooses the trace, and whether it is sampled.
    """

    def __init__(self, traces: Traces, issuer: str, *, is_linked: bool) -> None:
        place = urlsplit(issuer)
        self._tracer, self._is_linked = traces.tracer, is_linked
        # Not from the request: a stranger writes its Host.
        self._place: dict[str, str | int] = {"url.scheme": place.scheme, "server.address": place.hostname or ""}
        if place.port is not None:
            self._place["server.port"] = place.port

    def around(self, endpoint: ASGIApp, path: str) -> ASGIApp:
        """Return this endpoint with a span for each request; a path that ends in a slash has one more segment."""
        route = f"{path}{{client_id}}" if path.endswith("/") else path

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            with self._begin(scope, route) as span:
                await endpoint(scope, receive, _noting(span, send))

        return traced

    def telling(self, tally: Tally) -> Tally:
        """Return this function, which is called with each decision, so that the span of the request has it, too."""

        def told(request: Request, reason: str | None, used: str | None) -> None:
            tally(request, reason, used)
            span = trace.get_current_span()
            if span.is_recording():
                span.set_attributes(_decided(request, reason))

        return told

    def _begin(self, scope: Scope, route: str) -> Any:
        method = scope["method"] if scope["method"] in _METHODS else _OTHER_METHOD
        headers = scope["headers"]
        return self._tracer.start_as_current_span(
            f"{method if method != _OTHER_METHOD else 'HTTP'} {route}",
            context=Context() if self._is_linked else propagation.incoming(headers),
            kind=SpanKind.SERVER,
            links=propagation.links(headers) if self._is_linked else None,
            attributes={**self._place, **_described(scope, method, route)},
            record_exception=False,
            set_status_on_exception=False,  # its text may be a stranger's
        )


def _described(scope: Scope, method: str, route: str) -> dict[str, str]:
    """Return what a request says of itself, without its query and, unless it is the route, its path."""
    found = {"http.request.method": method, "http.route": route, "network.protocol.version": scope["http_version"]}
    if scope["path"] == route:
        found["url.path"] = route
    if scope.get("client"):
        found["client.address"] = scope["client"][0]
    return found


def _decided(request: Request, reason: str | None) -> dict[str, str]:
    notes, caller = request.notes, request.notes.caller
    found = {
        "affiant.trace_id": request.trace_id,
        "affiant.endpoint": request.endpoint,
        "affiant.outcome": REFUSED if reason is not None else notes.outcome,
        "affiant.reason": reason,
        "affiant.grant": (notes.grant if notes.grant in _GRANTS else "other") if notes.grant else None,
        "affiant.method": caller.method if caller is not None else None,
        "affiant.client_id": caller.client_id if caller is not None else notes.client_id,
    }
    return {name: value for name, value in found.items() if value is not None}


def _noting(span: Span, send: Send) -> Send:
    async def noted(message: Message) -> None:
        if message["type"] == "http.response.start":
            status = message["status"]
            span.set_attribute("http.response.status_code", status)
            if status >= _FAILED:
                span.set_attribute("error.type", str(status))
                span.set_status(StatusCode.ERROR)
        await send(message)

    return noted
