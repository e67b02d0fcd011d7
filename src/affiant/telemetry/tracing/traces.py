"""The public class: who gives spans of affiant to OpenTelemetry, and where they go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NoReturn

from affiant.errors import ConfigError
from affiant.system.version import __version__

if TYPE_CHECKING:  # the otel extra has it
    from opentelemetry.trace import Tracer, TracerProvider

READ = ("traceparent", "tracestate")  # the headers of W3C Trace Context


class Traces:
    """Traces what affiant does, with OpenTelemetry: give one to `Service`, to `Guard`, or to both.

    A `Service` has a span of kind CLIENT for each token request, and sends ``traceparent`` (W3C Trace Context) with it
    and with the requests to APIs that its `auth` prepares. A `Guard` has a span for each check. No span holds a token,
    an assertion, a key or a secret. docs/how-to/tracing.md has the attributes.

    Args:
        provider: of OpenTelemetry; the global one if left out, also if that is set later.

    Raises:
        ConfigError: the API of OpenTelemetry is not installed: it comes with ``affiant[otel]``.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        try:
            from opentelemetry import trace  # noqa: PLC0415 - loaded only for those who trace
        except ImportError:
            raise ConfigError("traces need the API of OpenTelemetry: pip install 'affiant[otel]'") from None
        from affiant.telemetry.tracing import propagation  # noqa: PLC0415 - it imports OpenTelemetry

        self.tracer: Tracer = trace.get_tracer("affiant", __version__, provider)
        self._propagation = propagation

    def outgoing(self, given: Iterable[str] = ()) -> dict[str, str]:
        """Return the headers that make the current span the parent of what a request causes.

        None without a span, or if the names that are `given` show that the request has a parent.
        """
        return {} if READ[0] in map(str.lower, given) else self._propagation.outgoing()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Traces belongs to the tracer provider of its process: make it where it is used")


def check(traces: object) -> Traces | None:
    """Return the value of an option ``traces=``, or raise ConfigError."""
    if traces is not None and not isinstance(traces, Traces):
        raise ConfigError(f"traces= takes affiant.telemetry.Traces(), not {type(traces).__name__}")
    return traces
