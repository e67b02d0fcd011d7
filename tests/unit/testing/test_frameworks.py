"""The requests of docs/how-to/testing.md, in the real frameworks: each row of its table is run as it is there."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import pytest
from grpc import RpcError

from affiant.resource import Caller, Guard
from affiant.testing import FakeIssuer

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "testing.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| ([A-Za-z ,]+) \| `(.*reply = .*)` \|$", PAGE, re.MULTILINE))
API = "https://orders.example"
Names = dict[str, Any]


def fastapi(guard: Guard) -> Names:
    from fastapi import Depends, FastAPI
    from fastapi.testclient import TestClient

    app = FastAPI()

    @app.get("/orders")
    def show(caller: Annotated[Caller, Depends(guard("orders.read"))]) -> str:
        return caller.client_id

    guard.install(app)
    return {"app": app, "TestClient": TestClient}


def starlette(guard: Guard) -> Names:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route
    from starlette.testclient import TestClient

    async def show(request: Request) -> JSONResponse:
        return JSONResponse(request.scope["affiant.caller"].client_id)

    app = guard.asgi(Starlette(routes=[Route("/orders", show)]), {"GET /orders": "orders.read"})
    return {"app": app, "TestClient": TestClient}


def litestar(guard: Guard) -> Names:
    from litestar import Litestar, Request, get
    from litestar.datastructures import State
    from litestar.testing import TestClient

    @get("/orders", guards=[guard.litestar("orders.read")])
    async def show(request: Request[Caller, dict[str, object], State]) -> str:
        return request.user.client_id

    app = Litestar([show], logging_config=None)  # it would change the loggers of all tests
    guard.install(app)
    return {"app": app, "TestClient": TestClient}


def flask(guard: Guard) -> Names:
    from flask import Flask, g

    app = Flask("orders")

    @app.get("/orders")
    @guard.flask("orders.read")
    def show() -> str:
        return str(g.caller.client_id)

    return {"app": app}


def django(guard: Guard) -> Names:
    from django.test import Client
    from tests.unit.resource.frameworks import django_project

    view = guard.django("orders.read")(django_project.orders)
    return {"serving": django_project.serving({"orders": view}), "Client": Client}


def rest_framework(guard: Guard) -> Names:
    from tests.unit.resource.frameworks import django_project

    view = django_project.api_view(guard, "orders.read").as_view()
    from rest_framework.test import APIClient

    return {"serving": django_project.serving({"orders": view}), "APIClient": APIClient}


def aiohttp(guard: Guard) -> Names:
    from aiohttp import web
    from aiohttp.test_utils import TestClient, TestServer

    from affiant.resource.frameworks.aiohttp import CALLER

    async def show(request: web.Request) -> web.Response:
        return web.json_response(request[CALLER].client_id)

    app = web.Application(middlewares=[guard.aiohttp({"GET /orders": "orders.read"})])
    app.add_routes([web.get("/orders", show)])
    guard.install(app)
    return {"app": app, "TestClient": TestClient, "TestServer": TestServer}


def grpc(guard: Guard) -> Names:
    from grpc import insecure_channel, server
    from tests.unit.resource.frameworks import grpc_servers

    class Stub:
        """As protoc makes it."""

    @contextmanager
    def serving() -> Iterator[None]:
        with ThreadPoolExecutor(1) as pool:
            running = server(pool, interceptors=[guard.grpc({"/shop.Orders/*": "orders.read"})])
            grpc_servers.register(running, grpc_servers.Threads())
            port = running.add_insecure_port("127.0.0.1:0")
            running.start()
            with insecure_channel(f"127.0.0.1:{port}") as channel:
                vars(stub)["List"] = channel.unary_unary("/shop.Orders/UnaryUnary")
                yield
            running.stop(None).wait()

    stub = Stub()
    return {"serving": serving(), "stub": stub, "message": b"x"}


def code_of_grpc(error: Exception) -> int:
    code: str = error.code().name  # type: ignore[attr-defined] # of grpc.RpcError, which has no types
    return {"UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403}[code]


FRAMEWORKS: dict[str, Callable[[Guard], Names]] = {
    "FastAPI": fastapi,
    "Starlette": starlette,
    "Litestar": litestar,
    "Flask": flask,
    "Django": django,
    "Django REST framework": rest_framework,
    "aiohttp": aiohttp,
    "gRPC": grpc,
}


def test_every_framework_of_the_page_is_here() -> None:
    assert list(ROWS) == list(FRAMEWORKS)


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_request_of_the_page(name: str, affiant_issuer: Callable[..., FakeIssuer]) -> None:
    guard = Guard("https://as.example", audience=API)  # as it is in production: nothing listens there
    issuer = affiant_issuer(guard)
    names = FRAMEWORKS[name](guard)
    exec(f"async def request(headers):\n    {ROWS[name]}\n    return reply", names)

    async def ask(headers: dict[str, str]) -> object:
        try:
            reply = await names["request"](headers)
        except RpcError as error:
            return code_of_grpc(error)
        if isinstance(reply, bytes):
            return 200
        return reply.status_code if hasattr(reply, "status_code") else reply.status

    token = issuer.token("orders.read", client_id="billing")
    with names.get("serving", nullcontext()):
        assert await ask(issuer.bearer(token=token)) == 200
        assert await ask(issuer.bearer("orders.write")) == 403
        assert await ask(issuer.bearer(token=issuer.expired("orders.read"))) == 401
        issuer.rotate()
        assert await ask(issuer.bearer("orders.read")) == 200
        issuer.revoke(token)
        assert await ask(issuer.bearer(token=token)) == 401
