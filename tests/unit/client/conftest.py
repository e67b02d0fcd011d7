"""An authorization server and an API of a foreign make, scripted by the test; they share no code with affiant."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest

from affiant.jose import keys
from affiant.jose.keys import PrivateKey


@dataclass
class Answer:
    """One reply."""

    status: int
    members: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None


@dataclass
class Request:
    """A request that came in."""

    method: str
    path: str
    headers: dict[str, str]
    form: dict[str, str]
    body: bytes = b""
    lines: list[tuple[str, str]] = field(default_factory=list)

    def every(self, name: str) -> list[str]:
        """Each value of a header."""
        return [value for found, value in self.lines if found.lower() == name]

    @property
    def assertion(self) -> dict[str, Any]:
        """The claims of the client assertion, not verified."""
        middle = self.form["client_assertion"].split(".")[1]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
        return claims


class _Listening(ThreadingHTTPServer):
    request_queue_size = 64  # the usual 5 keep the other callers waiting a second


class Foreign:
    """A server on its own port. It answers from `script[path]` until that is used up, then with `default[path]`."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.script: dict[str, list[Answer]] = {}
        self.default: dict[str, Answer] = {}
        self.delay = 0.0
        self.refused: set[str] = set()  # values of Authorization
        self.issued = 0
        self._lock = threading.Lock()
        foreign = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                body = self._body()
                form = {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = foreign.answer(Request(self.command, self.path, headers, form, body, self.headers.items()))
                content = answer.raw if answer.raw is not None else json.dumps(answer.members).encode()
                self.send_response_only(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", "0")))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size + 2)[:-2]
                self.rfile.readline()
                return body

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Listening(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.other_name = f"http://localhost:{self._server.server_port}"

    def answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            waiting = self.script.get(request.path)
            scripted = waiting.pop(0) if waiting else self.default.get(request.path)
            self.issued += request.path == "/token" and scripted is None
            number = self.issued
        if request.path == "/token":
            time.sleep(self.delay)
        if request.headers.get("authorization") in self.refused:
            return Answer(401, {}, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
        if scripted is not None:
            return scripted
        if request.path == "/token":
            return token_answer(f"token-{number}")
        return Answer(404, {})

    def sent(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def token_answer(value: str = "token", expires_in: object = 3600, **more: object) -> Answer:
    return Answer(200, {"access_token": value, "token_type": "Bearer", "expires_in": expires_in, **more})


def metadata_answer(issuer: str, **more: object) -> Answer:
    return Answer(200, {"issuer": issuer, "token_endpoint": f"{issuer}/token", "jwks_uri": f"{issuer}/jwks", **more})


@pytest.fixture
def foreign() -> Iterator[Foreign]:
    """An authorization server."""
    server = Foreign()
    server.default["/.well-known/oauth-authorization-server"] = metadata_answer(server.url)
    yield server
    server.close()


@pytest.fixture
def api() -> Iterator[Foreign]:
    """An API on another origin."""
    server = Foreign()
    yield server
    server.close()


@pytest.fixture(scope="session")
def http() -> Iterator[httpx2.Client]:
    """One client for all: it is the certificates, not used here, that take long to load."""
    with httpx2.Client(verify=False) as client:
        yield client


@pytest.fixture(scope="session")
def key() -> PrivateKey:
    """The client's key."""
    return keys.generate("ES256")
