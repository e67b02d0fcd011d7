"""One trace over three parties, exported by each of them as docs/how-to/tracing.md has it, and received over real HTTP."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.loopback import free_port, listens
from tests.process import Server

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "tracing.md").read_text("utf-8")
CLIENT, API, METRICS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@dataclass
class Collector:
    """Receives OTLP over HTTP."""

    spans: list[tuple[str, Span]] = field(default_factory=list)  # each with the name of its service
    bodies: list[bytes] = field(default_factory=list)
    url: str = ""

    def take(self, body: bytes) -> None:
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {one.key: one.value.string_value for one in resource.resource.attributes}
            self.spans += [(names["service.name"], span) for scope in resource.scope_spans for span in scope.spans]

    def only(self, service: str, name: str) -> Span:
        (found,) = (span for of, span in self.spans if (of, span.name) == (service, name))
        return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert (self.path, self.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002 - the library's name

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        collector.url = f"http://127.0.0.1:{server.server_port}"
        yield collector
        server.shutdown()


@contextmanager
def _served(app: Any, port: int) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not listens(port):
            assert thread.is_alive()
        yield
    finally:
        server.should_exit = True
        thread.join()


def _attributes(span: Span) -> dict[str, str]:
    return {one.key: one.value.string_value for one in span.attributes}


def test_one_trace(tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    identifier = f"http://127.0.0.1:{free_port()}"
    environment = {"AFFIANT_TRACES": "on", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    with Server(tmp_path, workers=2, environment=environment) as server:
        server.add_api(identifier)
        server.affiant("client", "new", "billing", "--scope", "orders.read", "--resource", identifier)
        api: dict[str, Any] = {}
        client: dict[str, Any] = {}
        exec(_adapted(API, server.issuer, identifier), api)
        with _served(api["app"], int(identifier.rpartition(":")[2])):
            exec(_adapted(CLIENT, server.issuer, identifier), client)
        assert (client["response"].status_code, client["response"].text) == (200, "none today")
        api["provider"].shutdown()
        refused = server.token(grant_type="client_credentials", client_id="billing", client_secret="canary-51ab")
        assert not refused.is_success
    # The workers have sent the rest at their end.
    work, request = collector.only("billing", "invoices"), collector.only("billing", "affiant.token_request")
    served, check = (span for of, span in collector.spans if of == "affiant"), collector.only("orders", "affiant.check")
    by_outcome = {_attributes(span)["affiant.outcome"]: span for span in served}
    issued = by_outcome["issued"]
    assert {span.trace_id for span in (work, request, issued, check)} == {work.trace_id}
    assert (request.parent_span_id, issued.parent_span_id, check.parent_span_id) == (
        work.span_id,
        request.span_id,
        work.span_id,
    )
    assert (request.kind, issued.kind, check.kind) == (
        Span.SPAN_KIND_CLIENT,
        Span.SPAN_KIND_SERVER,
        Span.SPAN_KIND_INTERNAL,
    )
    record = server.affiant("audit", "show", _attributes(issued)["affiant.trace_id"])
    assert (record["client_id"], record["outcome"], record["resource"]) == ("billing", "issued", identifier)
    assert by_outcome["refused"].trace_id != work.trace_id
    assert _attributes(by_outcome["refused"])["affiant.trace_id"] == refused.json()["trace_id"]
    sent = b"".join(collector.bodies)
    assert b"canary" not in sent
    assert b"eyJ" not in sent  # how each JWT begins


def _adapted(code: str, issuer: str, identifier: str) -> str:
    return code.replace("https://as.example", issuer).replace("https://orders.example", identifier)


def test_metrics_of_the_page() -> None:
    exec(METRICS, {})
