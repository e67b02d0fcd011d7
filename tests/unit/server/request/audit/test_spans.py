"""The spans of a server: what was decided, for whom, and nothing that a stranger wrote."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from opentelemetry.trace import SpanKind, StatusCode
from tests.spans import Recorded

from affiant.errors import StoreError
from affiant.server import app
from affiant.server.keys.master_key import MasterKey
from affiant.server.request.audit.spans import Spans
from affiant.server.settings.options import Options
from affiant.storage.memory import MemoryStore
from affiant.testing import ISSUER, Clock, Server

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
Begin = Callable[..., AbstractAsyncContextManager[Server]]


@asynccontextmanager
async def _begin(recorded: Recorded, *, is_linked: bool = False) -> AsyncIterator[Server]:
    clock, store, key = Clock(), MemoryStore(), MasterKey.from_bytes(bytes(32))
    built = app.build(
        issuer=ISSUER,
        store=store,
        master_key=key,
        options=replace(Options(), fresh_seconds=0.0),
        clock=clock,
        spans=Spans(recorded.traces, ISSUER, is_linked=is_linked),
    )
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=built), base_url=ISSUER)
    async with built.router.lifespan_context(built), http:
        server = Server(built, http, issuer=ISSUER, store=store, master_key=key, clock=clock)
        await server.add_api("https://orders.example", scope=("orders.read",), is_default=True)
        await server.add_client("billing")
        yield server


async def _traced(recorded: Recorded, headers: Any, *, is_linked: bool = False, **form: Any) -> dict[str, Any]:
    async with _begin(recorded, is_linked=is_linked) as server:
        reply = await server.post(server.form(**form), headers=headers)
    assert reply.headers["x-trace-id"]
    members: dict[str, Any] = reply.json() | {"trace": reply.headers["x-trace-id"], "status": reply.status_code}
    return members


async def test_issued(recorded: Recorded) -> None:
    answer = await _traced(recorded, {"traceparent": PARENT})
    span = recorded.only()
    assert (span.name, span.kind, span.status.status_code) == ("POST /token", SpanKind.SERVER, StatusCode.UNSET)
    assert span.parent is not None
    assert span.context is not None
    assert (span.parent.span_id, span.context.trace_id, span.parent.is_remote) == (SPAN, TRACE, True)
    assert dict(span.attributes or {}) == {
        "url.scheme": "https",
        "server.address": "as.example",
        "http.request.method": "POST",
        "http.route": "/token",
        "url.path": "/token",
        "network.protocol.version": "1.1",
        "client.address": "127.0.0.1",
        "http.response.status_code": 200,
        "affiant.trace_id": answer["trace"],
        "affiant.endpoint": "token",
        "affiant.outcome": "issued",
        "affiant.grant": "client_credentials",
        "affiant.method": "private_key_jwt",
        "affiant.client_id": "billing",
    }
    assert answer["access_token"] not in recorded.text()


async def test_refused_before_authentication(recorded: Recorded) -> None:
    """A client that only claims a name gets none in the span; and a refusal is no error of the server."""
    answer = await _traced(recorded, None, client_assertion="eyJhbGciOiJFUzI1NiJ9.e30.AAAA", client_id="billing")
    span = recorded.only()
    attributes = dict(span.attributes or {})
    assert (attributes["affiant.outcome"], answer["status"]) == ("refused", attributes["http.response.status_code"])
    assert attributes["affiant.trace_id"] == answer["trace_id"]
    assert str(attributes["affiant.reason"]).partition(".")[0] in ("assertion", "client", "jwt")
    assert "affiant.client_id" not in attributes
    assert (span.status.status_code, span.parent) == (StatusCode.UNSET, None)


async def test_what_a_stranger_writes_is_in_no_span(recorded: Recorded) -> None:
    canary = "canary51ab"
    async with _begin(recorded) as server:
        form = server.form(grant_type=canary, scope=canary, resource=f"https://{canary}.example", client_id=canary)
        headers = {
            "host": canary,
            "user-agent": canary,
            "authorization": f"Bearer {canary}",
            "tracestate": f"{canary}=1",
        }
        await server.post(form, path=f"/token?{canary}=1", headers=headers)
        await server.http.request("CANARY51AB", f"{ISSUER}/token")
        await server.http.get(f"{ISSUER}/register/{canary}", headers=headers)
    post, other, read = recorded.spans
    assert canary not in recorded.text().lower()
    assert (post.attributes or {})["affiant.grant"] == "other"
    assert (other.name, (other.attributes or {})["http.request.method"]) == ("HTTP /token", "_OTHER")
    assert (read.name, (read.attributes or {}).get("url.path")) == ("GET /register/{client_id}", None)


async def test_assertions_and_tokens_are_in_no_span(recorded: Recorded) -> None:
    async with _begin(recorded) as server:
        assertion = server.assertion()
        token = (await server.post(server.form(assertion))).json()["access_token"]
        again = await server.post(server.form(assertion))  # replayed
        await server.post({**server.form(), "token": token}, path="/introspect")
    assert again.status_code != 200
    said = recorded.text()
    for secret in (assertion, token):
        assert not any(part in said for part in secret.split("."))
    assert [(span.attributes or {})["affiant.outcome"] for span in recorded.spans[:2]] == ["issued", "refused"]


@pytest.mark.parametrize(
    "headers",
    [
        [("traceparent", PARENT), ("traceparent", PARENT)],
        [("traceparent", "00-" + "0" * 32 + "-b7ad6b7169203331-01")],
        [("traceparent", PARENT + "-more")],
        [("traceparent", "01-" + PARENT[3:] + "-" + "a" * 600)],
        [("traceparent", "\xff" * 55)],
    ],
    ids=["two", "zero", "longer", "long", "no text"],
)
async def test_impossible_parent(
    recorded: Recorded, headers: list[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    await _traced(recorded, sent)
    assert recorded.only().parent is None
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]


async def test_long_state_is_dropped(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    await _traced(recorded, {"traceparent": PARENT, "tracestate": "a=" + "b" * 600})
    context = recorded.only().context
    assert context is not None
    assert (context.trace_id, len(context.trace_state)) == (TRACE, 0)
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]


async def test_linked(recorded: Recorded) -> None:
    """Attack: a stranger chooses the trace that its request belongs to, and that it is sampled."""
    await _traced(recorded, {"traceparent": PARENT}, is_linked=True)
    span = recorded.only()
    assert span.context is not None
    assert (span.parent, span.context.trace_id == TRACE) == (None, False)
    (link,) = span.links
    assert (link.context.trace_id, link.context.span_id) == (TRACE, SPAN)


async def test_failed_store(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise StoreError("the disk is full")

    async with _begin(recorded) as server:
        monkeypatch.setattr(server.store.ledger, "claim", fail)
        assert (await server.post(server.form())).status_code == 503
    span = recorded.only()
    assert span.status.status_code is StatusCode.ERROR
    attributes = dict(span.attributes or {})
    assert (attributes["error.type"], attributes["affiant.outcome"]) == ("503", "refused")
    assert "disk" not in recorded.text()


async def test_unsampled_parent_is_kept(recorded: Recorded) -> None:
    """By default a caller that is not sampled has its requests left out; the audit log has them all the same."""
    answer = await _traced(recorded, {"traceparent": PARENT[:-2] + "00"})
    assert answer["status"] == 200
    assert not recorded.spans
