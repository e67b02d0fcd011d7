"""Where the spans of a server go: to what is configured already, or to what the variables OTEL_* say."""

import os
import subprocess
import sys

import pytest

from affiant.errors import ConfigError
from affiant.telemetry.tracing import exporting

CONFIGURED = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from affiant.telemetry.tracing import exporting

exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=600_000))
trace.set_tracer_provider(provider)
exporting.check()  # also with a protocol that affiant itself does not speak
traces, flush = exporting.configure()
traces.tracer.start_span("POST /token").end()
flush()
print([span.name for span in exporter.get_finished_spans()])
"""
MISSING = """
import sys
sys.modules["opentelemetry.sdk.trace"] = None
from affiant.errors import ConfigError
from affiant.telemetry.tracing import exporting
try:
    exporting.check()
except ConfigError as error:
    print(error)
"""
NAMED = """
from affiant.telemetry.tracing import exporting
print(*(exporting._resource().attributes[name] for name in ("service.name", "deployment.environment")))
"""


def _run(program: str, **environment: str) -> str:
    given = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=given).stdout


def test_configured_provider_is_used_and_flushed() -> None:
    assert _run(CONFIGURED, OTEL_EXPORTER_OTLP_PROTOCOL="grpc") == "['POST /token']\n"


def test_missing_packages_are_named() -> None:
    said = _run(MISSING)
    assert "opentelemetry-sdk" in said
    assert "opentelemetry-exporter-otlp-proto-http" in said


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"])
def test_another_protocol(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "_configured", lambda: None)  # a test of this process may have set one
    exporting.check()
    monkeypatch.setenv(name, "grpc")
    with pytest.raises(ConfigError, match=r"grpc.*opentelemetry-instrument"):
        exporting.check()


def test_variables_name_the_service() -> None:
    assert _run(NAMED, OTEL_RESOURCE_ATTRIBUTES="deployment.environment=test") == "affiant test\n"
    more = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test", "OTEL_SERVICE_NAME": "tokens"}
    assert _run(NAMED, **more) == "tokens test\n"


def test_collector_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not keep the process from ending."""
    import threading
    import time

    monkeypatch.setattr(exporting, "FLUSH_SECONDS", 0.05)
    begun, never = time.monotonic(), threading.Event()
    exporting._in_time(never.wait)
    assert time.monotonic() - begun < 5
    never.set()
