"""The guard on routes of Litestar."""

import logging
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import pytest
import uvicorn
from litestar import Controller, Litestar, Request, Response, WebSocket, asgi, get, post, websocket
from litestar.datastructures import State
from litestar.exceptions import HTTPException, NotFoundException, WebSocketDisconnect
from litestar.response import Stream
from litestar.testing import AsyncTestClient
from tests.unit.resource.frameworks import page
from tests.unit.resource.frameworks.bound import Bound
from tests.unit.resource.listening import API, METADATA, ListeningIssuer, listening

from affiant.oauth.binding import dpop
from affiant.resource import Caller, Denied, Guard, ResourceMetadata, any_of

Caller_ = Request[Caller, dict[str, Any], State]
Socket = WebSocket[Caller, dict[str, Any], State]
PLACE = "/.well-known/oauth-protected-resource"
NONCES = b"sixteen bytes or more"


def _app(guard: Guard, **options: Any) -> Litestar:
    read, write = guard.litestar("orders.read"), guard.litestar("orders.write")

    @get("/orders", guards=[read])
    async def orders(request: Caller_) -> str:
        return f"{request.user.client_id} {request.auth['jti']}"

    @get("/missing", guards=[read])
    async def missing() -> None:
        raise NotFoundException

    @get("/stream", guards=[read])
    async def stream() -> Stream:
        return Stream([b"a ", b"stream"])

    @get("/health")
    async def health(request: Caller_) -> bool:
        return "user" in request.scope

    class Invoices(Controller):
        path = "/invoices"
        guards: Sequence[Any] | None = (read,)

        @post("/", guards=[write])
        async def add(self, request: Caller_) -> str:
            return request.user.client_id

    @websocket("/socket", guards=[read])
    async def accept(socket: Socket) -> None:
        await socket.accept()
        await socket.send_text(socket.user.client_id)
        await socket.close()

    @asgi("/mounted", is_mount=True, guards=[read], copy_scope=True)
    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await Response(scope["user"].client_id).to_asgi_response(app=None, request=Request(scope))(scope, receive, send)

    app = Litestar([orders, missing, stream, health, Invoices, accept, mounted], logging_config=None, **options)
    guard.install(app)
    return app


@pytest.fixture(scope="module")
def issuer() -> Iterator[ListeningIssuer]:
    with listening() as found:
        yield found


def _headers(token: bytes) -> dict[str, str]:
    return {"Authorization": token.decode()}


async def test_caller_is_the_user(issuer: ListeningIssuer) -> None:
    async with AsyncTestClient(_app(issuer.guard())) as client:
        response = await client.get("/orders", headers=_headers(issuer.token("7", scope="orders.read")))
        assert (response.status_code, response.text) == (200, "c 7")
        assert (await client.get("/health")).json() is False


OTHERS = {"content-length", "date", "server"}


@pytest.mark.parametrize(
    "claims",
    [None, {"scope": "other"}, {"exp": 1}, {"aud": "https://another.example", "scope": "orders.read"}],
    ids=["no token", "no scope", "expired", "other audience"],
)
@pytest.mark.parametrize("debug", [False, True])
async def test_refusal_is_sent_as_it_is(issuer: ListeningIssuer, claims: dict[str, Any] | None, debug: bool) -> None:
    """Whatever handlers of exceptions the application has."""

    def other(*_: Any) -> Response[str]:
        return Response("another body", status_code=200)

    guard = issuer.guard(metadata=ResourceMetadata())
    token = [] if claims is None else [issuer.token(**claims)]
    scope = {"headers": [(b"authorization", value) for value in token], "path": "/orders"}
    denied = await guard.check_scope(scope, need="orders.read")
    assert isinstance(denied, Denied)
    handlers: Any = dict.fromkeys((401, 403, 500, HTTPException, Exception), other)
    async with AsyncTestClient(_app(guard, debug=debug, exception_handlers=handlers)) as client:
        for path in ("/orders", "/mounted", "/mounted/anywhere"):
            response = await client.get(path, headers=_headers(token[0]) if token else {})
            assert (response.status_code, response.content) == (denied.status, denied.body)
            found = [(name, value) for name, value in response.headers.multi_items() if name not in OTHERS]
            assert sorted(found) == sorted((name.lower(), value) for name, value in denied.headers.items())


async def test_issuer_that_does_not_answer_is_503() -> None:
    with listening() as issuer:
        issuer.statuses = {METADATA: 500, "/.well-known/openid-configuration": 500}
        async with AsyncTestClient(_app(issuer.guard())) as client:
            response = await client.get("/orders", headers=_headers(issuer.token(scope="orders.read")))
            assert (response.status_code, response.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize(
    ("scope", "status"), [("orders.read orders.write", 201), ("orders.read", 403), ("orders.write", 403), (None, 401)]
)
async def test_needs_of_all_layers_count(issuer: ListeningIssuer, scope: str | None, status: int) -> None:
    """With one check: a proof is good for one."""
    async with AsyncTestClient(_app(issuer.guard(url=API))) as client:
        headers = Bound(issuer, scope=scope).headers(f"{API}/invoices", method="POST") if scope is not None else {}
        assert (await client.post("/invoices", headers=headers)).status_code == status


async def test_guard_of_an_application_is_for_all_its_routes(issuer: ListeningIssuer) -> None:
    guard = issuer.guard()
    async with AsyncTestClient(_app(guard, guards=[guard.litestar(any_of("a", "b"))])) as client:
        assert (await client.get("/health")).status_code == 401
        assert (await client.get("/health", headers=_headers(issuer.token(scope="b")))).json() is True


async def test_cached_response_needs_a_token(issuer: ListeningIssuer) -> None:
    guard = issuer.guard()

    @get("/cached", guards=[guard.litestar("orders.read")], cache=True)
    async def cached() -> str:
        return "cached"

    app = _app(guard)
    app.register(cached)
    async with AsyncTestClient(app) as client:
        for _ in range(2):
            assert (await client.get("/cached", headers=_headers(issuer.token(scope="orders.read")))).text == "cached"
            assert (await client.get("/cached")).status_code == 401


async def test_application_without_install_passes_nothing(
    issuer: ListeningIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    """Litestar logs no exception unless it debugs: the guard says in the log what is missing."""
    guard = issuer.guard()

    @get("/orders", guards=[guard.litestar("orders.read")])
    async def orders() -> str:
        return "orders"

    async with AsyncTestClient(Litestar([orders], debug=True, logging_config=None)) as client:
        response = await client.get("/orders", headers=_headers(issuer.token(scope="orders.read")))
        assert response.status_code == 500
        assert "guard.install(app)" in response.text
    assert "call guard.install(app)" in caplog.text


@pytest.mark.parametrize("path", ["/orders", "/missing", "/stream"])
async def test_next_nonce_is_on_every_response(path: str) -> None:
    with listening() as issuer:
        guard, bound = issuer.guard(nonce_key=NONCES, url=API), Bound(issuer, scope="orders.read")
        nonce = guard.current_nonce()
        issuer.now += dpop.NONCE_SECONDS
        async with AsyncTestClient(_app(guard)) as client:
            response = await client.get(path, headers=bound.headers(API + path, nonce=nonce))
        assert response.headers["DPoP-Nonce"] == guard.current_nonce()
        assert response.headers["Cache-Control"] == "no-store"


async def test_metadata_need_no_token(issuer: ListeningIssuer) -> None:
    guard = issuer.guard()
    async with AsyncTestClient(_app(guard, guards=[guard.litestar()])) as client:
        assert (await client.get(PLACE)).json()["resource"] == API
        assert f'resource_metadata="{API}{PLACE}"' in (await client.get("/orders")).headers["WWW-Authenticate"]


async def test_keys_are_fetched_at_the_start() -> None:
    with listening() as issuer:
        async with AsyncTestClient(_app(issuer.guard())):
            await anyio.to_thread.run_sync(issuer.await_requests, "/jwks", 1)


@asynccontextmanager
async def _listening(app: Any) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            server.should_exit = True


async def test_websocket_is_refused_with_a_whole_response(issuer: ListeningIssuer) -> None:
    guard = issuer.guard()
    async with _listening(_app(guard)) as url, aiohttp.ClientSession() as session:
        good, other = (_headers(issuer.token(scope=scope)) for scope in ("orders.read", "other"))
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{url}/socket", headers=other)
        assert refused.value.status == 403
        assert refused.value.headers is not None
        assert 'error="insufficient_scope"' in refused.value.headers["WWW-Authenticate"]
        async with session.ws_connect(f"{url}/socket", headers=good) as accepted:
            assert await accepted.receive_str() == "c"


async def test_websocket_is_closed_where_the_server_sends_no_response(issuer: ListeningIssuer) -> None:
    async with AsyncTestClient(_app(issuer.guard())) as client:
        with pytest.raises(WebSocketDisconnect) as closed, await client.websocket_connect("/socket"):
            pass
        assert closed.value.code == 1008


@pytest.fixture
def root_logger() -> Iterator[None]:
    """Take back what an application of Litestar configures by default."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("root_logger")
async def test_page_runs(issuer: ListeningIssuer) -> None:
    async with AsyncTestClient[Litestar](page.run("litestar.md", issuer)["app"]) as client:
        response = await client.get("/orders", headers=_headers(issuer.token(scope="orders.read")))
        assert response.json() == {"orders of": "c"}
        assert (await client.get("/orders")).status_code == 401
