"""A real server that fetches a client's keys from a real key server over TLS, whose authority it trusts."""

import asyncio
import contextlib
import itertools
import json
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx2
import pytest
from tests.certificates import authority, make_authority
from tests.key_server import HOST, LOOPBACK, KeyServer, running
from tests.process import END_SECONDS, Server

from affiant import testing
from affiant.jose import keys
from affiant.jose.keys import PrivateKey

FIRST, SECOND = keys.generate("ES256"), keys.generate("ES256")


@dataclass
class Remote:
    """A key server in a thread of its own, so that it answers while a test waits for the authorization server."""

    key_server: KeyServer
    _loop: asyncio.AbstractEventLoop
    _over: asyncio.Event
    _thread: threading.Thread

    @classmethod
    def start(cls, tls: ssl.SSLContext | None = None) -> Self:
        ready, made = threading.Event(), list[Self]()

        async def serve() -> None:
            async with running(tls) as key_server:
                over = asyncio.Event()
                made.append(cls(key_server, asyncio.get_running_loop(), over, threading.current_thread()))
                ready.set()
                await over.wait()

        threading.Thread(target=asyncio.run, args=(serve(),), daemon=True).start()
        assert ready.wait(END_SECONDS)
        return made[0]

    @property
    def uri(self) -> str:
        return self.key_server.uri(LOOPBACK)

    def publish(self, *published: PrivateKey) -> None:
        self.key_server.publish(*(key.public().to_jwk() for key in published))

    def stop(self) -> None:
        """Nothing listens on its port any more."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(END_SECONDS)
        assert not self._thread.is_alive()


@pytest.fixture
def remote() -> Iterator[Remote]:
    made = Remote.start()
    try:
        made.publish(FIRST)
        yield made
    finally:
        made.stop()


@contextlib.contextmanager
def _serving(folder: Path, **environment: str) -> Iterator[Server]:
    (folder / "ca.pem").write_bytes(authority().pem)
    with Server(folder, environment=environment) as server:
        server.add_api()
        yield server


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """As docs/how-to/jwks-uri.md says it: an authority of one's own, and a network that is let through."""
    folder = tmp_path_factory.mktemp("trusting")
    with _serving(folder, SSL_CERT_FILE=str(folder / "ca.pem"), AFFIANT_JWKS_URI_ALLOW="127.0.0.0/8") as server:
        yield server


@pytest.fixture
def believing_nobody(tmp_path: Path) -> Iterator[Server]:
    """It may connect to the key server, and does not know its authority."""
    with _serving(tmp_path, AFFIANT_JWKS_URI_ALLOW=LOOPBACK) as server:
        yield server


@pytest.fixture
def public_only(tmp_path: Path) -> Iterator[Server]:
    """It knows the authority, and no private network is allowed."""
    with _serving(tmp_path, SSL_CERT_FILE=str(tmp_path / "ca.pem")) as server:
        yield server


@dataclass
class Partner:
    """A client that publishes its keys."""

    server: Server
    name: str

    def ask(self, key: PrivateKey) -> httpx2.Response:
        return self.server.token(**testing.form(self.server.assertion(self.name, key=key)))

    def reason(self, key: PrivateKey) -> str:
        """Why an assertion of this key is refused: the operator learns it, and the client does not."""
        reply = self.ask(key)
        assert (reply.status_code, reply.json()["error"]) == (401, "invalid_client"), reply.text
        assert reply.json()["error_description"] == "client authentication failed"
        told = self.server.run("explain", reply.headers["x-trace-id"], "--json").stdout
        return str(json.loads(told)["data"]["reason"])


_NUMBERS = itertools.count(1)


def _partner(server: Server, uri: str) -> Partner:
    made = Partner(server, f"partner{next(_NUMBERS)}")
    server.affiant("client", "new", made.name, "--jwks-uri", uri, "--scope", "orders.read")
    return made


def test_a_token_is_had_with_a_key_that_was_fetched(trusting: Server, remote: Remote) -> None:
    partner = _partner(trusting, remote.uri)
    for _ in range(5):
        reply = partner.ask(FIRST)
        assert reply.status_code == 200, reply.text
    assert remote.key_server.hits == 1
    (head,) = remote.key_server.requests
    assert head.startswith("GET /jwks HTTP/1.1\r\n")
    assert "authorization" not in head.lower()
    assert "cookie" not in head.lower()


def test_the_next_assertion_is_taken_that_a_new_key_signed(trusting: Server, remote: Remote) -> None:
    """Published, used at once; and one key on end that is nowhere fetches no more than it may."""
    partner = _partner(trusting, remote.uri)
    assert partner.ask(FIRST).status_code == 200
    remote.publish(FIRST, SECOND)
    assert partner.ask(SECOND).status_code == 200
    assert partner.ask(FIRST).status_code == 200
    assert remote.key_server.hits == 2
    for _ in range(2):
        assert partner.reason(keys.generate("ES256")) == "key.unknown"
    assert remote.key_server.hits == 3, "one fetch that brought the new key, one that brought nothing"


def test_known_keys_go_on_while_the_key_server_is_away(trusting: Server, remote: Remote) -> None:
    partner = _partner(trusting, remote.uri)
    assert partner.ask(FIRST).status_code == 200
    remote.stop()
    for _ in range(3):
        assert partner.ask(FIRST).status_code == 200
    assert partner.reason(SECOND) == "jwks.unavailable"
    assert partner.ask(FIRST).status_code == 200, "what fails for one key is no harm to another"


def test_hostile_answers_end_within_their_time(trusting: Server, remote: Remote) -> None:
    """An answer without an end, from a host that the server trusts: refused in time, and others are served."""

    async def drip(writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    remote.key_server.answer = drip
    partner = _partner(trusting, remote.uri)
    reasons = list[str]()
    asking = threading.Thread(target=lambda: reasons.append(partner.reason(FIRST)))
    begin = time.monotonic()
    asking.start()
    health = httpx2.get(f"{trusting.issuer}/health", timeout=20)
    assert (health.status_code, asking.is_alive()) == (200, True)
    asking.join(END_SECONDS)
    assert time.monotonic() - begin < END_SECONDS
    assert reasons == ["jwks.timeout"]


def test_an_authority_that_is_not_trusted(believing_nobody: Server, remote: Remote) -> None:
    partner = _partner(believing_nobody, remote.uri)
    assert partner.reason(FIRST) == "jwks.tls"
    assert remote.key_server.hits == 0


def test_a_certificate_of_another_host(trusting: Server) -> None:
    other = Remote.start(authority().serve(HOST))
    try:
        other.publish(FIRST)
        partner = _partner(trusting, other.uri)
        assert partner.reason(FIRST) == "jwks.tls"
        assert other.key_server.hits == 0
    finally:
        other.stop()


def test_a_certificate_of_another_authority(trusting: Server) -> None:
    other = Remote.start(make_authority().serve(LOOPBACK))
    try:
        other.publish(FIRST)
        partner = _partner(trusting, other.uri)
        assert partner.reason(FIRST) == "jwks.tls"
    finally:
        other.stop()


def test_loopback_is_closed_until_it_is_allowed(public_only: Server, remote: Remote) -> None:
    """By its address and by a name that resolves to it: nothing reaches the key server, not even a connection."""
    partner = _partner(public_only, remote.uri)
    assert partner.reason(FIRST) == "jwks.blocked"
    public_only.affiant("client", "update", partner.name, "--jwks-uri", remote.key_server.uri("localhost"))
    assert partner.reason(FIRST) == "jwks.blocked"
    assert remote.key_server.hits == 0
