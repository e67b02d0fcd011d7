"""An authorization server and an API in this process, which count what clients send. The server checks nothing."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

TOKEN_SECONDS = 0.15  # that a token request takes
SLOW_SECONDS = 0.2  # that a call of /slow takes


@dataclass
class World:
    """What was sent, and how long tokens live."""

    port: int = 0
    expires_in: int = 600
    forms: list[dict[str, str]] = field(default_factory=list)  # of the token requests
    calls: list[str] = field(default_factory=list)  # paths of the API
    tokens: dict[str, float] = field(default_factory=dict)  # and when each ends
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def begin(self, *, expires_in: int) -> None:
        with self.lock:
            self.expires_in = expires_in
            self.forms.clear()
            self.calls.clear()
            self.tokens.clear()

    def revoke(self) -> None:
        with self.lock:
            self.tokens.clear()

    def assertions(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Return header and claims of each assertion that was sent."""
        sent = (form.get("client_assertion") or form.get("assertion") for form in self.forms)
        return [(_part(text, 0), _part(text, 1)) for text in sent if text]


def _part(text: str, index: int) -> dict[str, Any]:
    part = text.split(".")[index]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: World

    def do_GET(self) -> None:
        world = self.world
        if ".well-known/oauth-protected-resource" in self.path:
            self._answer(200, {"resource": f"{world.issuer}/orders", "authorization_servers": [world.issuer]})
        elif ".well-known/" in self.path:
            self._answer(200, _metadata(world.issuer, self.path.partition("/.well-known/")[0]))
        elif self.path.startswith("/revoke"):
            world.revoke()
            self._answer(200, {})
        else:
            self._call()

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        if self.path != "/token":
            self._call()
            return
        time.sleep(TOKEN_SECONDS)
        world, value = self.world, secrets.token_urlsafe(24)
        form = {name: values[-1] for name, values in parse_qs(body.decode()).items()}
        with world.lock:
            world.forms.append({**form, "authorization": self.headers.get("authorization", "")})
            world.tokens[value] = time.time() + world.expires_in
        self._answer(200, {"access_token": value, "token_type": "Bearer", "expires_in": world.expires_in})

    def _call(self) -> None:
        world = self.world
        with world.lock:
            world.calls.append(f"{self.command} {self.path}")
        if self.path == "/moved":
            self._answer(307, {}, location=f"http://localhost:{world.port}/elsewhere")
        elif self.path == "/elsewhere" or world.tokens.get(self._token(), 0.0) <= time.time():
            named = (
                f'Bearer error="invalid_token", resource_metadata="{world.issuer}/.well-known/oauth-protected-resource"'
            )
            self._answer(401, {}, **{"www-authenticate": named})
        else:
            if self.path == "/slow":
                time.sleep(SLOW_SECONDS)
            self._answer(200, {"orders": 3})

    def _token(self) -> str:
        return self.headers.get("authorization", "").partition(" ")[2]

    def _answer(self, status: int, body: dict[str, Any], **headers: str) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(text)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a process that ended with its connections open."""


def _metadata(issuer: str, path: str) -> dict[str, Any]:
    return {
        "issuer": issuer + path,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "jwks_uri": f"{issuer}/jwks",
        "response_types_supported": ["code"],
        "grant_types_supported": ["client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_basic"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256"],
    }


@contextmanager
def serving() -> Iterator[World]:
    """Yield a world that is served on 127.0.0.1."""
    world = World()
    kind = type("Handler", (_Handler,), {"world": world})
    server = _Server(("127.0.0.1", 0), kind)
    world.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()
