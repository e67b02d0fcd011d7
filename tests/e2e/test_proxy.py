"""`affiant proxy` as a process of its own: what it forwards to a scripted API, and what it does not."""

import json
import re
import shlex
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import httpx2
import pytest
from tests.loopback import free_port
from tests.process import AFFIANT, Child, Launch, Server, run
from tests.unit.client.conftest import Answer, Foreign, metadata_answer, token_answer

from affiant.jose import compact, keys

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "proxy.md").read_text("utf-8")
CHALLENGED = Answer(401, {}, {"WWW-Authenticate": 'Bearer error="invalid_token"'})


class World:
    """An authorization server and an API of the test, and the proxy between the programs and them."""

    def __init__(self, folder: Path) -> None:
        self.server, self.api = Foreign(), Foreign()
        self.server.default["/.well-known/oauth-authorization-server"] = metadata_answer(self.server.url)
        self.key, self.port, self.folder = keys.generate("ES256"), free_port(), folder
        who = {"affiant": 1, "issuer": self.server.url, "client_id": "billing", "auth_method": "private_key_jwt"}
        (folder / "billing.json").touch(0o600)
        (folder / "billing.json").write_text(json.dumps({**who, "key": self.key.to_jwk()}))
        self.url, self.children = f"http://127.0.0.1:{self.port}", list[Child]()

    def words(self, *more: str, listen: str = "", to: str = "", credentials: str = "billing.json") -> list[str]:
        listen, to = listen or f"127.0.0.1:{self.port}", to or f"{self.api.url}/v1"
        return [*AFFIANT, "proxy", "-c", credentials, "--to", to, "--listen", listen, *more]

    def start(self, launch: Launch, to: str, *more: str) -> str:
        """Start another proxy, to another API, and return its URL."""
        address = f"127.0.0.1:{free_port()}"
        child = launch(*self.words(*more, listen=address, to=to, credentials=str(self.folder / "billing.json")))
        child.until(lambda: f"affiant proxy  http://{address} for" in child.out)
        self.children.append(child)
        return f"http://{address}"

    def raw(self, data: bytes) -> bytes:
        """Send these bytes, and return all that comes."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(data)
            return b"".join(iter(lambda: connection.recv(65_536), b""))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("proxy"))
    with Child.start(world.folder, *world.words(), name="proxy") as child:
        child.until(lambda: "affiant proxy  http://127.0.0.1:" in child.out)
        yield world
        assert child.err == ""
        assert child.out.count("\n") == 1, "no request is logged"
    world.server.close()
    world.api.close()


@pytest.fixture
def world(shared: World) -> World:
    shared.api.requests.clear()
    shared.api.script.clear()
    shared.api.default = {"/v1/orders": Answer(200, {"orders": 3})}
    return shared


@pytest.fixture
def http(world: World) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=world.url, verify=False) as http:
        yield http


def test_token_is_added_and_connections_are_kept(world: World, http: httpx2.Client) -> None:
    for _ in range(3):
        assert http.get("/orders").json() == {"orders": 3}
    sent = world.api.sent("/v1/orders")
    assert {request.headers["authorization"] for request in sent} == {"Bearer token-1"}
    assert sent[0].headers["host"] == world.api.url.removeprefix("http://")


def test_request_and_answer_are_those_of_the_program_and_the_api(world: World, http: httpx2.Client) -> None:
    """But for the headers of one hop, in both directions; the credentials of a program are replaced."""
    world.api.default["/v1/a%2Fb//c?x=1&y=%20"] = Answer(
        201, {}, {"X-Kept": "yes", "Connection": "X-Hop", "X-Hop": "no", "Alt-Svc": "h3=':1'", "DPoP-Nonce": "n"}
    )
    headers = {"X-Mine": "1", "Connection": "keep-alive, X-Hop", "X-Hop": "1", "TE": "trailers", "Expect": "x"}
    mine = {"Authorization": "Bearer canary", "DPoP": "canary", "Proxy-Authorization": "canary", "Cookie": "a=b"}
    reply = http.put("/a%2Fb//c?x=1&y=%20", headers={**headers, **mine}, content=b"body")
    assert (reply.status_code, reply.headers["x-kept"]) == (201, "yes")
    assert not {"x-hop", "alt-svc", "dpop-nonce"} & set(reply.headers)
    (sent,) = world.api.requests
    assert (sent.method, sent.body, sent.headers["x-mine"], sent.headers["cookie"]) == ("PUT", b"body", "1", "a=b")
    assert not {"x-hop", "te", "expect", "dpop", "proxy-authorization"} & set(sent.headers)
    assert "canary" not in str(sent.headers)


def test_refused_token_is_renewed_once(world: World, http: httpx2.Client) -> None:
    """Where the body is small; a long one was streamed, and cannot be sent twice."""
    world.api.script["/v1/pay"] = [CHALLENGED, Answer(200, {})]
    assert http.post("/pay", content=b"5 EUR").status_code == 200
    first, second = world.api.sent("/v1/pay")
    assert first.body == second.body == b"5 EUR"
    assert first.headers["authorization"] != second.headers["authorization"]
    world.api.script["/v1/long"] = [CHALLENGED, Answer(200, {})]
    assert http.post("/long", content=bytes(2 << 20)).status_code == 401
    assert [len(request.body) for request in world.api.sent("/v1/long")] == [2 << 20]


def test_redirects_are_not_followed(world: World, http: httpx2.Client) -> None:
    """One to the API leads through the proxy again, below its path; any other is the program's business."""
    for location, seen in (
        (f"{world.api.url}/v1/there?a=1", f"{world.url}/there?a=1"),
        (f"{world.api.url}/v1", world.url),
        (f"{world.api.url}/v10", f"{world.api.url}/v10"),
        (f"{world.api.url}.evil.example/v1/x", f"{world.api.url}.evil.example/v1/x"),
        ("https://evil.example/v1", "https://evil.example/v1"),
        ("/v1/relative", "/v1/relative"),
    ):
        world.api.default["/v1/here"] = Answer(302, {}, {"Location": location})
        reply = http.get("/here", follow_redirects=False)
        assert (reply.status_code, reply.headers["location"]) == (302, seen)
    assert {request.path for request in world.api.requests} == {"/v1/here"}


def _ask(world: World, line: str, *headers: str, body: str = "") -> bytes:
    host = () if any(header.lower().startswith("host") for header in headers) else (f"Host: 127.0.0.1:{world.port}",)
    return "\r\n".join([line, *host, *headers, "Connection: close", "", body]).encode("latin-1")


@pytest.mark.attack
@pytest.mark.parametrize(
    ("line", "headers", "status"),
    [
        ("GET http://evil.example/orders HTTP/1.1", (), 421),
        ("GET evil.example HTTP/1.1", (), 421),
        ("OPTIONS * HTTP/1.1", (), 421),
        ("CONNECT evil.example:443 HTTP/1.1", (), 421),
        ("GET /orders HTTP/1.1", ("Host: rebound.example",), 421),
        ("GET /orders HTTP/1.1", ("Host: 127.0.0.1",), 421),
        ("GET /orders HTTP/1.1", ("Host: 127.0.0.1:{port}", "Host: rebound.example"), 400),
        ("GET /orders HTTP/1.0", ("Host:",), 421),
        ("GET /orders HTTP/1.1", ("Origin: https://page.example",), 403),
        ("GET /orders HTTP/1.1", ("Origin: null",), 403),
        ("GET /orders HTTP/1.1", ("Sec-Fetch-Site: cross-site",), 403),
        ("GET /orders HTTP/1.1", ("Sec-Fetch-Site: none",), 403),
        ("GET /../secret HTTP/1.1", (), 400),
        ("GET /a/%2e%2E/secret HTTP/1.1", (), 400),
        ("GET /..%2fsecret HTTP/1.1", (), 400),
        ("GET /a\\..\\..\\secret HTTP/1.1", (), 400),
        ("GET /..;x=1/secret HTTP/1.1", (), 400),
        ("GET /./orders HTTP/1.1", (), 400),
        ("GET /orders#x HTTP/1.1", (), 400),
        ("GET /a/%252e%252e/secret HTTP/1.1", (), 400),
        ("GET /a/..%00/secret HTTP/1.1", (), 400),
        ("GET /a/..%20/secret HTTP/1.1", (), 400),
        ("GET /a/%2525252525252e/secret HTTP/1.1", (), 400),
        ("TRACE /orders HTTP/1.1", (), 405),
        ("trace /orders HTTP/1.1", (), 405),
        ("Connect /orders HTTP/1.1", (), 405),
        ("GET /orders HTTP/1.1", ("Upgrade: websocket", "Sec-WebSocket-Version: 13"), 501),
        ("POST /orders HTTP/1.1", ("Content-Length: 5", "Transfer-Encoding: chunked"), 400),
        ("POST /orders HTTP/1.1", ("Content-Length: 5", "Content-Length: 6"), 400),
        ("POST /orders HTTP/1.1", ("Transfer-Encoding: chunked, identity",), 400),
        ("GET /orders HTTP/1.1", ("X-A : b",), 400),
        ("GET /orders HTTP/1.1", ("X-A: b\n c: d\rX: y",), 400),
    ],
)
def test_refused_requests_reach_no_api(world: World, line: str, headers: tuple[str, ...], status: int) -> None:
    """Other hosts, DNS rebinding, web pages, ways out of the path, smuggling: each by its own status."""
    answer = world.raw(_ask(world, line, *(header.format(port=world.port) for header in headers), body="0\r\n\r\n"))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
    if b"problem+json" in answer:
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == status
    assert not world.api.requests


@pytest.mark.attack
def test_path_with_two_slashes_stays_a_path(world: World) -> None:
    assert world.raw(_ask(world, "GET //evil.example/x HTTP/1.1")).startswith(b"HTTP/1.1 404")
    assert [request.path for request in world.api.requests] == ["/v1//evil.example/x"]


def test_other_upgrades_are_ignored(world: World) -> None:
    """Java's client asks for h2c with each first request."""
    answer = world.raw(_ask(world, "GET /orders HTTP/1.1", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"))
    assert answer.startswith(b"HTTP/1.1 200")
    assert "upgrade" not in world.api.requests[0].headers


class RawApi:
    """An API whose connections, one after the other, these functions serve, in a thread."""

    def __init__(self, *serve: Callable[[socket.socket], None]) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._serve, self._failed = serve, list[Exception]()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            for serve in self._serve:
                with self._listening.accept()[0] as connection:
                    connection.settimeout(20)
                    serve(connection)
        except Exception as error:  # noqa: BLE001 - the test raises it
            self._failed.append(error)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(20)
        self._listening.close()
        assert not self._thread.is_alive()
        for error in self._failed:
            raise error


def _head(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65_536)
    return data


def test_bodies_are_streamed(world: World, launch: Launch) -> None:
    """In both directions: the first part arrives before the last one is sent."""
    got, seen = threading.Event(), threading.Event()
    first, size = bytes(3 << 20), 0

    def serve(connection: socket.socket) -> None:
        nonlocal size
        head, _, body = _head(connection).partition(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head.lower()
        size = len(body)
        while b"\r\n0\r\n\r\n" not in body[-20:]:
            body = body[-20:] + (part := connection.recv(65_536))
            size += len(part)
            got.set()
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        assert seen.wait(20)
        connection.sendall(b"4\r\nlast\r\n0\r\n\r\n")

    def parts() -> Iterator[bytes]:
        yield first
        assert got.wait(20)
        yield b"last"

    with RawApi(serve) as api:
        url = world.start(launch, api.url)
        with httpx2.Client(verify=False) as http, http.stream("POST", url, content=parts(), timeout=20) as reply:
            came = reply.iter_raw()
            assert next(came) == b"first"
            seen.set()
            assert b"".join(came) == b"last"
    assert size > len(first)


def _send_forever(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"5\r\nevent\r\n")


def test_program_that_leaves_ends_the_request(world: World, launch: Launch) -> None:
    """The API sends no more to it; and it takes no part of a body for the whole."""

    def serve(connection: socket.socket) -> None:
        _head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            _send_forever(connection)

    def upload(connection: socket.socket) -> None:
        data = _head(connection)
        while part := connection.recv(65_536):
            data = data[-20:] + part
        assert not data.endswith(b"0\r\n\r\n")

    with RawApi(serve, upload) as api:
        url = world.start(launch, api.url)
        with httpx2.Client(verify=False) as http, http.stream("GET", url, timeout=20) as reply:
            next(reply.iter_raw())
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
            name = url.removeprefix("http://").encode()
            connection.sendall(b"POST / HTTP/1.1\r\nHost: " + name + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(40):
                connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def test_failures_say_which_side_failed(world: World, launch: Launch) -> None:
    def serve(connection: socket.socket) -> None:
        _head(connection)
        assert connection.recv(1) == b""

    with RawApi(serve) as api:
        url = world.start(launch, api.url, "--timeout", "1")
        silent = httpx2.get(url)
        assert (silent.status_code, "did not answer in time" in silent.text) == (504, True)
    gone = httpx2.get(url)
    assert (gone.status_code, gone.headers["content-type"]) == (502, "application/problem+json")
    assert "it refused the connection" in gone.json()["detail"]
    world.server.default["/token"] = Answer(401, {"error": "invalid_client", "error_description": "no such key"})
    refused = httpx2.get(world.start(launch, world.api.url))
    del world.server.default["/token"]
    assert (refused.status_code, refused.json()["detail"][:29]) == (502, "no token: invalid_client: no ")


def test_proof_is_made_for_each_request(world: World, launch: Launch) -> None:
    """For the URL of the API, with the nonce that it asks for."""
    world.server.script["/token"] = [token_answer("bound", token_type="DPoP")]
    wanted = {"WWW-Authenticate": 'DPoP error="use_dpop_nonce"', "DPoP-Nonce": "n-1"}
    world.api.script["/v1/orders?a=1"] = [Answer(401, {}, wanted), Answer(200, {})]
    assert httpx2.post(f"{world.start(launch, f'{world.api.url}/v1', '--dpop')}/orders?a=1").status_code == 200
    assert {request.headers["authorization"] for request in world.api.requests} == {"DPoP bound"}
    first, second = (compact.parse(request.headers["dpop"]).claims for request in world.api.requests)
    assert (first["htm"], first["htu"]) == ("POST", f"{world.api.url}/v1/orders")
    assert ("nonce" in first, second["nonce"]) == (False, "n-1")
    assert first["jti"] != second["jti"]


def test_unix_socket_is_for_its_owner(world: World, launch: Launch, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    child = launch(*world.words(listen=f"unix:{path}", credentials=str(world.folder / "billing.json")))
    child.until(lambda: f"affiant proxy  unix:{path} for {world.api.url}/v1" in child.out)
    assert path.stat().st_mode & 0o777 == 0o600
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path)), base_url="http://any.example") as http:
        assert http.get("/orders").json() == {"orders": 3}
    child.process.send_signal(signal.SIGTERM)
    assert child.process.wait(10) in (0, -signal.SIGTERM)
    assert child.err == ""


@pytest.mark.attack
def test_secret_is_required(world: World, launch: Launch, tmp_path: Path) -> None:
    """It ends at the proxy, and is nowhere in the answers; a file that others read is none."""
    file, secret = tmp_path / "secret", "canary-0123456789"
    file.touch(0o600)
    file.write_text(f"{secret}\n")
    url = f"{world.start(launch, f'{world.api.url}/v1', '--require-secret', str(file))}/orders"
    refused = [{}, {"Authorization": "Bearer other"}, {"Authorization": f"Basic {secret}"}, {"Authorization": secret}]
    for headers in refused:
        reply = httpx2.get(url, headers=headers)
        assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
        assert secret not in reply.text
    assert not world.api.requests
    assert httpx2.get(url, headers={"Authorization": f"Bearer {secret}"}).json() == {"orders": 3}
    assert secret not in str(world.api.requests[0].headers)
    file.chmod(0o644)
    done = run(world.folder, *world.words("--require-secret", str(file))[len(AFFIANT) :])
    assert (done.returncode, "chmod 600" in done.stderr) == (8, True)


def test_unsafe_words_are_needed(world: World) -> None:
    for words, says in (
        (("--listen", "0.0.0.0:8500"), "--unsafe-listen"),
        (("--to", "http://api.internal"), "--unsafe-http"),
        (("--to", "https://user@api.example"), "--to has a user"),
        (("--to", "ftp://api.example"), "--to is the URL of an API"),
    ):
        done = run(world.folder, *world.words()[len(AFFIANT) :], *words)
        assert (done.returncode, says in done.stderr) == (8, True)


def test_interrupt_ends_it(world: World, launch: Launch) -> None:
    url = world.start(launch, world.api.url)
    with httpx2.Client(base_url=url) as http:
        assert http.get("/v1/orders").is_success
        child = world.children[-1]
        child.process.send_signal(signal.SIGINT)
        assert child.process.wait(10) == 130
    assert child.err.strip() == "affiant: stopped"


def test_page_line_by_line(server: Server, api: str, launch: Launch, tmp_path: Path) -> None:
    """The commands of docs/how-to/proxy.md, with a real server and a guarded API."""
    server.affiant("client", "new", "proxied", "--scope", "orders.read", "--resource", api)
    (tmp_path / "billing.affiant.json").symlink_to(server.folder / "proxied.affiant.json")
    started, called = re.findall(r"^```sh\n(.*)\n```$", PAGE, re.MULTILINE)
    port = str(free_port())
    started, called = (line.replace("8500", port).replace("https://orders.example", api) for line in (started, called))
    child = launch(*AFFIANT, *shlex.split(started)[1:])
    child.until(lambda: child.out.startswith("affiant proxy"))
    done = subprocess.run(("bash", "-c", f"{called} -sS"), capture_output=True, text=True, timeout=30, check=False)
    assert (json.loads(done.stdout), done.stderr) == ({"for": "proxied"}, "")
