"""The context of a trace in the headers of a request (W3C Trace Context). Baggage is neither sent nor read.

What a program keeps in its baggage is for its own services; a token request may go to another party.
"""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import Link, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_LONGEST = 512  # characters, of each header
Headers = Iterable[tuple[bytes, bytes]]  # of ASGI: names in lower case

_w3c = TraceContextTextMapPropagator()


class _Bounded(Getter[Headers]):
    """Reads one value of each header.

    Attack: OpenTelemetry logs a warning for each header that is too long, so a stranger could fill the log. Two
    parents are no parent (W3C Trace Context section 3.2.1).
    """

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        values = [value for name, value in carrier if name == key.encode("ascii")]
        if len(values) != 1 or len(values[0]) > _LONGEST:
            return None
        return [values[0].decode("latin-1")]

    def keys(self, carrier: Headers) -> list[str]:
        return [name.decode("latin-1") for name, _ in carrier]


_bounded = _Bounded()


def outgoing() -> dict[str, str]:
    """Return the headers that make the current span the parent of what a request causes; none without a span."""
    headers: dict[str, str] = {}
    _w3c.inject(headers)
    return headers


def incoming(headers: Headers) -> Context:
    """Return the context in which a request is served: that of the current span, or else of the request's sender."""
    if trace.get_current_span().get_span_context().is_valid:
        return context.get_current()
    return _w3c.extract(headers, Context(), _bounded)


def links(headers: Headers) -> list[Link]:
    """Return a link to the sender's span, for a trace that begins here."""
    found: SpanContext = trace.get_current_span(_w3c.extract(headers, Context(), _bounded)).get_span_context()
    return [Link(found)] if found.is_valid else []
