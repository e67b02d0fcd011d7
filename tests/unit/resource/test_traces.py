"""The spans of a Guard: which trace they belong to, and what they say of a check."""

import asyncio
from typing import Any

import httpx2
import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from tests.spans import Recorded
from tests.unit.resource.issuer import API, Issuer

from affiant.errors import ConfigError, Rejected
from affiant.resource import Caller, Denied

CANARY = "canary-51ab"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SPAN = 0xB7AD6B7169203331


async def test_guard_continues_the_trace_of_a_request(recorded: Recorded) -> None:
    issuer = Issuer()
    guard = issuer.guard(traces=recorded.traces)
    headers = [("Authorization", issuer.token().decode()), ("traceparent", PARENT)]
    assert isinstance(await guard.check_request("GET", "/orders", headers), Caller)
    span = recorded.only()
    assert (span.name, span.kind) == ("affiant.check", SpanKind.INTERNAL)
    assert span.parent is not None
    assert (span.parent.span_id, span.parent.is_remote) == (SPAN, True)
    assert dict(span.attributes or {}) == {
        "affiant.audience": API,
        "affiant.outcome": "accepted",
        "affiant.client_id": "c",
    }
    # The span of the API's own instrumentation is nearer than that of the sender.
    with recorded.provider.get_tracer("api").start_as_current_span("GET /orders") as serving:
        await guard.check_request("GET", "/orders", headers)
    assert recorded.spans[1].parent == serving.get_span_context()


async def test_guard_in_wsgi(recorded: Recorded) -> None:
    issuer = Issuer()
    guard = issuer.guard(traces=recorded.traces)
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/orders",
        "HTTP_HOST": "api.example",
        "wsgi.url_scheme": "https",
        "HTTP_AUTHORIZATION": issuer.token().decode(),
        "HTTP_TRACEPARENT": PARENT,
    }
    assert isinstance(await asyncio.to_thread(guard.check_environ, environ), Caller)
    parent = recorded.only().parent
    assert parent is not None
    assert parent.span_id == SPAN


async def test_guard_refuses(recorded: Recorded) -> None:
    issuer = Issuer()
    guard = issuer.guard(traces=recorded.traces)
    value = issuer.token()
    with pytest.raises(Rejected):
        await guard.check([value[:-8] + b"AAAAAAAA"])
    assert isinstance(await guard.check_request("GET", "/", [("Authorization", value.decode())], "orders.read"), Denied)
    assert isinstance(await guard.check_request("GET", "/", []), Denied)
    reasons = [(span.attributes or {})["affiant.reason"] for span in recorded.spans]
    assert reasons == ["token.signature", "token.insufficient_scope", "token.missing"]
    assert {span.status.status_code for span in recorded.spans} == {StatusCode.UNSET}
    assert not any(part in recorded.text() for part in value.decode().removeprefix("Bearer ").split("."))


async def test_guard_without_its_issuer(recorded: Recorded) -> None:
    issuer = Issuer()
    issuer.is_up = False

    async def down() -> httpx2.Response:
        raise httpx2.ConnectError(CANARY)

    issuer.jwks = down  # type: ignore[method-assign]
    found: Any = await issuer.guard(traces=recorded.traces).check_request(
        "GET", "/", [("Authorization", issuer.token().decode())]
    )
    assert found.status == 503
    span = recorded.only()
    assert (span.attributes or {})["affiant.outcome"] == "unavailable"
    assert span.status.status_code is StatusCode.ERROR
    assert CANARY not in recorded.text()


def test_traces_of_another_kind() -> None:
    wrong: Any = trace.get_tracer_provider()
    with pytest.raises(ConfigError, match="Traces"):
        Issuer().guard(traces=wrong)
