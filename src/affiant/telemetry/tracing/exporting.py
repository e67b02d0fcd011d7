"""The tracer provider of a server: the global one, or else an exporter that the variables OTEL_* configure."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Thread
from typing import TYPE_CHECKING

from affiant.errors import ConfigError
from affiant.system.version import __version__
from affiant.telemetry.tracing.traces import Traces

if TYPE_CHECKING:  # only a server that traces has it
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.trace import TracerProvider

FLUSH_SECONDS = 3.0  # at the end, if the collector is slow
_PACKAGES = "opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http"
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP = "http/protobuf"


def configure() -> tuple[Traces, Callable[[], None]]:
    """Return the traces of this process, and a function that sends what is left of them.

    Raises:
        ConfigError: a package is missing, or a variable asks for another protocol.
    """
    traces, provider = Traces(), _configured()
    if provider is None:
        return _export()
    # A signal may end the process before the function runs that its maker gave to atexit.
    flush = getattr(provider, "force_flush", None)
    return traces, (lambda: _in_time(flush)) if callable(flush) else lambda: None


def _configured() -> TracerProvider | None:
    """Return the global provider, if something in this process has configured one, as opentelemetry-instrument does."""
    from opentelemetry import trace  # noqa: PLC0415 - loaded only for those who trace

    provider = trace.get_tracer_provider()
    return None if isinstance(provider, trace.ProxyTracerProvider) else provider


def check() -> None:
    """Raise ConfigError now; otherwise each worker would fail, again and again."""
    Traces()
    if _configured() is not None:
        return
    chosen = next((os.environ[name] for name in _PROTOCOLS if os.environ.get(name)), _HTTP)
    if chosen != _HTTP:
        raise ConfigError(
            f"{' or '.join(_PROTOCOLS)} is {chosen}: affiant itself exports by {_HTTP}; for another exporter, run"
            "  opentelemetry-instrument affiant serve"
        )
    try:
        import opentelemetry.exporter.otlp.proto.http  # noqa: PLC0415
        import opentelemetry.sdk.trace  # noqa: F401, PLC0415
    except ImportError:
        raise ConfigError(f"traces of a server need {_PACKAGES}: pip install both") from None


def _export() -> tuple[Traces, Callable[[], None]]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - `check` has found them
    from opentelemetry.sdk.trace import TracerProvider as Provider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = Provider(resource=_resource(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(provider), lambda: _in_time(provider.shutdown)


def _resource() -> Resource:
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415 - `check` has found them

    ours = Resource({"service.name": "affiant", "service.version": __version__})
    # Order: the variables win over what is ours.
    return Resource.create().merge(ours).merge(OTELResourceDetector().detect())


def _in_time(flush: Callable[[], object]) -> None:
    """Flush on a thread: a collector that does not answer must not keep the process from ending."""
    thread = Thread(target=flush, daemon=True)
    thread.start()
    thread.join(FLUSH_SECONDS)
