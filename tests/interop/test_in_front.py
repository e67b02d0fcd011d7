"""Proxies in front of the server, configured by the files in deploy/proxies: what they pass on, and what they repeat."""

import re
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx2
import pytest
from tests.interop.conftest import program
from tests.loopback import free_port, listens
from tests.process import Child, Server

pytestmark = pytest.mark.interop
FILES = Path(__file__).parents[2] / "deploy" / "proxies"
KINDS = {"nginx": "nginx.conf", "caddy": "Caddyfile", "haproxy": "haproxy.cfg", "envoy": "envoy.yaml"}
FORGED = {
    "X-Forwarded-For": "203.0.113.9",
    "Client-Cert": ":Zm9yZ2Vk:",
    "ssl-client-cert": "forged",
    "X-Forwarded-Client-Cert": "Hash=forged",
}
IDLE_SECONDS = 5.0  # after which the server closes a connection


class OtherNode:
    """A second node of the proxy: it is healthy, and closes the connection once it has read a token request."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seen: list[dict[str, str]] = []
        self._listening: ThreadingHTTPServer | None = None

    def __enter__(self) -> Self:
        node = self
        self.seen.clear()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                node.seen.append({name.lower(): value for name, value in self.headers.items()})
                self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self._listening = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._listening.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._listening is not None
        self._listening.shutdown()
        self._listening.server_close()


class Front(NamedTuple):
    """A proxy, the server behind it, and a port for a second node."""

    kind: str
    server: Server
    issuer: str
    other: OtherNode
    authority: Path

    def http(self) -> httpx2.Client:
        return httpx2.Client(verify=ssl.create_default_context(cafile=str(self.authority / "authority.pem")))

    def status(self, http: httpx2.Client) -> int:
        """Return the status of the answer; 0 if the proxy closes the connection, as HAProxy does after its first request."""
        try:
            return self.ask(http, **FORGED).status_code
        except httpx2.RemoteProtocolError:
            return 0

    def ask(self, http: httpx2.Client, **headers: str) -> httpx2.Response:
        """Ask for a token with an assertion of its own."""
        form = {"grant_type": "client_credentials", "client_assertion_type": _BEARER}
        form["client_assertion"] = self.server.assertion("billing", audience=self.issuer)
        return http.post(f"{self.issuer}/token", data=form, headers=headers, timeout=20)


_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@pytest.fixture(scope="module")
def behind(authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int]]:
    """A server, and the port at which a proxy is its issuer."""
    port = free_port()
    options = ("--issuer", f"https://localhost:{port}")
    environment = {"AFFIANT_TRUSTED_PROXIES": "127.0.0.1"}
    with Server(tmp_path_factory.mktemp("behind"), options=options, environment=environment) as server:
        server.add_api()
        server.affiant("client", "new", "billing", "--scope", "orders.read")
        yield server, port


@pytest.fixture(scope="module", params=KINDS)
def front(
    request: pytest.FixtureRequest,
    behind: tuple[Server, int],
    authority: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Front]:
    kind, (server, port) = request.param, behind
    command = program(kind)
    folder = tmp_path_factory.mktemp(kind)
    other = OtherNode(free_port())
    file = folder / KINDS[kind]
    text = placed((FILES / KINDS[kind]).read_text(), folder, authority, port, server.port, other.port)
    if kind == "caddy" and _version(command).startswith("2.6."):
        text = text.replace("# buffer_requests ", "buffer_requests #")
    file.write_text(text)
    environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with Child.start(folder, *started(kind, command, folder, file), name=kind, **environment) as child:
        child.until(lambda: listens(port))
        found = Front(kind, server, f"https://localhost:{port}", other, authority)
        with found.http() as http:
            child.until(lambda: http.get(f"{found.issuer}/health").is_success)
        yield found


def _version(caddy: str) -> str:
    done = subprocess.run([caddy, "version"], capture_output=True, text=True, check=True)
    return done.stdout.removeprefix("v")


def placed(text: str, folder: Path, authority: Path, port: int, node: int, other: int) -> str:
    """Return a file of deploy/proxies with the addresses and paths of this test, and with its second node."""
    pem = authority / "tls.pem"
    (folder / "combined.pem").write_text(pem.read_text() + (authority / "tls.key").read_text())
    text = re.sub(r"^(\s*)# (.*10\.0\.0\.6:8377.*|- endpoint.*10\.0\.0\.6.*)$", r"\1\2", text, flags=re.MULTILINE)
    for ours, here in {
        "/etc/affiant/tls/fullchain.pem": str(pem),
        "/etc/affiant/tls/key.pem": str(authority / "tls.key"),
        "/etc/affiant/tls/combined.pem": str(folder / "combined.pem"),
        "127.0.0.1:8377": f"127.0.0.1:{node}",
        "10.0.0.6:8377": f"127.0.0.1:{other}",
        "address: 127.0.0.1, port_value: 8377": f"address: 127.0.0.1, port_value: {node}",
        "address: 10.0.0.6, port_value: 8377": f"address: 127.0.0.1, port_value: {other}",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "server_name as.example": "server_name localhost",
        "as.example {": f"https://localhost:{port} {{",
        "bind :443": f"bind 127.0.0.1:{port}",
        "address: 0.0.0.0, port_value: 443": f"address: 127.0.0.1, port_value: {port}",
    }.items():
        text = text.replace(ours, here)
    return text


def started(kind: str, command: str, folder: Path, file: Path) -> list[str]:
    if kind == "nginx":
        paths = "".join(
            f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        main = folder / "main.conf"
        user = "user root;"  # the folders of a test are its user's alone
        main.write_text(
            f"{user} daemon off; pid {folder}/pid; error_log stderr; events {{}} http {{ {paths} include {file}; }}"
        )
        return [command, "-p", str(folder), "-c", str(main)]
    return {
        "caddy": [command, "run", "--adapter", "caddyfile", "--config", str(file)],
        "haproxy": [command, "-f", str(file)],
        "envoy": [command, "-c", str(file), "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning"],
    }[kind]


def test_no_request_fails_while_a_node_is_down(front: Front) -> None:
    with front.http() as http:
        answers = [front.ask(http).status_code for _ in range(10)]
    for _ in range(4):  # connections of their own
        with front.http() as http:
            answers.append(front.ask(http).status_code)
    assert answers == [200] * 14


def test_what_a_client_says_of_itself_is_not_passed_on(front: Front) -> None:
    with front.http() as http:
        answer = front.ask(http, **FORGED)
    record = front.server.affiant("audit", "show", answer.headers["x-trace-id"])
    assert answer.status_code == 200
    assert record["address"] not in FORGED.values()


def test_sent_request_is_not_sent_again(front: Front) -> None:
    """Attack: a proxy that repeats a POST makes its assertion a replay, or a token that no client gets."""
    with front.other as node, front.http() as http:
        end = time.monotonic() + 30
        answers: list[int] = []
        while not node.seen and time.monotonic() < end:  # until the proxy uses the second node
            answers.append(front.status(http))
            time.sleep(0.02)
        assert node.seen, "the proxy never used its second node"
        answers += [front.status(http) for _ in range(3)]
        failed = [status for status in answers if status != 200]
        assert len(failed) == len(node.seen)
        assert set(failed) <= {0, 502, 503}
        sent = [value for seen in node.seen for name, value in seen.items() if name != "x-forwarded-for"]
    assert not [value for value in sent if value in FORGED.values()]
    assert all(seen["x-forwarded-proto"] == "https" for seen in node.seen)


def test_connection_of_the_proxy_is_idle(front: Front) -> None:
    """The proxy closes first: a request never meets a connection that the server is closing."""
    with front.http() as http:
        for pause in (0.0, IDLE_SECONDS - 0.6, IDLE_SECONDS):
            time.sleep(pause)
            assert front.ask(http).status_code == 200


def test_feed_is_held_back(front: Front) -> None:
    with front.http() as http:
        first = http.get(f"{front.issuer}/revocations")
        begun = time.monotonic()
        headers = {"If-None-Match": first.headers["etag"]}
        second = http.get(f"{front.issuer}/revocations?wait=2", headers=headers, timeout=20)
        assert (first.status_code, second.status_code) == (200, 304)
        assert time.monotonic() - begun >= 1.5
