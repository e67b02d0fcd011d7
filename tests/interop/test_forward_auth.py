"""Proxies in front of an API, with `affiant guard serve` behind them, as their pages in docs/how-to configure them."""

import http.client
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.interop import envoy
from tests.interop.conftest import program
from tests.loopback import free_port, listens
from tests.process import AFFIANT, Child, Server

from affiant import Service
from affiant.jose import keys
from affiant.jose.keys import PrivateKey
from affiant.oauth.binding import dpop

pytestmark = pytest.mark.interop
PAGES = Path(__file__).parents[2] / "docs" / "how-to"
ORDERS = "https://orders.example"
ROUTES = {
    "/health": None,
    "GET /orders*": "orders.read",
    "PUT /orders": "orders.read",
    "POST /orders": "orders.write",
    "/admin": "orders.admin",
}
KINDS = ("nginx", "caddy", "traefik", "envoy")
ALLOWED, REDIRECTS = 200, {301, 307, 308}


class Seen(NamedTuple):
    """A request that reached the API."""

    method: str
    target: str
    headers: dict[str, str]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    seen: Seen | None  # what reached the API meanwhile


class Front:
    """A proxy in front of an API, and the guard that it asks."""

    def __init__(self, port: int, seen: list[Seen], guard: Child) -> None:
        self.port, self.seen, self.guard = port, seen, guard

    def ask(self, method: str, target: str, *headers: tuple[str, str]) -> Answer:
        """Send a request with this target, to the letter."""
        self.seen.clear()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in (("Host", "orders.example"), *headers):
            connection.putheader(name, value)
        connection.endheaders()
        reply = connection.getresponse()
        reply.read()
        connection.close()
        return Answer(
            reply.status,
            {name.lower(): value for name, value in reply.getheaders()},
            self.seen[-1] if self.seen else None,
        )


@pytest.fixture(scope="module")
def api() -> Iterator[tuple[int, list[Seen]]]:
    """An API that trusts the headers of the guard."""
    seen: list[Seen] = []

    class Api(BaseHTTPRequestHandler):
        def answer(self) -> None:
            # As WSGI and CGI do.
            headers = {name.lower().replace("_", "-"): value for name, value in self.headers.items()}
            seen.append(Seen(self.command, self.path, headers))
            self.send_response(ALLOWED)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer  # noqa: N815 - http.server's

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_port, seen
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module", params=KINDS)
def front(
    request: Any, plain: Server, api: tuple[int, list[Seen]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    kind: str = request.param
    command = program(kind)
    folder, port, guard_port = tmp_path_factory.mktemp(kind), free_port(), free_port()
    (folder / "routes.json").write_text(json.dumps(ROUTES))
    page = (PAGES / f"{kind}.md").read_text()
    (found,) = re.findall(r"`affiant (guard serve .*?)`", page, re.DOTALL)
    words = [word.replace("https://as.example", plain.issuer) for word in found.split()]
    (block,) = re.findall(r"^```(?:nginx|caddyfile|yaml)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    block = block.replace("127.0.0.1:8400", f"127.0.0.1:{guard_port}").replace("127.0.0.1:9000", f"127.0.0.1:{api[0]}")
    arguments = CONFIGURE[kind](folder, block, port, guard_port, api[0])
    with (
        Child.start(folder, *AFFIANT, *words, "--listen", f"127.0.0.1:{guard_port}", name="guard") as guard,
        Child.start(folder, command, *arguments, name=kind, HOME=str(folder)) as proxy,
    ):
        guard.until(lambda: listens(guard_port))
        proxy.until(lambda: listens(port))
        front = Front(port, api[1], guard)
        proxy.until(lambda: front.ask("GET", "/health").status == ALLOWED)
        yield front


def _nginx(folder: Path, block: str, port: int, *_: int) -> list[str]:
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {paths}\nserver {{ listen 127.0.0.1:{port}; server_name orders.example;\n{block}}} }}\n"
    )
    return ["-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]


def _caddy(folder: Path, block: str, port: int, *_: int) -> list[str]:
    site = block.replace("orders.example {", f"http://orders.example:{port} {{\n    bind 127.0.0.1")
    (folder / "Caddyfile").write_text(f"{{\n    admin off\n    auto_https off\n}}\n{site}")
    return ["run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


def _traefik(folder: Path, block: str, port: int, *_: int) -> list[str]:
    (folder / "dynamic.yaml").write_text(block)
    quiet = ("--global.checkNewVersion=false", "--global.sendAnonymousUsage=false")
    return [*quiet, f"--entryPoints.web.address=127.0.0.1:{port}", f"--providers.file.filename={folder}/dynamic.yaml"]


def _envoy(folder: Path, block: str, port: int, guard_port: int, api_port: int) -> list[str]:
    return envoy.configure(folder, block, port, route="route: {cluster: api}", guard=guard_port, api=api_port)


Configure = Callable[[Path, str, int, int, int], list[str]]
CONFIGURE: dict[str, Configure] = {"nginx": _nginx, "caddy": _caddy, "traefik": _traefik, "envoy": _envoy}


@pytest.fixture(scope="module")
def bearer(plain: Server) -> tuple[str, str]:
    plain.affiant("client", "new", "caller", "--scope", "orders.read", "--resource", ORDERS)
    token = plain.affiant("token", "-c", "caller.affiant.json", "--resource", ORDERS)["access_token"]
    return "Authorization", f"Bearer {token}"


def test_caller_reaches_the_api_under_its_name(front: Front, bearer: tuple[str, str]) -> None:
    found = front.ask("GET", "/orders/%6f?page=2&q=%2F", bearer)
    assert found.status == ALLOWED
    assert found.seen is not None
    path, _, query = found.seen.target.partition("?")
    # Traefik and Envoy decode what needs no escape, for the guard and for the API.
    assert (found.seen.method, path in {"/orders/%6f", "/orders/o"}, query) == ("GET", True, "page=2&q=%2F")
    named = [found.seen.headers.get(f"affiant-{name}") for name in ("client-id", "subject", "scope")]
    assert named == ["caller", "caller", "orders.read"]
    assert front.ask("HEAD", "/orders", bearer).status == ALLOWED


@pytest.mark.parametrize(
    ("method", "target", "has_token", "status", "challenge"),
    [
        ("GET", "/orders", False, 401, 'scope="orders.read"'),
        ("POST", "/orders", True, 403, 'error="insufficient_scope"'),
        ("GET", "/admin", True, 403, 'scope="orders.admin"'),
        ("GET", "/orders?access_token=x", True, 400, 'error="invalid_request"'),
        ("DELETE", "/orders", True, 404, None),
        ("GET", "/", True, 404, None),
    ],
)
def test_refusal_reaches_the_caller(
    front: Front,
    bearer: tuple[str, str],
    method: str,
    target: str,
    has_token: bool,
    status: int,
    challenge: str | None,
) -> None:
    found = front.ask(method, target, *([bearer] if has_token else []))
    assert (found.status, found.seen) == (status, None)
    assert (challenge or "") in found.headers.get("www-authenticate", "")


FORGED = [
    *(
        ("Affiant-Issuer", "https://other.example"),
        ("Affiant-Client-Id", "admin"),
        ("Affiant-Subject", "admin"),
        ("Affiant-Scope", "orders.admin"),
    ),
    *(("X-Original-URI", "/health"), ("X-Original-Method", "GET"), ("X-Forwarded-Uri", "/health")),
    *(("X-Forwarded-Method", "GET"), ("X-Original-URL", "/health"), ("X-Envoy-Original-Path", "/health")),
    *(("X-Forwarded-Host", "other.example"), ("X-Forwarded-Proto", "http"), ("X-HTTP-Method-Override", "GET")),
]


def test_client_cannot_forge(front: Front, plain: Server, bearer: tuple[str, str]) -> None:
    """Neither what it asked for, nor who it is."""
    assert front.ask("POST", "/orders", bearer, *FORGED).status == 403
    assert front.ask("GET", "/admin", *FORGED).status == 401
    found = front.ask("GET", "/orders", bearer, *FORGED)
    assert found.seen is not None
    assert found.seen.headers["affiant-client-id"] == found.seen.headers["affiant-subject"] == "caller"
    assert found.seen.headers["affiant-scope"] == "orders.read"
    assert found.seen.headers["affiant-issuer"] == plain.issuer


def test_client_cannot_forge_on_a_public_route(front: Front) -> None:
    found = front.ask("GET", "/health", *FORGED)
    assert found.seen is not None
    assert not [value for name, value in found.seen.headers.items() if name.startswith("affiant-") and value]


@pytest.mark.parametrize("target", ["/health", "/orders"])
def test_underscore_forges_nothing(front: Front, bearer: tuple[str, str], target: str) -> None:
    """The proxy removes the header, or the request is refused."""
    found = front.ask("GET", target, bearer, ("Affiant_Client_Id", "admin"), ("affiant-client_id", "admin"))
    assert found.status in (ALLOWED, 400)
    assert found.seen is None or found.seen.headers.get("affiant-client-id", "") in ("", "caller")


@pytest.mark.parametrize(
    "target",
    [
        "/orders/../admin",
        "/orders/%2e%2e/admin",
        "/orders/%2E./admin",
        "/orders/..%2fadmin",
        "/orders/%252e%252e/admin",
        "/orders/..;/admin",
        "/orders/..%5cadmin",
        "/orders//admin",
        "//admin",
        "/orders/./../admin",
        "/orders;/../admin",
        "/health#/../admin",
        "/admin#",
        "http://orders.example/admin",
        "http://orders.example/orders/../admin",
        "http://orders.example/health/../admin",
        "*",
    ],
)
def test_no_spelling_reaches_another_route(front: Front, bearer: tuple[str, str], target: str) -> None:
    """It is refused. Or the proxy cleans the path, for the guard and for the API, and the token is enough for that."""
    found = front.ask("GET", target, bearer)
    if found.seen is not None:
        assert (found.status, found.seen.target) == (ALLOWED, "/orders/admin")
    else:
        assert found.status in {400, 403, 404, *REDIRECTS}


class Bound(NamedTuple):
    token: str
    key: PrivateKey

    def headers(self, method: str, url: str) -> tuple[tuple[str, str], ...]:
        proof = dpop.build(dpop.ProofKey.of(self.key), method=method, url=url, now=time.time(), access_token=self.token)
        return ("Authorization", f"DPoP {self.token}"), ("DPoP", proof)


@pytest.fixture(scope="module")
def bound(plain: Server) -> Bound:
    plain.affiant("client", "new", "bound", "--scope", "orders.read", "--resource", ORDERS, "--dpop", "required")
    key = keys.generate("ES256")
    service = Service.from_credentials(plain.folder / "bound.affiant.json", dpop=key)
    return Bound(service.token(ORDERS).value, key)


def test_proof_names_the_address_of_the_api(front: Front, bound: Bound) -> None:
    """With the method of the client, not of the proxy's own request; and it is good for one request."""
    good = bound.headers("PUT", f"{ORDERS}/orders")
    assert front.ask("PUT", "/orders?x=1", *good).status == ALLOWED
    assert front.ask("PUT", "/orders?x=1", *good).status == 401
    for method, url in (("GET", f"{ORDERS}/orders"), ("PUT", "http://127.0.0.1/check"), ("PUT", f"{ORDERS}/health")):
        assert front.ask("PUT", "/orders", *bound.headers(method, url)).status == 401
    assert front.ask("PUT", "/orders", ("Authorization", f"Bearer {bound.token}")).status == 401


def test_without_the_guard_nothing_passes(front: Front, bearer: tuple[str, str]) -> None:
    """The last test of each proxy."""
    front.guard.kill()
    for target in ("/orders", "/health"):
        found = front.ask("GET", target, bearer)
        assert (found.status >= 500, found.seen) == (True, None)
