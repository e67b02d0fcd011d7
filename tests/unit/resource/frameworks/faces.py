"""The faces of the guard: each builds an application in which ``GET /orders`` needs "read", and a way to call it.

A face is an asynchronous context manager that gets a guard and gives a function from a request to its response. To join,
add one to FACES: the tests of attacks and of exact refusals run with each of them.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any, NamedTuple

import httpx2
from werkzeug.test import EnvironBuilder, run_wsgi_app

from affiant.resource import Caller, Guard

HOST = "https://api.example"
PATH = "/orders"


class Asked(NamedTuple):
    headers: Sequence[tuple[str, str]] = ()
    query: str = ""
    method: str = "GET"
    path: str = PATH


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def members(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


Call = Callable[[Asked], Awaitable[Answer]]
Face = Callable[[Guard], AbstractAsyncContextManager[Call]]
App = Any


def environ(asked: Asked) -> dict[str, Any]:
    return EnvironBuilder(
        asked.path, HOST, query_string=asked.query, method=asked.method, headers=list(asked.headers)
    ).get_environ()


def by_wsgi(app: App) -> Call:
    """Call an application of WSGI in a thread, as a server does."""

    def call(asked: Asked) -> Answer:
        body, status, headers = run_wsgi_app(app, environ(asked), buffered=True)
        return Answer(int(status[:3]), {name.lower(): value for name, value in headers}, b"".join(body))

    async def call_in_thread(asked: Asked) -> Answer:
        return await asyncio.to_thread(call, asked)

    return call_in_thread


def by_asgi(app: App) -> Call:
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=HOST)  # has nothing to close

    async def call(asked: Asked) -> Answer:
        url = f"{asked.path}?{asked.query}" if asked.query else asked.path
        reply = await http.request(asked.method, url, headers=list(asked.headers))
        return Answer(reply.status_code, dict(reply.headers), reply.content)

    return call


@asynccontextmanager
async def wsgi(guard: Guard) -> AsyncIterator[Call]:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["affiant.caller"].client_id.encode()]

    yield by_wsgi(guard.wsgi(app, {"GET /orders": "read"}))


@asynccontextmanager
async def asgi(guard: Guard) -> AsyncIterator[Call]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["affiant.caller"].client_id.encode()})

    yield by_asgi(guard.asgi(app, {"GET /orders": "read"}))


@asynccontextmanager
async def flask(guard: Guard) -> AsyncIterator[Call]:
    from flask import Flask, g

    app = Flask("orders")

    @app.get(PATH)
    @guard.flask("read")
    def orders() -> str:
        return str(g.caller.client_id)

    yield by_wsgi(app)


@asynccontextmanager
async def django(guard: Guard) -> AsyncIterator[Call]:
    from django.core.wsgi import get_wsgi_application
    from tests.unit.resource.frameworks import django_project

    with django_project.serving({"orders": guard.django("read")(django_project.orders)}):
        yield by_wsgi(get_wsgi_application())


@asynccontextmanager
async def django_async(guard: Guard) -> AsyncIterator[Call]:
    from django.core.asgi import get_asgi_application
    from tests.unit.resource.frameworks import django_project

    with django_project.serving({"orders": guard.django("read")(django_project.orders_async)}):
        yield by_asgi(get_asgi_application())


@asynccontextmanager
async def django_middleware(guard: Guard) -> AsyncIterator[Call]:
    from django.core.wsgi import get_wsgi_application
    from tests.unit.resource.frameworks import django_project

    routes = {"GET /orders": "read"}
    with django_project.serving({"orders": django_project.orders}, guard=guard, routes=routes):
        yield by_wsgi(get_wsgi_application())


@asynccontextmanager
async def rest_framework(guard: Guard) -> AsyncIterator[Call]:
    from django.core.wsgi import get_wsgi_application
    from tests.unit.resource.frameworks import django_project

    with django_project.serving({"orders": django_project.api_view(guard, "read").as_view()}):
        call = by_wsgi(get_wsgi_application())

        async def call_by_server(asked: Asked) -> Answer:
            """REST framework leaves it to the server to drop the body of a response to HEAD."""
            answer = await call(asked)
            return answer._replace(body=b"") if asked.method == "HEAD" else answer

        yield call_by_server


@asynccontextmanager
async def fastapi(guard: Guard) -> AsyncIterator[Call]:
    from fastapi import FastAPI

    app = FastAPI()
    guard.install(app)

    @app.get(PATH)
    async def orders(caller: Annotated[Caller, guard("read")]) -> str:
        return caller.client_id

    yield by_asgi(app)


@asynccontextmanager
async def starlette(guard: Guard) -> AsyncIterator[Call]:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    @guard.starlette("read")
    async def orders(request: Any) -> PlainTextResponse:
        return PlainTextResponse(request.user.display_name)

    yield by_asgi(Starlette(routes=[Route(PATH, orders)]))


@asynccontextmanager
async def starlette_backend(guard: Guard) -> AsyncIterator[Call]:
    from starlette.applications import Starlette
    from starlette.middleware.authentication import AuthenticationMiddleware
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    from affiant.resource.frameworks.starlette import GuardBackend

    async def orders(request: Any) -> PlainTextResponse:
        return PlainTextResponse(request.user.display_name)

    backend = GuardBackend(guard, "read")
    app = Starlette(routes=[Route(PATH, orders)])
    app.add_middleware(AuthenticationMiddleware, backend=backend, on_error=backend.on_error)
    guard.install(app)
    yield by_asgi(app)


@asynccontextmanager
async def aiohttp(guard: Guard) -> AsyncIterator[Call]:
    from aiohttp import web
    from aiohttp.test_utils import TestClient, TestServer

    from affiant.resource.frameworks.aiohttp import CALLER

    async def orders(request: web.Request) -> web.Response:
        return web.Response(text=request[CALLER].client_id)

    app = web.Application(middlewares=[guard.aiohttp({"GET /orders": "read"})])
    app.router.add_get(PATH, orders)
    server = TestServer(app)
    await server.start_server(max_field_size=32_768)  # aiohttp itself refuses what is longer
    async with TestClient(server) as http:

        async def call(asked: Asked) -> Answer:
            url = f"{asked.path}?{asked.query}" if asked.query else asked.path
            reply = await http.request(asked.method, url, headers=asked.headers)
            headers = {name.lower(): value for name, value in reply.headers.items()}
            return Answer(reply.status, headers, await reply.read())

        yield call


@asynccontextmanager
async def litestar(guard: Guard) -> AsyncIterator[Call]:
    from litestar import Litestar, Request, get

    async def orders(request: Request[Any, Any, Any]) -> str:
        return str(request.user.client_id)

    app = Litestar([get(PATH, guards=[guard.litestar("read")])(orders)], logging_config=None)
    guard.install(app)
    yield by_asgi(app)


@asynccontextmanager
async def forward_auth(guard: Guard) -> AsyncIterator[Call]:
    """As nginx asks; the API behind it answers with the caller that it is told."""
    guard.url = guard.url or HOST
    app = guard.forward_auth({"GET /orders": "read"}, proxy="nginx", trusted=["127.0.0.1"])
    call = by_asgi(app)

    async def ask(asked: Asked) -> Answer:
        target = f"{asked.path}?{asked.query}" if asked.query else asked.path
        described = [("X-Original-Method", asked.method), ("X-Original-URI", target)]
        answer = await call(Asked([*asked.headers, *described], path="/check"))
        body = answer.headers.get("affiant-client-id", "").encode() or answer.body
        return answer._replace(body=b"" if asked.method == "HEAD" else body)

    yield ask


FACES: dict[str, Face] = {
    "aiohttp": aiohttp,
    "litestar": litestar,
    "wsgi": wsgi,
    "asgi": asgi,
    "flask": flask,
    "django": django,
    "django-async": django_async,
    "django-middleware": django_middleware,
    "rest-framework": rest_framework,
    "fastapi": fastapi,
    "starlette": starlette,
    "starlette-backend": starlette_backend,
    "forward-auth": forward_auth,
}
