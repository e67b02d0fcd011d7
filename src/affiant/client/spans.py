"""Spans of the token requests of a Service: which client asked for what, and never a token, key or assertion."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from opentelemetry.trace import Span, SpanKind, StatusCode

from affiant.errors import Refused
from affiant.oauth.token import TokenResponse
from affiant.telemetry.tracing.traces import Traces

_PORTS = {"https": 443, "http": 80}
NAME = "affiant.token_request"
# Of the form; all else may hold a token.
_SHOWN = {"grant_type": "affiant.grant", "scope": "affiant.scope", "resource": "affiant.resource"}
Form = list[tuple[str, str]]
Answer = tuple[TokenResponse, float]


def requesting(traces: Traces, issuer: str, client_id: str, request: Callable[[Form], Answer], form: Form) -> Answer:
    """Send a token request, with its retries, in a span that is the current one until it is answered."""
    place = urlsplit(issuer)
    attributes: dict[str, str | int] = {"affiant.issuer": issuer, "affiant.client_id": client_id, **_described(form)}
    if place.hostname:
        attributes |= {"server.address": place.hostname, "server.port": place.port or _PORTS.get(place.scheme, 0)}
    with traces.tracer.start_as_current_span(
        NAME,
        kind=SpanKind.CLIENT,
        attributes=attributes,
        record_exception=False,  # its message quotes what was sent
        set_status_on_exception=False,
    ) as span:
        try:
            return request(form)
        except BaseException as error:
            _fail(span, error)
            raise


def _described(form: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {_SHOWN[name]: value for name, value in form if name in _SHOWN}


def _fail(span: Span, error: BaseException) -> None:
    code = error.error if isinstance(error, Refused) else type(error).__name__
    attributes = {"error.type": code}
    if isinstance(error, Refused) and error.trace_id is not None:
        attributes["affiant.trace_id"] = error.trace_id
    span.add_event("affiant.token_failed", attributes)
    span.set_attributes(attributes)
    span.set_status(StatusCode.ERROR, code)
