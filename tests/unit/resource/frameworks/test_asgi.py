"""`guard.asgi` under attack: the rules and the router of the application must read each path in the same way."""

import json
from typing import Any

import pytest
from fastapi import FastAPI
from litestar import Litestar, get
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket
from tests.unit.resource.frameworks.callers import GUARD, ISSUER, NEXT_NONCE, NONCE_KEY, OLD_NONCE, bearer, proven
from tests.unit.resource.issuer import API

from affiant.resource import GuardMiddleware


async def _text(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.url.path)


async def _greet(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("secret")


def starlette() -> Starlette:
    return Starlette(routes=[Route("/orders", _text), Route("/health", _text), WebSocketRoute("/orders", _greet)])


def fastapi() -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.add_route("/orders", _text)
    app.add_route("/health", _text)
    return app


def litestar() -> Litestar:
    @get("/orders", sync_to_thread=False)
    def orders() -> str:
        return "secret"

    @get("/health", sync_to_thread=False)
    def health() -> str:
        return "fine"

    return Litestar([orders, health], openapi_config=None)


OPEN = {"/health*": None, "/orders": "a", "*": None}  # the last one is what an attacker looks for
ROUTERS = pytest.mark.parametrize("build", [starlette, fastapi, litestar])


async def status_of(app: Any, path: str, **more: Any) -> int:
    """Ask as a server does that passes on just this scope."""
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [],
        "root_path": "",
    }
    scope |= {"scheme": "https", "server": ("api.example", 443), "http_version": "1.1", "asgi": {"version": "3.0"}}
    sent = list[Any]()

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    await app(scope | more, receive, send)
    found: int = sent[0]["status"]
    return found


@ROUTERS
@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/orders", {}),
        ("/orders/", {}),
        ("//orders", {}),
        ("/orders//", {}),
        ("/health/../orders", {}),
        ("/./orders", {}),
        ("orders", {}),
        ("http://api.example/orders", {}),
        ("/v1/orders", {"root_path": "/v1"}),
        ("/orders", {"root_path": "/v1"}),
        ("/health/v1/orders", {"root_path": "/v1"}),
        ("/v1/health/v1/orders", {"root_path": "/v1"}),
        ("/v1/v1/orders", {"root_path": "/v1"}),
        ("/health/v1orders", {"root_path": "/v1"}),
        ("/v1orders", {"root_path": "/v1"}),
        ("/v1/orders/", {"root_path": "/v1"}),
        ("/v1//orders", {"root_path": "/v1/"}),
        ("/orders", {"root_path": "/"}),
        ("/orders", {"raw_path": b"/%6frders"}),
        ("/orders", {"raw_path": b"/%6Frders"}),
        ("/orders", {"method": "HEAD"}),
    ],
)
async def test_no_spelling_of_a_path_gets_past_its_rule(build: Any, path: str, more: dict[str, Any]) -> None:
    """The route is behind a scope, and every other path is open."""
    assert await status_of(guarded(build()), path, **more) >= 400


def guarded(app: Any) -> Any:
    return GUARD.asgi(app, OPEN)


@pytest.mark.parametrize("path", ["/api/orders", "/api/orders/", "/orders"])
async def test_no_path_gets_past_the_root_path_of_fastapi(path: str) -> None:
    """FastAPI sets its own root_path behind the middleware, and its routes then answer with that prefix, too."""
    app = fastapi()
    app.root_path = "/api"
    assert await status_of(app, "/api/orders") == 200
    assert await status_of(guarded(app), path) >= 400
    assert await status_of(guarded(app), "/api/health") == 200


async def test_no_path_gets_past_the_root_path_of_fastapi_behind_other_middleware() -> None:
    app = fastapi()
    app.root_path = "/api"
    layered = CORSMiddleware(GUARD.asgi(CORSMiddleware(app), {"*": None}))
    assert await status_of(guarded(layered), "/api/orders") == 401
    assert await status_of(guarded(layered), "/api/health") == 200


class Foldered:
    """An application like one of Quart, whose root_path is a folder. Its routes are those of Starlette."""

    import_name, root_path = "api", "/srv/api"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await starlette()(scope, receive, send)


async def test_the_folder_of_an_application_is_no_path_of_its_routes() -> None:
    assert await status_of(Foldered(), "/v1/orders", root_path="/v1") == 200
    assert await status_of(guarded(Foldered()), "/v1/orders", root_path="/v1") == 401
    assert await status_of(guarded(Foldered()), "/v1/health", root_path="/v1") == 200


@ROUTERS
@pytest.mark.parametrize("root_path", ["", "/v1", "/"])
async def test_public_route_is_found_wherever_the_application_is_mounted(build: Any, root_path: str) -> None:
    prefix = root_path.rstrip("/")
    assert await status_of(guarded(build()), f"{prefix}/health", root_path=root_path) == 200
    assert await status_of(GUARD.asgi(build(), public=["/health"]), f"{prefix}/health", root_path=root_path) == 200


@pytest.mark.parametrize("raw_path", [None, b"", b"/orders"])
async def test_server_need_not_pass_the_raw_path_on(raw_path: bytes | None) -> None:
    """As over HTTP/2 with some servers; a proof names the path all the same."""
    app = guarded(starlette())
    for sent in (bearer("a"), proven("/orders")):
        headers = [(name.lower().encode(), value.encode()) for name, value in sent.items()]
        headers.append((b"host", b"api.example"))
        assert await status_of(app, "/orders", headers=headers, raw_path=raw_path) == 200


def test_methods() -> None:
    http = TestClient(GUARD.asgi(starlette(), {"GET /orders": "a"}), base_url=API)
    assert http.head("/orders", headers=bearer("a")).status_code == 200
    refused = http.head("/orders")
    assert (refused.status_code, refused.content) == (401, b"")
    assert int(refused.headers["content-length"]) > 0
    for method in ("POST", "OPTIONS", "TRACE", "PROPFIND"):
        assert http.request(method, "/orders", headers=bearer("a")).status_code == 404


def test_preflight_is_answered_by_cors_in_front_of_the_guard() -> None:
    """A preflight has no token: CORSMiddleware answers it, and lets pages read the challenge of a refusal."""
    app = CORSMiddleware(GUARD.asgi(starlette(), {"GET /orders": "a"}), ["https://page.example"], ["GET"])
    http = TestClient(app, base_url=API)
    asked = {"Origin": "https://page.example", "Access-Control-Request-Method": "GET"}
    assert http.options("/orders", headers=asked).status_code == 200
    refused = http.get("/orders", headers={"Origin": "https://page.example"})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://page.example"
    assert "WWW-Authenticate" in refused.headers["access-control-expose-headers"]


def test_slash_that_the_router_adds() -> None:
    """A rule with `*` names both, so the router may redirect; one without names neither but itself."""
    wide = TestClient(GUARD.asgi(starlette(), {"GET /orders*": "a"}), base_url=API)
    assert wide.get("/orders/", headers=bearer("a")).text == "/orders"
    narrow = TestClient(GUARD.asgi(starlette(), {"GET /orders": "a", "*": "a"}), base_url=API)
    assert narrow.get("/orders/", headers=bearer("a")).status_code == 404


@pytest.mark.parametrize("path", ["/v1/orders", "/v1/inner/orders"])
def test_rules_are_about_the_application_that_they_wrap(path: str) -> None:
    inner = Starlette(routes=[Mount("/inner", GUARD.asgi(starlette(), {"/orders": "a"})), Route("/orders", _text)])
    app = Starlette(routes=[Mount("/v1", GUARD.asgi(inner, {"/orders": "a", "/inner/orders": "a"}))])
    http = TestClient(app, base_url=API)
    assert http.get(path, headers=bearer("a")).text == path
    assert http.get(path, headers=proven(path)).text == path
    assert http.get(path).status_code == 401
    assert http.get(path.replace("orders", "health"), headers=bearer("a")).status_code == 404


def test_websockets_have_rules() -> None:
    """A WebSocket begins as a GET."""
    http = TestClient(GUARD.asgi(starlette(), {"GET /orders": "a"}), base_url=API)
    with http.websocket_connect("/orders", headers=bearer("a")) as socket:
        assert socket.receive_text() == "secret"
    for app, status in ((GUARD.asgi(starlette(), {"GET /orders": "a"}), 401), (GUARD.asgi(starlette(), {}), 404)):
        with pytest.raises(WebSocketDenialResponse) as denied, TestClient(app).websocket_connect("/orders"):
            pass
        assert denied.value.status_code == status
        assert "error_description" in json.loads(denied.value.content)


@pytest.mark.rfc(9449, "8.2")
def test_websocket_gets_the_next_nonce() -> None:
    app = ISSUER.guard(nonce_key=NONCE_KEY, url=API).asgi(starlette(), {"/orders": "a"})
    headers = proven("/orders", nonce=OLD_NONCE)
    with TestClient(app, base_url=API).websocket_connect("/orders", headers=headers) as socket:
        headers_of_accept: Any = socket.extra_headers
        assert dict(headers_of_accept)[b"dpop-nonce"] == NEXT_NONCE.encode()


def test_middleware_of_an_application_has_the_same_rules() -> None:
    middleware = [Middleware(GuardMiddleware, guard=GUARD, routes={"/orders": "a"})]
    http = TestClient(Starlette(routes=[Route("/orders", _text)], middleware=middleware), base_url=API, root_path="/v1")
    assert http.get("/v1/orders", headers=bearer("a")).status_code == 200
    assert http.get("/v1/orders").status_code == 401
