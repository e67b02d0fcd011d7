"""Send requests to APIs behind our guard: each web framework with a server, in a thread of this process, over HTTP."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import httpx2
import uvicorn
from bench.guards.tokens import API, ISSUER, JWKS, METADATA, SCOPE

from affiant.resource import Guard, ResourceMetadata

Road = Callable[[Guard], AbstractContextManager[int]]  # the port of an API behind this guard
PATH = "/orders"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]  # their names in small letters
    body: bytes


def guard(**options: Any) -> Guard:
    """Return a guard whose issuer is in this process: no request leaves it."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=JWKS if request.url.path == "/jwks" else METADATA)

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    metadata = ResourceMetadata(scopes=(SCOPE,))
    return Guard(ISSUER, audience=API, metadata=metadata, http=http, **{"revocations": "off", **options})


class Sender:
    """A connection to one API, on which the bytes of a request are as they are given."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=10)
        self.url = f"http://127.0.0.1:{port}{PATH}"

    def send(self, authorization: Iterable[bytes], *, query: str = "", proofs: Iterable[str] = ()) -> Answer:
        connection = self._connection
        connection.putrequest("GET", f"{PATH}?{query}" if query else PATH)
        for value in authorization:
            connection.putheader("Authorization", value)
        for proof in proofs:
            connection.putheader("DPoP", proof)
        try:
            connection.endheaders()
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read())
        except OSError:
            connection.close()
            raise

    def close(self) -> None:
        self._connection.close()


@contextmanager
def serving(app: Any) -> Iterator[int]:
    """Serve an application of ASGI; the port."""
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    listener.listen()  # connections wait from now on
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


@contextmanager
def _wsgi(app: WSGIApplication) -> Iterator[int]:
    with make_server("127.0.0.1", 0, app, server_class=_Threads, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


async def _application(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 - ASGI
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"orders"})


def _wsgi_application(_: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [])
    return [b"orders"]


def _text() -> str:
    return "orders"


def asgi(of: Guard) -> AbstractContextManager[int]:
    """Middleware of ASGI."""
    return serving(of.asgi(_application, {f"GET {PATH}": SCOPE}))


def starlette(of: Guard) -> AbstractContextManager[int]:
    """Starlette's decorator."""
    from starlette.applications import Starlette  # noqa: PLC0415 - one framework each
    from starlette.requests import Request  # noqa: PLC0415
    from starlette.responses import PlainTextResponse  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    async def orders(request: Request) -> PlainTextResponse:  # noqa: ARG001
        return PlainTextResponse("orders")

    app = Starlette(routes=[Route(PATH, of.starlette(SCOPE)(orders))])
    of.install(app)
    return serving(app)


def fastapi(of: Guard) -> AbstractContextManager[int]:
    """FastAPI's dependency."""
    from fastapi import Depends, FastAPI  # noqa: PLC0415

    app = FastAPI()
    of.install(app)

    app.get(PATH, dependencies=[Depends(of(SCOPE))])(_text)
    return serving(app)


def wsgi(of: Guard) -> AbstractContextManager[int]:
    """Middleware of WSGI."""
    return _wsgi(of.wsgi(_wsgi_application, {f"GET {PATH}": SCOPE}))


def flask(of: Guard) -> AbstractContextManager[int]:
    """Flask's decorator."""
    from flask import Flask  # noqa: PLC0415

    app = Flask("orders")

    app.add_url_rule(PATH, view_func=of.flask(SCOPE)(_text))
    return _wsgi(app)


@contextmanager
def _aiohttp(of: Guard) -> Iterator[int]:
    from aiohttp import web  # noqa: PLC0415

    async def orders(_: web.Request) -> web.Response:
        return web.Response(text="orders")

    async def start() -> web.AppRunner:
        app = web.Application(middlewares=[of.aiohttp({f"GET {PATH}": SCOPE})])
        app.router.add_get(PATH, orders)
        runner = web.AppRunner(app, max_field_size=65_536)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield runner.addresses[0][1]
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def aiohttp(of: Guard) -> AbstractContextManager[int]:
    """Middleware of aiohttp."""
    return _aiohttp(of)


@contextmanager
def _django(views: dict[str, Any], **options: Any) -> Iterator[int]:
    from django.core.wsgi import get_wsgi_application  # noqa: PLC0415
    from tests.unit.resource.frameworks import django_project  # noqa: PLC0415

    with django_project.serving(views, **options), _wsgi(get_wsgi_application()) as port:
        yield port


def _view(_: Any) -> Any:
    from django.http import HttpResponse  # noqa: PLC0415

    return HttpResponse("orders")


def django(of: Guard) -> AbstractContextManager[int]:
    """Django's decorator."""
    return _django({PATH[1:]: of.django(SCOPE)(_view)})


def django_middleware(of: Guard) -> AbstractContextManager[int]:
    """Django's middleware."""
    return _django({PATH[1:]: _view}, guard=of, routes={f"GET {PATH}": SCOPE})


@contextmanager
def django_async(of: Guard) -> Iterator[int]:
    """Django's decorator, behind ASGI."""
    from django.core.asgi import get_asgi_application  # noqa: PLC0415
    from tests.unit.resource.frameworks import django_project  # noqa: PLC0415

    async def view(request: Any) -> Any:
        return _view(request)

    with django_project.serving({PATH[1:]: of.django(SCOPE)(view)}), serving(get_asgi_application()) as port:
        yield port


def rest_framework(of: Guard) -> AbstractContextManager[int]:
    """Classes of Django REST framework."""
    from tests.unit.resource.frameworks import django_project  # noqa: PLC0415

    return _django({PATH[1:]: django_project.api_view(of, SCOPE).as_view()})


def litestar(of: Guard) -> AbstractContextManager[int]:
    """Litestar's guards."""
    from litestar import Litestar, get  # noqa: PLC0415

    async def orders() -> str:
        return "orders"

    app = Litestar([get(PATH, guards=[of.litestar(SCOPE)])(orders)], logging_config=None)
    of.install(app)
    return serving(app)


ROADS: dict[str, Road] = {
    "ASGI": asgi,
    "Starlette": starlette,
    "FastAPI": fastapi,
    "WSGI": wsgi,
    "Flask": flask,
    "Django": django,
    "Django middleware": django_middleware,
    "Django async": django_async,
    "Django REST framework": rest_framework,
    "aiohttp": aiohttp,
    "Litestar": litestar,
}
# A server of WSGI makes one header of two, so its guard sees a list and not two headers.
JOINING = {"WSGI", "Flask", "Django", "Django middleware", "Django REST framework"}


def be_quiet() -> None:
    """Keep each refusal out of standard error."""
    logging.getLogger("affiant").setLevel(logging.CRITICAL)
