"""The guard in aiohttp's server, over HTTP."""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.typedefs import Handler
from tests import certificates
from tests.unit.resource.frameworks import page
from tests.unit.resource.frameworks.bound import Bound
from tests.unit.resource.listening import API, METADATA, ListeningIssuer, listening

from affiant.errors import ConfigError
from affiant.oauth.binding import dpop
from affiant.resource import Denied, Guard, ResourceMetadata
from affiant.resource.frameworks.aiohttp import CALLER, GuardMiddleware

ROUTES = {"GET /orders*": "orders.read", "/health": None, "/socket": "orders.read"}
PLACE = "/.well-known/oauth-protected-resource"
NONCES = b"sixteen bytes or more"

Client = TestClient[web.Request, web.Application]


async def _orders(request: web.Request) -> web.StreamResponse:
    match request.match_info.get("name"):
        case "missing":
            raise web.HTTPNotFound
        case "stream":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"a stream")
            return response
        case _:
            return web.Response(text=f"orders of {request[CALLER].client_id}")


async def _health(request: web.Request) -> web.Response:
    return web.Response(text=str(request.get(CALLER)))


async def _socket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str(request[CALLER].client_id)
    await socket.close()
    return socket


@asynccontextmanager
async def _serving(
    middleware: GuardMiddleware, *, tls: ssl.SSLContext | None = None, install: Guard | None = None
) -> AsyncIterator[Client]:
    app = web.Application(middlewares=[middleware])
    if install is not None:
        install.install(app)
    app.router.add_get("/orders", _orders)
    app.router.add_get("/orders/{name}", _orders)
    app.router.add_post("/orders", _orders)
    app.router.add_get("/health", _health)
    app.router.add_get("/socket", _socket)
    server = TestServer(app)
    await server.start_server(ssl=tls)
    async with TestClient(server) as client:
        yield client


@pytest.fixture(scope="module")
def issuer() -> Iterator[ListeningIssuer]:
    with listening() as found:
        yield found


def _headers(token: bytes) -> dict[str, str]:
    return {"Authorization": token.decode()}


async def test_handler_has_the_caller(issuer: ListeningIssuer) -> None:
    async with _serving(issuer.guard().aiohttp(ROUTES)) as client:
        response = await client.get("/orders", headers=_headers(issuer.token(scope="orders.read")))
        assert (response.status, await response.text()) == (200, "orders of c")
        assert "DPoP-Nonce" not in response.headers


def _is_whole(response: aiohttp.ClientResponse, body: bytes, denied: Denied) -> None:
    assert (response.status, body) == (denied.status, denied.body)
    assert {name: response.headers.getall(name) for name in denied.headers} == {
        name: [value] for name, value in denied.headers.items()
    }
    others = {name.lower() for name in response.headers} - {name.lower() for name in denied.headers}
    assert others <= {"content-length", "date", "server"}


@pytest.mark.parametrize(
    "claims",
    [None, {"scope": "other"}, {"exp": 1}, {"aud": "https://another.example", "scope": "orders.read"}],
    ids=["no token", "no scope", "expired", "other audience"],
)
async def test_refusal_is_sent_as_it_is(issuer: ListeningIssuer, claims: dict[str, Any] | None) -> None:
    guard = issuer.guard(metadata=ResourceMetadata())
    token = [] if claims is None else [issuer.token(**claims)]
    scope = {"headers": [(b"authorization", value) for value in token], "path": "/orders"}
    denied = await guard.check_scope(scope, need="orders.read")
    assert isinstance(denied, Denied)
    async with _serving(guard.aiohttp(ROUTES)) as client:
        for path in ("/orders", "/orders/stream", "/socket"):
            response = await client.get(path, headers=_headers(token[0]) if token else {})
            _is_whole(response, await response.read(), denied)


async def test_issuer_that_does_not_answer_is_503() -> None:
    with listening() as issuer:
        issuer.statuses = {METADATA: 500, "/.well-known/openid-configuration": 500}
        async with _serving(issuer.guard().aiohttp(ROUTES)) as client:
            response = await client.get("/orders", headers=_headers(issuer.token(scope="orders.read")))
            assert (response.status, response.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("POST", "/orders", 404),  # no rule
        ("GET", "/other", 404),
        ("GET", "/orders/%2e%2e/health", 404),
        ("GET", "/orders%2fstream", 404),
        ("GET", "/%6frders", 200),
        ("GET", "/orders/none", 200),
    ],
)
async def test_rule_decides(issuer: ListeningIssuer, method: str, path: str, status: int) -> None:
    async with _serving(issuer.guard().aiohttp(ROUTES)) as client:
        url = client.make_url("/").joinpath(path[1:], encoded=True)
        headers = _headers(issuer.token(scope="orders.read"))
        response = await client.session.request(method, url, headers=headers)
        assert response.status == status
        denied = status == 404 and path != "/orders/none"
        assert not denied or (await response.json())["error"] == "not_found"


async def test_path_without_a_token_has_no_caller(issuer: ListeningIssuer) -> None:
    async with _serving(issuer.guard().aiohttp(need="orders.read", public=["/health"])) as client:
        assert await (await client.get("/health")).text() == "None"
        assert (await client.get("/orders")).status == 401


async def test_websocket_is_refused_before_it_is_accepted(issuer: ListeningIssuer) -> None:
    async with _serving(issuer.guard().aiohttp(ROUTES)) as client:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect("/socket", headers=_headers(issuer.token(scope="other")))
        assert refused.value.status == 403
        assert refused.value.headers is not None
        assert 'error="insufficient_scope"' in refused.value.headers["WWW-Authenticate"]


async def test_websocket_with_a_good_token_is_accepted(issuer: ListeningIssuer) -> None:
    async with _serving(issuer.guard().aiohttp(ROUTES)) as client:
        socket = await client.ws_connect("/socket", headers=_headers(issuer.token(scope="orders.read")))
        assert await socket.receive_str() == "c"


@pytest.mark.parametrize("is_installed", [False, True])
async def test_metadata_need_no_token(issuer: ListeningIssuer, is_installed: bool) -> None:
    guard = issuer.guard() if is_installed else issuer.guard(metadata=ResourceMetadata(name="orders"))
    async with _serving(guard.aiohttp(ROUTES), install=guard if is_installed else None) as client:
        response = await client.get(PLACE)
        assert (await response.json())["resource"] == API
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        response = await client.head(PLACE)
        assert (response.status, await response.read()) == (200, b"")
        assert int(response.headers["Content-Length"]) > 0
        assert (await client.options(PLACE)).status == 204
        assert (await client.post(PLACE)).status == 405
        assert f'resource_metadata="{API}{PLACE}"' in (await client.get("/orders")).headers["WWW-Authenticate"]


@pytest.mark.parametrize("path", ["/orders", "/orders/missing", "/orders/stream", "/socket"])
@pytest.mark.parametrize("is_installed", [False, True])
async def test_next_nonce_is_on_a_response(path: str, is_installed: bool) -> None:
    """A handler sends the headers of a stream and of a WebSocket before it returns."""
    with listening() as issuer:
        guard, bound = issuer.guard(nonce_key=NONCES, url=API), Bound(issuer, scope="orders.read")
        nonce = guard.current_nonce()
        issuer.now += dpop.NONCE_SECONDS
        async with _serving(guard.aiohttp(ROUTES), install=guard if is_installed else None) as client:
            headers = bound.headers(API + path, nonce=nonce)
            if path == "/socket":
                found = (await client.ws_connect(path, headers=headers))._response.headers
            else:
                found = (await client.get(path, headers=headers)).headers
        has_nonce = is_installed or path in ("/orders", "/orders/missing")
        assert found.get("DPoP-Nonce") == (guard.current_nonce() if has_nonce else None)
        assert (found.get("Cache-Control") == "no-store") is has_nonce


async def test_keys_are_fetched_at_the_start() -> None:
    with listening() as issuer:
        guard = issuer.guard()
        async with _serving(guard.aiohttp(ROUTES), install=guard):
            await asyncio.to_thread(issuer.await_requests, "/jwks", 1)


async def test_proof_is_used_by_one_check_of_a_request(issuer: ListeningIssuer) -> None:
    guard, bound = issuer.guard(url=API), Bound(issuer, scope="orders.read")
    app = web.Application(middlewares=[guard.aiohttp(), guard.aiohttp(ROUTES)])
    app.router.add_get("/orders", _orders)
    async with TestClient(TestServer(app)) as client:
        assert (await client.get("/orders", headers=bound.headers(f"{API}/orders"))).status == 200


async def test_proof_is_for_the_path_as_it_was_sent(issuer: ListeningIssuer) -> None:
    bound = Bound(issuer, scope="orders.read")
    async with _serving(issuer.guard(url=API).aiohttp(ROUTES)) as client:
        url = client.make_url("/").joinpath("orders/a%20b%7Ec", encoded=True)
        headers = bound.headers(f"{API}/orders/a%20b%7Ec")
        assert (await client.session.get(url, headers=headers)).status == 200
        assert (await client.session.get(url, headers=headers)).status == 401, "a proof is good for one request"


async def test_certificate_of_the_connection_counts(issuer: ListeningIssuer) -> None:
    authority = certificates.make_authority()
    own, other = (certificates.lasting(dn=f"CN={name}", by=authority) for name in ("own", "other"))
    tls = authority.serve("127.0.0.1")
    tls.load_verify_locations(cadata=authority.pem.decode())
    tls.verify_mode = ssl.CERT_OPTIONAL
    headers = _headers(issuer.token(scope="orders.read", cnf={"x5t#S256": own.thumbprint}))
    async with _serving(issuer.guard().aiohttp(ROUTES), tls=tls) as client:
        statuses = []
        for shown in (own, other, None):
            context = authority.trust()
            if shown is not None:
                _load(context, shown)
            connector = aiohttp.TCPConnector(ssl=context)
            async with aiohttp.ClientSession(connector=connector) as session:
                statuses.append((await session.get(client.make_url("/orders"), headers=headers)).status)
        assert statuses == [200, 401, 401]


def _load(context: ssl.SSLContext, made: certificates.Made) -> None:
    with tempfile.TemporaryDirectory() as folder:
        context.load_cert_chain(*made.write(Path(folder), "client"))


@pytest.mark.parametrize(("proxies", "status"), [("127.0.0.1", 200), ("10.0.0.5", 401)])
async def test_header_of_a_certificate_is_from_a_proxy_alone(
    issuer: ListeningIssuer, proxies: str, status: int
) -> None:
    """Other middleware may take the address of the peer from a header. The guard asks the connection."""
    made = certificates.lasting()
    guard = issuer.guard(certificate_proxies=[proxies])

    @web.middleware
    async def remote(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await handler(request.clone(remote="10.0.0.5"))

    app = web.Application(middlewares=[remote, guard.aiohttp(ROUTES)])
    app.router.add_get("/orders", _orders)
    token = issuer.token(scope="orders.read", cnf={"x5t#S256": made.thumbprint})
    async with TestClient(TestServer(app)) as client:
        response = await client.get("/orders", headers={**_headers(token), "Client-Cert": made.text})
        assert response.status == status


def test_rules_that_are_none_are_refused() -> None:
    guard = Guard("https://as.example", audience=API)
    with pytest.raises(ConfigError, match="no route"):
        guard.aiohttp({"orders": "orders.read"})


async def test_page_runs(issuer: ListeningIssuer) -> None:
    app = page.run("aiohttp.md", issuer)["app"]
    async with TestClient[Any, Any](TestServer(app)) as client:
        response = await client.get("/orders", headers=_headers(issuer.token(scope="orders.read")))
        assert await response.json() == {"orders of": "c"}
        assert (await client.get("/orders")).status == 401
