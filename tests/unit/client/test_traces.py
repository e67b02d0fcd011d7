"""The spans of a Service, and what of a trace goes to the server and to APIs."""

import json
from typing import Any

import httpx2
import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.trace import SpanKind, StatusCode
from tests.spans import Recorded
from tests.unit.client.conftest import Answer, Foreign
from tests.unit.client.http.faces import FACES

from affiant import Service
from affiant.errors import ConfigError, Refused, RemoteError
from affiant.jose.keys import PrivateKey

CANARY = "canary-token-51ab"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def service(foreign: Foreign, key: PrivateKey, http: httpx2.Client, recorded: Recorded) -> Service:
    return Service(foreign.url, "billing", key=key, http=http, traces=recorded.traces)


def _parent(header: str) -> int:
    return int(header.split("-")[2], 16)


def test_token_request(foreign: Foreign, service: Service, recorded: Recorded) -> None:
    with recorded.provider.get_tracer("app").start_as_current_span("work") as work:
        service.token("https://orders.example", "orders.read")
        service.token("https://orders.example", "orders.read")  # from the cache: no span
    request, _ = recorded.spans
    assert (request.name, request.kind, request.status.status_code) == (
        "affiant.token_request",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    assert request.parent == work.get_span_context()
    assert dict(request.attributes or {}) == {
        "affiant.issuer": foreign.url,
        "affiant.client_id": "billing",
        "affiant.grant": "client_credentials",
        "affiant.scope": "orders.read",
        "affiant.resource": "https://orders.example",
        "server.address": "127.0.0.1",
        "server.port": int(foreign.url.rpartition(":")[2]),
    }
    (sent,) = foreign.sent("/token")
    assert request.context is not None
    assert _parent(sent.headers["traceparent"]) == request.context.span_id
    said = recorded.text()
    assert "token-1" not in said
    assert not any(part in said for part in sent.form["client_assertion"].split("."))


def test_refused_token_request(foreign: Foreign, service: Service, recorded: Recorded) -> None:
    members = {"error": "invalid_scope", "error_description": CANARY, "trace_id": "01HXYZ"}
    foreign.script["/token"] = [Answer(400, members)]
    with pytest.raises(Refused):
        service.token()
    span = recorded.only()
    (event,) = span.events
    assert event.name == "affiant.token_failed"
    assert dict(event.attributes or {}) == {"error.type": "invalid_scope", "affiant.trace_id": "01HXYZ"}
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "invalid_scope")
    assert CANARY not in recorded.text()


def test_server_that_is_gone(foreign: Foreign, service: Service, recorded: Recorded) -> None:
    foreign.default["/.well-known/oauth-authorization-server"] = Answer(404, {})
    foreign.default["/.well-known/openid-configuration"] = Answer(404, {})
    with pytest.raises(RemoteError):
        service.token()
    assert (recorded.only().attributes or {})["error.type"] == "RemoteError"


def test_other_grants(foreign: Foreign, service: Service, recorded: Recorded) -> None:
    service.exchange(CANARY, scope="orders.read")
    assert str((recorded.only().attributes or {})["affiant.grant"]).endswith(":token-exchange")
    assert CANARY not in recorded.text()
    assert "traceparent" in foreign.sent("/token")[0].headers


@pytest.mark.parametrize("name", FACES)
def test_requests_to_an_api(api: Foreign, service: Service, recorded: Recorded, name: str) -> None:
    """Each library sends the current span as the parent, unless the caller's header is there."""
    api.default["/orders"] = Answer(200, {})
    auth, face = service.auth(api.url), FACES[name]
    with recorded.provider.get_tracer("app").start_as_current_span("work") as work:
        assert face.post(f"{api.url}/orders", auth) == 200
        assert face.post(f"{api.url}/orders", auth, headers={"Traceparent": PARENT}) == 200
    assert face.post(f"{api.url}/orders", auth) == 200
    ours, callers, none = api.sent("/orders")
    assert [_parent(one) for one in ours.every("traceparent")] == [work.get_span_context().span_id]
    assert callers.every("traceparent") == [PARENT]
    assert none.every("traceparent") == []


def test_baggage_stays(api: Foreign, foreign: Foreign, service: Service, recorded: Recorded) -> None:
    """What a program keeps in its baggage is for its own services."""
    api.default["/orders"] = Answer(200, {})
    token = context.attach(baggage.set_baggage("user", CANARY))
    try:
        with recorded.provider.get_tracer("app").start_as_current_span("work"):
            httpx2.get(f"{api.url}/orders", auth=service.auth(api.url))
    finally:
        context.detach(token)
    assert CANARY not in json.dumps([request.headers for request in (*api.requests, *foreign.requests)])


def test_without_traces_nothing_is_sent(api: Foreign, foreign: Foreign, key: PrivateKey, recorded: Recorded) -> None:
    api.default["/orders"] = Answer(200, {})
    service = Service(foreign.url, "billing", key=key)
    with recorded.provider.get_tracer("app").start_as_current_span("work"):
        httpx2.get(f"{api.url}/orders", auth=service.auth(api.url))
    assert not [one for one in (*api.requests, *foreign.requests) if "traceparent" in one.headers]


def test_traces_of_another_kind(foreign: Foreign, key: PrivateKey) -> None:
    wrong: Any = trace.get_tracer_provider()
    with pytest.raises(ConfigError, match="Traces"):
        Service(foreign.url, "billing", key=key, traces=wrong)
