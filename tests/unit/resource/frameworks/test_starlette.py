"""The guard in Starlette: its decorator for every kind of endpoint, and its backend with `@requires`."""

import json
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket, WebSocketDisconnect
from tests.unit.resource.frameworks import page
from tests.unit.resource.frameworks.callers import GUARD, ISSUER, NEXT_NONCE, NONCE_KEY, OLD_NONCE, bearer, proven
from tests.unit.resource.issuer import API, NOW
from tests.unit.resource.listening import listening

from affiant.errors import ConfigError
from affiant.resource import Denied
from affiant.resource.frameworks.starlette import GuardBackend

guard, nonces = GUARD, ISSUER.guard(nonce_key=NONCE_KEY)


def _name(request: Any) -> PlainTextResponse:
    assert request.user.caller is request.scope["affiant.caller"]
    return PlainTextResponse(f"{request.user.display_name} {sorted(request.auth.scopes)}")


@guard.starlette("a")
async def asynchronous(request: Request) -> PlainTextResponse:
    return _name(request)


@guard.starlette("a")
def synchronous(request: Request) -> PlainTextResponse:
    return _name(request)


@guard.starlette("a")
class Whole(HTTPEndpoint):
    async def get(self, request: Request) -> PlainTextResponse:
        return _name(request)


class Methods(HTTPEndpoint):
    @guard.starlette("a")
    def get(self, request: Request) -> PlainTextResponse:
        return _name(request)

    async def post(self, _: Request) -> PlainTextResponse:
        return PlainTextResponse("public")


@guard.starlette("a")
async def talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(socket.user.display_name)


@guard.starlette("a")
class Talk(WebSocketEndpoint):
    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(websocket.user.display_name)


HTTP = [asynchronous, synchronous, Whole, Methods]
SOCKETS = [talk, Talk]


def client(*endpoints: Any, **options: Any) -> TestClient:
    routes = [WebSocketRoute("/ws", one) if one in SOCKETS else Route("/", one) for one in endpoints]
    return TestClient(Starlette(routes=routes, **options), base_url=API)


@pytest.mark.parametrize("endpoint", HTTP)
@pytest.mark.parametrize(
    ("headers", "status"), [({}, 401), (bearer("a b"), 200), (bearer("b"), 403), (bearer("a", exp=NOW - 60), 401)]
)
async def test_endpoint_of_any_kind_is_guarded(endpoint: Any, headers: dict[str, str], status: int) -> None:
    """A refusal has each header and the body of the guard."""
    reply = client(endpoint).get("/", headers=headers)
    assert reply.status_code == status
    if status == 200:
        assert reply.text == "c ['a', 'authenticated', 'b']"
        return
    values = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    denied = await guard.check_scope({"type": "http", "headers": values}, need="a")
    assert isinstance(denied, Denied)
    assert {name.lower(): value for name, value in denied.headers.items()}.items() <= dict(reply.headers).items()
    assert reply.content == denied.body


def test_endpoint_keeps_its_methods_and_its_name() -> None:
    assert client(asynchronous).post("/").status_code == 405
    assert client(Methods).post("/").text == "public"
    assert client(Whole).post("/").status_code == 401
    assert client(Whole).post("/", headers=bearer("a")).status_code == 405
    assert [one.__name__ for one in (asynchronous, Whole)] == ["asynchronous", "Whole"]


@pytest.mark.parametrize("wrong", [object, dict])
def test_another_class_is_no_endpoint(wrong: type) -> None:
    with pytest.raises(ConfigError, match="HTTPEndpoint"):
        guard.starlette("a")(wrong)


@pytest.mark.parametrize("endpoint", SOCKETS)
def test_websocket_of_any_kind_is_guarded(endpoint: Any) -> None:
    with client(endpoint).websocket_connect("/ws", headers=bearer("a")) as socket:
        assert socket.receive_text() == "c"
    for headers, status in (({}, 401), (bearer("b"), 403)):
        with (
            pytest.raises(WebSocketDenialResponse) as denied,
            client(endpoint).websocket_connect("/ws", headers=headers),
        ):
            pass
        assert denied.value.status_code == status
        assert denied.value.headers["www-authenticate"].startswith("Bearer ")


@pytest.mark.parametrize("endpoint", SOCKETS)
def test_websocket_is_closed_where_the_server_knows_no_refusal(endpoint: Any) -> None:
    app = client(endpoint).app

    async def without_extensions(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "extensions": {}}, receive, send)

    with pytest.raises(WebSocketDisconnect) as closed, TestClient(without_extensions).websocket_connect("/ws"):
        pass
    assert closed.value.code == 1008


@nonces.starlette("a")
async def with_a_nonce(_: Request) -> PlainTextResponse:
    return PlainTextResponse("c")


@nonces.starlette("a")
class WithANonce(HTTPEndpoint):
    async def get(self, _: Request) -> PlainTextResponse:
        return PlainTextResponse("c")


@pytest.mark.rfc(9449, "8.2")
@pytest.mark.parametrize("endpoint", [with_a_nonce, WithANonce])
def test_response_has_the_next_nonce(endpoint: Any) -> None:
    reply = client(endpoint).get("/", headers=proven("/", nonce=OLD_NONCE))
    assert (reply.text, reply.headers["DPoP-Nonce"]) == ("c", NEXT_NONCE)


@requires("a")
async def required(request: Request) -> PlainTextResponse:
    return _name(request)


async def public(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.user.is_authenticated}")


def authenticated(*, need: str | None = None) -> TestClient:
    backend = GuardBackend(guard, need)
    middleware = [Middleware(AuthenticationMiddleware, backend=backend, on_error=backend.on_error)]
    routes = [
        Route("/", required),
        Route("/public", public),
        Route("/guarded", asynchronous),
        WebSocketRoute("/ws", talk),
    ]
    return TestClient(Starlette(routes=routes, middleware=middleware), base_url=API)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", bearer("a b"), 200),
        ("/", bearer("b"), 403),
        ("/", {}, 403),  # as Starlette has it
        ("/public", {}, 200),
        ("/public", bearer("b"), 200),
        ("/public", bearer(exp=NOW - 60), 401),
        ("/public", {"Authorization": "Basic YTpi"}, 401),
        ("/guarded", proven("/guarded"), 200),  # one proof for both
    ],
)
def test_backend_authenticates(path: str, headers: dict[str, str], status: int) -> None:
    assert authenticated().get(path, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("headers", "status", "error"),
    [({}, 401, None), (bearer("a", exp=NOW - 60), 401, "invalid_token"), (bearer("b"), 403, "insufficient_scope")],
)
def test_backend_with_a_need_refuses_exactly(headers: dict[str, str], status: int, error: str | None) -> None:
    reply = authenticated(need="a").get("/public", headers=headers)
    assert (reply.status_code, json.loads(reply.content).get("error")) == (status, error)
    assert reply.headers["www-authenticate"].startswith('Bearer realm="https://api.example"')
    assert reply.headers["cache-control"] == "no-store"


def test_backend_closes_a_websocket_with_a_bad_token() -> None:
    with pytest.raises(WebSocketDisconnect), authenticated().websocket_connect("/ws", headers=bearer(exp=1)):
        pass


def test_guarded_application_is_mounted() -> None:
    """The rules are about the paths of the application, wherever it is mounted."""
    inner = Starlette(routes=[Route("/orders", _name_of_the_scope)])
    app = Starlette(routes=[Mount("/v1", guard.asgi(inner, {"GET /orders": "a"}))])
    http = TestClient(app, base_url=API)
    assert http.get("/v1/orders", headers=bearer("a")).text == "c"
    assert http.get("/v1/orders", headers=proven("/v1/orders")).text == "c"
    assert http.get("/v1/orders", headers=bearer("b")).status_code == 403
    assert http.get("/v1/others", headers=bearer("a")).status_code == 404


async def _name_of_the_scope(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.scope["affiant.caller"].client_id)


def test_page_runs() -> None:
    with listening() as issuer:
        http = TestClient(page.run("starlette.md", issuer)["app"])
        good = http.get("/orders", headers={"Authorization": issuer.token(scope="orders.read").decode()})
        assert good.json() == {"orders of": "c"}
        assert http.get("/orders").status_code == 401
