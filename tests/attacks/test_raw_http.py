"""Rows that only a socket can send, to a server in a process of its own."""

import contextlib
import json
import signal
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from tests.attacks.bench import FILE, TYPE, piece_of
from tests.process import Server

from affiant.jose import compact, keys
from affiant.jose.keys import PrivateKey
from affiant.oauth import assertion

FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
END_SECONDS = 15


class Clients:
    """Two clients of a server in a process, c1 and c2, each with its key."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.keys = {name: self._register(name) for name in ("c1", "c2")}

    def _register(self, name: str) -> PrivateKey:
        self.server.affiant("client", "new", name, "--scope", "orders.read")
        return keys.parse_private_jwk(self.server.credentials(name)["key"])

    def body(self, name: str = "c1", **more: str) -> bytes:
        text = assertion.build(name, issuer=self.server.issuer, signer=self.keys[name], now=time.time())
        form = {"grant_type": "client_credentials", "client_assertion_type": TYPE, "client_assertion": text, **more}
        return urlencode(form).encode()

    def post(self, body: bytes) -> httpx2.Response:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return httpx2.post(f"{self.server.issuer}/token", content=body, headers=headers, timeout=20)

    def audited(self) -> list[dict[str, Any]]:
        with contextlib.closing(sqlite3.connect(self.server.folder / "affiant-data" / FILE)) as database:
            records = [json.loads(row[0]) for row in database.execute("SELECT record FROM audit ORDER BY number")]
        return [record for record in records if record["outcome"] != "explained"]  # found out a second later


@pytest.fixture(scope="module")
def clients(process: Server) -> Clients:
    return Clients(process)


def _request(body: bytes, *more: bytes, target: bytes = b"/token") -> bytes:
    head = b"POST " + target + b" HTTP/1.1\r\nHost: x\r\n" + FORM + b"".join(line + b"\r\n" for line in more)
    return head + b"\r\n" + body


def _whole(body: bytes, **options: bytes) -> bytes:
    return _request(body, b"Content-Length: %d" % len(body), **options)


def _talk(server: Server, *pieces: bytes) -> bytes:
    """Send the pieces, some time between them, and read until the server hangs up."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=END_SECONDS) as connection:
        for piece in pieces[:-1]:
            connection.sendall(piece)
            time.sleep(0.05)
        connection.sendall(pieces[-1])
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65_536):
                said += piece
        return said


FRAMES: dict[str, Callable[[bytes], bytes]] = {
    "negative": lambda body: _request(body, b"Content-Length: -1"),
    "two lengths": lambda body: _request(body, b"Content-Length: %d" % len(body), b"Content-Length: 5"),
    "length and chunks": lambda body: _request(
        b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
        b"Content-Length: %d" % (len(body) + 12),
        b"Transfer-Encoding: chunked",
    ),
}


@pytest.mark.attack(13)
@pytest.mark.parametrize("frame", FRAMES)
def test_framing(clients: Clients, frame: str) -> None:
    """Refused before any of it is a request, the connection is closed, and the next one is served."""
    body, before = clients.body(), len(clients.audited())
    said = _talk(clients.server, FRAMES[frame](body))
    assert said.startswith(b"HTTP/1.1 400 "), said
    assert said.count(b"HTTP/1.1 ") == 1
    assert len(clients.audited()) == before
    assert clients.post(body).status_code == 200


@pytest.mark.attack(13)
@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"anything"])
@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("in_pieces", [False, True])
def test_body_beside_upgrade_is_no_request(
    clients: Clients, protocol: bytes, *, is_chunked: bool, in_pieces: bool
) -> None:
    """RFC 9110 7.8: a proxy that passes Upgrade on frames the body; read as a request, it would have its rights."""
    upgrade = (b"Upgrade: " + protocol, b"Connection: Upgrade")
    for body in (clients.body(), b"GET /health/live HTTP/1.1\r\nHost: y\r\n\r\n"):
        framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % len(body)
        framed = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if is_chunked else body
        head = _request(b"", *upgrade, framing)
        last = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        pieces = (head, framed, last) if in_pieces else (head + framed + last,)
        said = _talk(clients.server, *pieces)
        assert said.count(b"HTTP/1.1 ") == 2, said  # one for each request
        assert said.startswith(b"HTTP/1.1 200 " if body.startswith(b"grant") else b"HTTP/1.1 400 "), said


@pytest.mark.attack(29)
@pytest.mark.parametrize("target", ["@evil.example", "//token", "//evil.example/token", "evil.example:443"])
def test_target(clients: Clients, target: str) -> None:
    body = clients.body()
    said = _talk(
        clients.server, _whole(body, target=target.encode()).replace(b"Host: x", b"Host: x\r\nConnection: close")
    )
    assert said[:13] in {b"HTTP/1.1 404 ", b"HTTP/1.1 400 "}, said
    assert b"evil" not in said
    assert clients.server.child is not None
    assert "evil" not in clients.server.child.out + clients.server.child.err
    assert clients.post(body).status_code == 200


@pytest.mark.attack(29)
def test_target_in_absolute_form(clients: Clients) -> None:
    """RFC 9112 section 3.2.2 makes every server take it; whom it names is nowhere, and the token is of our issuer."""
    target = b"http://evil.example/token"
    said = _talk(
        clients.server, _whole(clients.body(), target=target).replace(b"Host: x", b"Host: x\r\nConnection: close")
    )
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"evil" not in said
    assert head.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 ", b"HTTP/1.1 404 "))
    if head.startswith(b"HTTP/1.1 200 "):
        assert compact.parse(json.loads(body)["access_token"]).claims["iss"] == clients.server.issuer


def _answers(data: bytes) -> list[tuple[int, dict[str, Any]]]:
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        length = int(
            next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")).split()[1]
        )
        found.append((int(head.split(b" ")[1]), json.loads(rest[:length])))
        data = rest[length:]
    return found


@pytest.mark.attack(30)
def test_pipeline(clients: Clients) -> None:
    """A hundred requests of two clients at once on one connection: answered in order, each with its own token."""
    names = [("c1", "c2")[number % 2] for number in range(100)]
    bodies = [clients.body(name) if number != 50 else b"grant_type=x" for number, name in enumerate(names)]
    data = b"".join(map(_whole, bodies[:-1])) + _request(
        bodies[-1], b"Content-Length: %d" % len(bodies[-1]), b"Connection: close"
    )
    answers = _answers(_talk(clients.server, data))
    assert Counter(status for status, _ in answers) == {200: 99, 400: 1}
    assert answers[50][0] == 400
    told = [
        compact.parse(members["access_token"]).claims["sub"] if status == 200 else "-" for status, members in answers
    ]
    assert told == [name if number != 50 else "-" for number, name in enumerate(names)]


@pytest.mark.attack(143)
def test_reply_is_not_waited_for(clients: Clients) -> None:
    """Who goes away has used its assertion: one token, and the same again is a replay."""
    body, before = clients.body(), len(clients.audited())
    with socket.create_connection(("127.0.0.1", clients.server.port), timeout=END_SECONDS) as gone:
        gone.sendall(_whole(body))
    end = time.monotonic() + END_SECONDS
    while len(clients.audited()) == before and time.monotonic() < end:
        time.sleep(0.02)
    assert clients.post(body).status_code == 401
    assert [record.get("reason") for record in clients.audited()[before:]] == [None, "assertion.replayed"]


@pytest.mark.attack(304)
def test_no_credentials_on_disk(clients: Clients) -> None:
    """After a token, a replay and a secret in a URL: no piece of them in what the process wrote."""
    body = clients.body()
    token = clients.post(body).json()["access_token"]
    assert clients.post(body).status_code == 401
    text = httpx2.QueryParams(body.decode())["client_assertion"]
    assert httpx2.post(f"{clients.server.issuer}/token?client_assertion={text}", timeout=20).status_code == 400
    assert clients.server.child is not None
    folder = clients.server.folder / "affiant-data"
    kept = "".join(path.read_bytes().decode("latin-1") for path in sorted(folder.iterdir()) if path.suffix != ".key")
    written = clients.server.child.out + clients.server.child.err
    assert piece_of(written + kept, [token, text, clients.keys["c1"].to_jwk()["d"]]) is None


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Clients]:
    """Clients of a server that may be stopped."""
    with Server(tmp_path) as server:
        server.add_api()
        yield Clients(server)


def _ask_until_gone(clients: Clients, got: list[str], warm: threading.Event) -> None:
    with contextlib.suppress(httpx2.TransportError):
        while True:
            reply = clients.post(clients.body())
            assert reply.status_code == 200, reply.text
            got.append(reply.headers["x-trace-id"])
            if len(got) > 40:
                warm.set()


@pytest.mark.attack(309)
def test_sigterm_under_load(mortal: Clients) -> None:
    """What is under way is finished, in time; each token has its record and its jti, and the database is whole."""
    got: list[str] = []
    warm, child = threading.Event(), mortal.server.child
    assert child is not None
    threads = [threading.Thread(target=_ask_until_gone, args=(mortal, got, warm)) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert warm.wait(END_SECONDS)
    child.process.send_signal(signal.SIGTERM)
    assert child.process.wait(12) in {0, -signal.SIGTERM}  # it ends as the signal asks (tests/e2e)
    for thread in threads:
        thread.join(END_SECONDS)
    assert child.complaints == []
    issued = [record["trace_id"] for record in mortal.audited() if record["outcome"] == "issued"]
    assert set(got) <= set(issued)
    with contextlib.closing(sqlite3.connect(mortal.server.folder / "affiant-data" / FILE)) as database:
        assert database.execute("SELECT count(*) FROM jti").fetchone() == (len(issued),)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert mortal.server.run("audit", "verify").returncode == 0
