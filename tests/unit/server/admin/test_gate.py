"""The gate: nothing is read, routed or done before it is known who calls; whatever fails is an answer."""

from typing import Any

import httpx2
import pytest
from tests.admin import ADMIN, NOW, OWNER, asking, make_context, make_gate

from affiant.errors import Rejected, StoreError
from affiant.errors.reasons import Reason
from affiant.server.admin import app
from affiant.server.admin.roles import Principal
from affiant.storage.memory import MemoryStore


def refusing(store: MemoryStore, error: Exception) -> Any:
    async def authenticate(*_: object) -> Principal:
        raise error

    return app.build(make_context(store), clock=lambda: float(NOW), authenticate=authenticate)


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (Rejected(Reason.TOKEN_MISSING), 401, Reason.TOKEN_MISSING),
        (Rejected(Reason.DPOP_JTI), 401, Reason.DPOP_JTI),
        (StoreError("the disk is gone"), 503, Reason.STORE),
        (TimeoutError(), 408, Reason.TOO_SLOW),
        (RuntimeError("canary"), 500, Reason.UNEXPECTED),
    ],
)
async def test_who_is_not_known_sends_nothing(error: Exception, status: int, reason: Reason) -> None:
    """Not a byte of the body is read, and no route is looked for."""
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    store = MemoryStore()
    for path in ("/admin/api/clients", "/admin/api", "/admin/api/../x", "/admin/api/\n"):
        sent.clear()
        scope: dict[str, Any] = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}
        await refusing(store, error)(scope, receive, send)
        assert (sent[0]["status"], reason.code.encode() in sent[1]["body"]) == (status, True)
        assert b"canary" not in sent[1]["body"]
        headers = dict(sent[0]["headers"])
        assert (headers[b"cache-control"], headers[b"content-type"]) == (b"no-store", b"application/problem+json")
        assert headers[b"x-trace-id"] in sent[1]["body"]
    rows = await store.audit_log.export()
    assert len(rows) == (0 if reason is Reason.STORE else 4)


async def test_every_answer_says_that_nobody_keeps_it() -> None:
    async with asking(MemoryStore()) as http:
        for path in ("/clients", "/nothing", "/openapi.json", "/audit/export", "/clients?x=1"):
            answer = await http.get(path)
            for name in ("cache-control", "x-content-type-options", "x-trace-id"):
                assert len(answer.headers.get_list(name)) == 1, (path, name)
            assert answer.headers["cache-control"] == "no-store"


async def test_prefix_is_of_the_issuer() -> None:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=make_gate(MemoryStore(), OWNER))) as http:
        assert (await http.get(f"{ADMIN}/clients")).status_code == 200
        for path in (
            "https://as.example/admin/apiclients",
            f"{ADMIN}//clients",
            f"{ADMIN}/clients/",
        ):
            assert (await http.get(path)).status_code == 404, path
