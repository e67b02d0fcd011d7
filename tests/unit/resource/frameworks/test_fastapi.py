"""The guard in FastAPI: every way in which its users write a dependency, and the answers with and without `install`."""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Security, WebSocket
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect
from tests.unit.resource import test_guard
from tests.unit.resource.frameworks import page
from tests.unit.resource.frameworks.callers import GUARD, ISSUER, NEXT_NONCE, NONCE_KEY, OLD_NONCE, bearer, proven
from tests.unit.resource.issuer import API, NOW, Issuer
from tests.unit.resource.listening import listening

from affiant.errors import ConfigError
from affiant.resource import Caller, Denied, any_of

guard = GUARD  # FastAPI resolves the annotations of routes by the names of their module
nonces = ISSUER.guard(nonce_key=NONCE_KEY)


def client(app: FastAPI, **options: Any) -> TestClient:
    return TestClient(app, base_url=API, **options)


def _annotated(app: FastAPI) -> None:
    @app.get("/")
    async def route(caller: Annotated[Caller, guard("a")]) -> str:
        return caller.client_id


def _default(app: FastAPI) -> None:
    @app.get("/")
    async def route(caller: Any = guard("a")) -> str:  # noqa: B008 - as FastAPI's users write it
        return str(caller.client_id)


def _depends(app: FastAPI) -> None:
    @app.get("/")
    async def route(caller: Annotated[Caller, Depends(guard("a"))]) -> str:
        return caller.client_id


def _security(app: FastAPI) -> None:
    @app.get("/")
    async def route(caller: Annotated[Caller, Security(guard("a"))]) -> str:
        return caller.client_id


def _scopes_of_security(app: FastAPI) -> None:
    @app.get("/")
    async def route(caller: Annotated[Caller, Security(guard(), scopes=["a"])]) -> str:
        return caller.client_id


def _scopes_of_security_above(app: FastAPI) -> None:
    async def name_of(caller: Annotated[Caller, guard()]) -> str:
        return caller.client_id

    @app.get("/")
    async def route(name: Annotated[str, Security(name_of, scopes=["a"])]) -> str:
        return name


def _synchronous(app: FastAPI) -> None:
    @app.get("/")
    def route(caller: Annotated[Caller, guard("a")]) -> str:
        return caller.client_id


def _of_the_route(app: FastAPI) -> None:
    @app.get("/", dependencies=[guard("a")])
    async def route() -> str:
        return "c"


def _of_a_router(app: FastAPI) -> None:
    router = APIRouter(dependencies=[guard("a")])

    @router.get("/")
    async def route() -> str:
        return "c"

    app.include_router(router)


def _of_the_application(app: FastAPI) -> None:
    app.router.dependencies.append(guard("a"))

    @app.get("/")
    async def route() -> str:
        return "c"


SPELLINGS = [_annotated, _default, _depends, _security, _scopes_of_security, _scopes_of_security_above, _synchronous]
SPELLINGS += [_of_the_route, _of_a_router, _of_the_application]


@pytest.mark.parametrize("spell", SPELLINGS)
@pytest.mark.parametrize("is_installed", [False, True])
@pytest.mark.parametrize(
    ("headers", "status"), [({}, 401), (bearer("a"), 200), (bearer("b"), 403), (bearer("a", exp=NOW - 60), 401)]
)
async def test_verdict(spell: Callable[[FastAPI], None], is_installed: bool, headers: Any, status: int) -> None:
    """A refusal is that of the guard: each header, and the body; without `install` FastAPI wraps the body."""
    app = FastAPI()
    if is_installed:
        guard.install(app)
    spell(app)
    reply = client(app).get("/", headers=headers)
    assert reply.status_code == status
    if status == 200:
        assert reply.json() == "c"
        return
    values = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    denied = await guard.check_scope({"type": "http", "headers": values}, need="a")
    assert isinstance(denied, Denied)
    assert {name.lower(): value for name, value in denied.headers.items()}.items() <= dict(reply.headers).items()
    assert reply.headers.get_list("content-type") == ["application/json"]
    assert reply.json() == (json.loads(denied.body) if is_installed else {"detail": json.loads(denied.body)})


@pytest.mark.parametrize(
    ("scope", "status"), [("b c", 200), ("a c", 200), ("a", 403), ("c", 403), ("a b", 403), ("readonly", 403)]
)
def test_one_of_some_and_more_of_security(scope: str, status: int) -> None:
    """The scopes of Security are needed in addition, the first of a choice as well as any other."""
    app = FastAPI()

    @app.get("/")
    async def route(_: Annotated[Caller, Security(guard(any_of("a", "b")), scopes=["c"])]) -> None: ...

    assert client(app).get("/", headers=bearer(scope)).status_code == status


def test_scope_of_security_is_needed_though_a_choice_has_it() -> None:
    app = FastAPI()

    @app.get("/")
    async def route(_: Annotated[Caller, Security(guard(any_of("a", "b")), scopes=["a"])]) -> None: ...

    assert client(app).get("/", headers=bearer("b")).status_code == 403
    assert client(app).get("/", headers=bearer("a")).status_code == 200


def test_issuer_is_down() -> None:
    issuer = test_guard.Issuer()
    issuer.is_up = False
    app = FastAPI(dependencies=[issuer.guard()("a")])

    @app.get("/")
    async def route() -> None: ...

    reply = client(app).get("/", headers=bearer("a"))
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "5")


@pytest.mark.rfc(9449, "11.1")
def test_one_proof_is_enough_for_all_guards_of_a_request() -> None:
    """The application, the router and the route have a need each, and the middleware has one, too."""
    app = FastAPI(dependencies=[guard()])
    router = APIRouter(dependencies=[guard("a")])

    @router.get("/orders")
    async def route(caller: Annotated[Caller, guard("b")]) -> str:
        return caller.client_id

    @router.get("/more")
    async def more(caller: Annotated[Caller, guard("b", "more")]) -> str:
        return caller.client_id

    app.include_router(router)
    guarded = TestClient(guard.asgi(app, {"*": "a"}), base_url=API)
    headers = proven("/orders")
    assert guarded.get("/orders", headers=headers).json() == "c"
    assert guarded.get("/orders", headers=headers).status_code == 401  # replayed
    refused = guarded.get("/more", headers=proven("/more"))
    assert refused.status_code == 403
    assert refused.headers["WWW-Authenticate"].startswith('DPoP realm="https://api.example"')
    assert 'scope="b more"' in refused.headers["WWW-Authenticate"]


@pytest.mark.rfc(9449, "11.1")
def test_one_proof_is_enough_for_each_of_two_guards() -> None:
    """As for an API that changes its options route by route: neither forgets the request when the other checks it."""
    other = ISSUER.guard()
    app = FastAPI(dependencies=[guard()])

    @app.get("/orders", dependencies=[other("a"), guard("a")])
    async def route(caller: Annotated[Caller, Depends(other("b"))]) -> str:
        return caller.client_id

    headers = proven("/orders")
    assert client(app).get("/orders", headers=headers).json() == "c"
    assert client(app).get("/orders", headers=headers).status_code == 401


def test_guards_of_two_apis_in_one_application() -> None:
    """Each takes its own tokens; a token that one has accepted is not one for the other."""
    other = Issuer().guard()
    other.audience = "https://other.example"
    app = FastAPI(dependencies=[guard("a")])

    @app.get("/")
    async def route(_: Annotated[Caller, Depends(other("a"))]) -> None: ...

    assert client(app).get("/", headers=bearer("a")).status_code == 401


def _routes_that_need_a_nonce() -> FastAPI:
    app = FastAPI()

    @app.get("/value")
    async def value(_: Annotated[Caller, nonces("a")]) -> str:
        return "c"

    @app.get("/response")
    async def response(_: Annotated[Caller, nonces("a")]) -> PlainTextResponse:
        return PlainTextResponse("c")

    @app.get("/failure")
    async def failure(_: Annotated[Caller, nonces("a")]) -> None:
        raise HTTPException(404)

    @app.get("/invalid")
    async def invalid(_: Annotated[Caller, nonces("a")], number: int) -> int:
        return number

    nonces.install(app)
    return app


@pytest.mark.rfc(9449, "8.2")
@pytest.mark.parametrize(
    ("path", "status"), [("/value", 200), ("/response", 200), ("/failure", 404), ("/invalid", 422)]
)
def test_response_has_the_next_nonce(path: str, status: int) -> None:
    """Whatever the route returns or raises: the client would otherwise lose a round trip."""
    reply = client(_routes_that_need_a_nonce()).get(path, headers=proven(path, nonce=OLD_NONCE))
    assert reply.status_code == status
    assert reply.headers.get_list("DPoP-Nonce") == [NEXT_NONCE]
    assert reply.headers["Cache-Control"] == "no-store"


def test_background_task_knows_the_caller() -> None:
    seen, app = list[str](), FastAPI()

    @app.get("/")
    async def route(caller: Annotated[Caller, guard("a")], tasks: BackgroundTasks) -> None:
        tasks.add_task(seen.append, caller.client_id)

    client(app).get("/", headers=bearer("a"))
    assert seen == ["c"]


@pytest.mark.parametrize("spell", [_annotated, _depends, _security, _of_a_router])
def test_dependency_can_be_overridden(spell: Callable[[FastAPI], None]) -> None:
    app = FastAPI()
    spell(app)
    app.dependency_overrides[guard("a")] = lambda: Caller("c", "c", frozenset("a"), "1", {})
    assert client(app).get("/").json() == "c"
    app.dependency_overrides = {guard("b"): lambda: None, Issuer().guard()("a"): lambda: None}
    assert client(app).get("/").status_code == 401


@pytest.mark.parametrize("root_path", ["", "/api"])
def test_mounted_application_is_guarded(root_path: str) -> None:
    """Behind a server with a root_path, too: proofs name the whole path."""
    inner, app = FastAPI(dependencies=[guard("a")]), FastAPI()

    @inner.get("/orders")
    async def route(caller: Annotated[Caller, guard("b")]) -> str:
        return caller.client_id

    guard.install(inner)
    app.mount("/v1", inner)
    http, path = client(app, root_path=root_path), f"{root_path}/v1/orders"
    assert http.get(path, headers=bearer("a b")).json() == "c"
    assert http.get(path, headers=proven(path)).json() == "c"
    assert set(http.get(path).json()) == {"error_description"}


@pytest.mark.parametrize("wrong", [Annotated[Caller, guard], Caller, Caller | None, list[Caller]])
@pytest.mark.parametrize("method", ["get", "post"])
def test_request_cannot_name_its_caller(wrong: Any, method: str) -> None:
    """Attack: FastAPI would read a forgotten dependency from the body."""

    async def route(caller: Any) -> None: ...

    route.__annotations__["caller"] = wrong
    with pytest.raises(TypeError, match="a Caller comes from a guard alone"):
        getattr(FastAPI(), method)("/")(route)


def test_guard_that_is_not_called_lets_nobody_in() -> None:
    app = FastAPI()

    @app.get("/")
    async def route(caller: Annotated[Any, Depends(guard)]) -> str:
        return str(caller)

    strict = client(app, raise_server_exceptions=False)
    for query in ("", "?scopes=a"):
        assert strict.get(f"/{query}", headers=bearer("a")).status_code >= 400


def test_what_is_no_scope_is_an_error_where_it_is_written() -> None:
    for wrong in ("a b", "", ["a"]):
        with pytest.raises(ConfigError):
            guard(wrong)  # type: ignore[arg-type]


def _sockets(app: FastAPI) -> None:
    @app.websocket("/ws")
    async def accept(socket: WebSocket, caller: Annotated[Caller, guard("a")]) -> None:
        await socket.accept()
        await socket.send_text(caller.client_id)


@pytest.mark.parametrize("is_installed", [False, True])
@pytest.mark.parametrize(("headers", "status"), [({}, 401), (bearer("b"), 403)])
def test_websocket_is_refused_as_a_request_is(is_installed: bool, headers: Any, status: int) -> None:
    """Where the server can send a response to it."""
    app = FastAPI()
    _sockets(app)
    if is_installed:
        guard.install(app)
    with pytest.raises(WebSocketDenialResponse) as denied, client(app).websocket_connect("/ws", headers=headers):
        pass
    assert denied.value.status_code == status
    assert denied.value.headers["www-authenticate"].startswith('Bearer realm="https://api.example"')
    assert ("detail" in denied.value.json()) is not is_installed


@pytest.mark.parametrize("headers", [{}, bearer("b"), bearer("a", exp=NOW - 60)])
def test_websocket_is_closed_where_the_server_knows_no_refusal(headers: dict[str, str]) -> None:
    app = FastAPI()
    _sockets(app)
    guard.install(app)

    async def without_extensions(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "extensions": None}, receive, send)

    with (
        pytest.raises(WebSocketDisconnect) as closed,
        TestClient(without_extensions, base_url=API).websocket_connect("/ws", headers=headers),
    ):
        pass
    assert closed.value.code == 1008


@pytest.mark.parametrize("is_first", [False, True])
def test_page_of_another_origin_may_call(is_first: bool) -> None:
    """CORSMiddleware answers the preflight, which has no token, whether it was added before the guard or after it."""
    app = FastAPI(dependencies=[guard("a")])
    cors = partial(app.add_middleware, CORSMiddleware, ["https://page.example"], ["GET"])
    steps: list[Callable[[], object]] = [partial(guard.install, app), cors]
    for step in steps[::-1] if is_first else steps:
        step()

    @app.get("/")
    async def route() -> None: ...

    asked = {"Origin": "https://page.example", "Access-Control-Request-Method": "GET"}
    assert client(app).options("/", headers=asked).status_code == 200
    refused = client(app).get("/", headers={"Origin": "https://page.example"})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://page.example")
    assert "WWW-Authenticate" in refused.headers["access-control-expose-headers"]


def test_handler_of_the_application_leaves_refusals_alone() -> None:
    app = FastAPI(dependencies=[guard("a")])
    app.add_exception_handler(StarletteHTTPException, lambda *_: PlainTextResponse("mine", 418))
    guard.install(app)

    @app.get("/")
    async def route() -> None:
        raise HTTPException(404)

    assert client(app).get("/").headers["www-authenticate"].startswith("Bearer ")
    assert client(app).get("/", headers=bearer("a")).status_code == 418


def test_page_runs() -> None:
    with listening() as issuer:
        names = page.run("fastapi.md", issuer)
        app, guard = names["app"], names["guard"]

        def ask(**headers: str) -> Any:
            return TestClient(app).get("/orders", headers=headers)

        assert ask(authorization=issuer.token(scope="orders.read").decode()).json() == {"orders of": "c"}
        assert ask(authorization=issuer.token(scope="orders.admin").decode()).json()["error"] == "insufficient_scope"
        override = re.search(r"`app\.dependency_overrides.*`", (page.PAGES / "fastapi.md").read_text("utf-8"))
        assert override is not None
        exec(override[0].strip("`"), names, {"guard": guard, "app": app})
        assert ask().json() == {"orders of": "billing"}


def _forgotten(app: FastAPI) -> None:
    @app.get("/orders")
    async def route(caller: Any = guard) -> str:
        return "orders"


def _forgotten_in_a_dependency(app: FastAPI) -> None:
    def inner(caller: Any = guard) -> Any:
        return caller

    @app.get("/orders")
    async def route(_: Annotated[Any, Depends(inner)]) -> str:
        return "orders"


def _forgotten_in_a_router(app: FastAPI) -> None:
    router = APIRouter()
    _forgotten(router)  # type: ignore[arg-type] # it takes routes as an application does
    app.include_router(router)


@pytest.mark.parametrize("write", [_forgotten, _forgotten_in_a_dependency, _forgotten_in_a_router])
def test_guard_without_its_call_ends_the_start(write: Callable[[FastAPI], None]) -> None:
    """Attack: for FastAPI it is a parameter of the query, and ``/orders?caller=x`` would need no token."""
    app = FastAPI()
    guard.install(app)
    write(app)
    with pytest.raises(ConfigError, match="/orders: the guard is no parameter: call it"), client(app):
        pytest.fail("it started")


def test_guarded_application_starts() -> None:
    app = FastAPI()
    guard.install(app)
    _annotated(app)
    _default(app)
    with client(app) as http:
        assert http.get("/").status_code == 401
