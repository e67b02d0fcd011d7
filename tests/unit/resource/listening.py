"""An issuer that listens on a port of loopback, in threads: guards in any thread, event loop and process reach it."""

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2

from affiant.jose import compact, keys
from affiant.resource import Guard

API, NOW = "https://api.example", 1_800_000_000
METADATA, OPENID = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"


class ListeningIssuer:
    """It answers what its documents say; a path in `gates` waits for that event first, and one in `statuses` fails."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys = [keys.generate("ES256")]
        self.now = float(NOW)
        self.metadata: dict[str, Any] = {"issuer": url, "token_endpoint": f"{url}/token", "jwks_uri": f"{url}/jwks"}
        self.documents = dict[str, dict[str, Any]]()  # more of them, by path
        self.statuses = dict[str, int]()
        self.gates = dict[str, threading.Event]()
        self.etag: str | None = None  # of the keys
        self.control = "max-age=300"
        self.requests = list[tuple[str, str | None]]()  # path and If-None-Match
        self.peers = defaultdict[str, set[Any]](set)  # by path, one for each connection
        self.arrived = threading.Condition()

    def guard(self, **options: Any) -> Guard:
        return Guard(self.url, audience=API, **{"clock": lambda: self.now, "revocations": "off", **options})

    def token(self, jti: str = "1", *, key: keys.PrivateKey | None = None, **claims: Any) -> bytes:
        now = int(self.now)
        members = {
            "iss": self.url,
            "aud": API,
            "sub": "c",
            "client_id": "c",
            "iat": now,
            "exp": now + 10**6,
            "jti": jti,
        }
        return b"Bearer " + compact.sign({"typ": "at+jwt"}, {**members, **claims}, key or self.keys[-1]).encode()

    def rotate(self) -> None:
        self.keys = [keys.generate("ES256")]

    def count(self, path: str) -> int:
        return sum(asked == path for asked, _ in self.requests)

    def await_requests(self, path: str, number: int) -> None:
        """Wait until the path was requested so often."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: self.count(path) >= number, timeout=10), self.requests

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path, known = handler.path.partition("?")[0], handler.headers.get("If-None-Match")
        with self.arrived:
            self.requests.append((path, known))
            self.peers[path].add(handler.client_address)
            self.arrived.notify_all()
        if path in self.gates:
            self.gates[path].wait(20)
        status, body = self._find(path, known)
        handler.send_response(status)
        handler.send_header("Cache-Control", self.control)
        handler.send_header("Content-Type", "application/json")
        if self.etag is not None:
            handler.send_header("ETag", self.etag)
        if status != httpx2.codes.NOT_MODIFIED:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _find(self, path: str, known: str | None) -> tuple[int, bytes]:
        if path in self.statuses:
            return self.statuses[path], b""
        if path in (METADATA, OPENID):
            return httpx2.codes.OK, json.dumps(self.metadata).encode()
        if path in self.documents:
            return httpx2.codes.OK, json.dumps(self.documents[path]).encode()
        if not path.startswith("/jwks"):
            return httpx2.codes.NOT_FOUND, b""
        if known is not None and known == self.etag:
            return httpx2.codes.NOT_MODIFIED, b""
        return httpx2.codes.OK, json.dumps({"keys": [key.public().to_jwk() for key in self.keys]}).encode()


class _Listener(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """The guard gave the connection up."""


@contextmanager
def listening() -> Iterator[ListeningIssuer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            issuer.answer(self)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            issuer.answer(self)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate(issuer.now, usegmt=True)

        def log_message(self, *_: Any) -> None:
            pass

    with _Listener(("127.0.0.1", 0), Handler) as server:
        issuer = ListeningIssuer(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield issuer
        finally:
            for gate in issuer.gates.values():
                gate.set()
            server.shutdown()
            thread.join()


def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that the worker does."""
    condition = threading.Condition()
    with condition:
        for _ in range(1000):
            if is_so():
                return
            condition.wait(0.01)
    raise AssertionError("it did not come")
