"""The guards of the README in frameworks other than that of its example: each block runs as it is there."""

import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import grpc.aio
import httpx2
import pytest
from aiohttp.test_utils import TestClient, TestServer
from django.core.wsgi import get_wsgi_application
from tests.unit.resource.frameworks import django_project
from tests.unit.resource.frameworks.faces import Answer, Asked, Call, by_asgi, by_wsgi
from tests.unit.resource.listening import ListeningIssuer, listening

from affiant.resource.frameworks.rpc.grpc import caller

README = (Path(__file__).parents[4] / "README.md").read_text("utf-8")
SECTION = README.partition("\n## Guard an API\n")[2].partition("\n## ")[0]
BLOCKS = dict(re.findall(r"^```python\n# (\w+)[^\n]*\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE))
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}},
}


@asynccontextmanager
async def _wsgi(names: dict[str, Any]) -> AsyncIterator[Call]:
    yield by_wsgi(names["app"])


@asynccontextmanager
async def _asgi(names: dict[str, Any]) -> AsyncIterator[Call]:
    yield by_asgi(names["app"])


@asynccontextmanager
async def _django(names: dict[str, Any]) -> AsyncIterator[Call]:
    with django_project.serving({"orders": names["orders"]}):
        yield by_wsgi(get_wsgi_application())


@asynccontextmanager
async def _aiohttp(names: dict[str, Any]) -> AsyncIterator[Call]:
    async with TestClient(TestServer(names["app"])) as client:

        async def call(asked: Asked) -> Answer:
            async with client.get(asked.path, headers=dict(asked.headers)) as reply:
                return Answer(reply.status, dict(reply.headers), await reply.read())

        yield call


def _list(_: bytes, __: Any) -> bytes:
    return json.dumps({"orders": 3, "for": caller().client_id}).encode()


@asynccontextmanager
async def _grpc(names: dict[str, Any]) -> AsyncIterator[Call]:
    """Call a method; the codes of gRPC become those of HTTP."""
    server, orders = names["server"], {"List": grpc.unary_unary_rpc_method_handler(_list)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Orders", orders),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    statuses = {grpc.StatusCode.UNAUTHENTICATED: 401, grpc.StatusCode.PERMISSION_DENIED: 403}

    async def call(asked: Asked) -> Answer:
        metadata = [(name.lower(), value) for name, value in asked.headers]
        try:
            return Answer(200, {}, await channel.unary_unary("/shop.Orders/List")(b"", metadata=metadata))
        except grpc.aio.AioRpcError as error:
            return Answer(statuses[error.code()], {}, b"")

    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield call
    finally:
        server.stop(None).wait()


@asynccontextmanager
async def _mcp(names: dict[str, Any]) -> AsyncIterator[Call]:
    transport = httpx2.ASGITransport(names["app"])
    manager = names["server"].session_manager
    async with manager.run(), httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:

        async def call(asked: Asked) -> Answer:
            headers = dict(asked.headers) | {"accept": "application/json, text/event-stream"}
            reply = await http.post("/mcp", headers=headers, json=INITIALIZE)
            return Answer(reply.status_code, {}, b'{"orders": 3, "for": "c"}' if reply.is_success else reply.content)

        yield call


SERVING: dict[str, Callable[[dict[str, Any]], AbstractAsyncContextManager[Call]]] = {
    "Flask": _wsgi,
    "Django": _django,
    "aiohttp": _aiohttp,
    "Litestar": _asgi,
    "gRPC": _grpc,
    "MCP": _mcp,
}


@pytest.fixture
def issuer() -> Iterator[ListeningIssuer]:
    with listening() as issuer:
        yield issuer


def test_every_block_is_run() -> None:
    assert set(BLOCKS) == {*SERVING, "orders"}


@pytest.mark.parametrize("name", SERVING)
async def test_guard_of_the_readme(name: str, issuer: ListeningIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType(f"readme_{name}")
    module.__dict__["guard"] = issuer.guard()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(BLOCKS[name], name, "exec", dont_inherit=True), module.__dict__)
    async with SERVING[name](module.__dict__) as call:
        for scope, status in (("orders.read", 200), ("x", 403)):
            answer = await call(Asked([("Authorization", issuer.token(scope=scope).decode())]))
            assert answer.status == status, answer
            if status == 200:
                assert answer.members == {"orders": 3, "for": "c"}
        assert (await call(Asked())).status == 401
