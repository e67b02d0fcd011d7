"""The code of docs/how-to/client-events.md runs as it is there, with OpenTelemetry's own SDK; and the caller's trace goes on."""

import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
import requests
from opentelemetry import metrics, propagate, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.unit.client.conftest import Answer, Foreign

from affiant.client.credentials.file import Credentials
from affiant.jose.keys import PrivateKey

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "client-events.md").read_text("utf-8")


@pytest.fixture(scope="module")
def reader() -> InMemoryMetricReader:
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    return reader


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def service(
    foreign: Foreign, api: Foreign, key: PrivateKey, tmp_path: Path, reader: Any, exporter: InMemorySpanExporter
) -> Any:
    """The one of the page."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(code.splitlines()) <= 30
    path = tmp_path / "billing.affiant.json"
    Credentials(foreign.url, "billing", "private_key_jwt", key=key.to_jwk()).write(path)
    names: dict[str, Any] = {}
    exec(code.replace("billing.affiant.json", str(path)), names)
    api.default["/orders"] = Answer(200, {})
    exporter.clear()
    return names["service"]


def _points(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    data = reader.get_metrics_data()
    assert data is not None
    every = [one for found in data.resource_metrics for scope in found.scope_metrics for one in scope.metrics]
    return {one.name: list(one.data.data_points) for one in every}


@pytest.mark.parametrize("library", ["httpx2", "requests"])
def test_metrics_and_spans(
    api: Foreign, service: Any, reader: InMemoryMetricReader, exporter: InMemorySpanExporter, library: str
) -> None:
    api.script["/orders"] = [Answer(401, {}, {"WWW-Authenticate": 'Bearer error="invalid_token"'})]
    headers: dict[str, str] = {}
    with trace.get_tracer("app").start_as_current_span("work") as work:
        propagate.inject(headers)
        get: Any = {"httpx2": httpx2.get, "requests": requests.get}[library]
        assert get(f"{api.url}/orders", auth=service.auth(api.url, "orders.read"), headers=headers).status_code == 200
    # Both sendings belong to the caller's trace (W3C Trace Context).
    assert [request.headers["traceparent"] for request in api.sent("/orders")] == [headers["traceparent"]] * 2
    spans = {span.name: span for span in exporter.get_finished_spans()}
    context = work.get_span_context()
    assert spans["token.renewed"].parent is not None
    assert spans["token.renewed"].parent.span_id == context.span_id
    assert [event.name for event in spans["work"].events][-1] == "api.retried"
    points = _points(reader)
    counted = {point.attributes["event"] for point in points["affiant.client.events"]}
    assert counted >= {"token.requested", "token.renewed", "api.retried"}
    assert sum(point.count for point in points["affiant.client.token.duration"]) >= 2


def test_page_lists_every_event() -> None:
    from typing import get_args

    from affiant.client.events import Name

    assert re.findall(r"^\| `([a-z_.]+)` \|", PAGE, re.MULTILINE) == list(get_args(Name))
