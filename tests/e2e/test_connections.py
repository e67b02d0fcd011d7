"""Connections of a real server: silent ones shut no client out, and a restart refuses as little as it can."""

import contextlib
import re
import signal
import socket
import ssl
import sys
import time
from functools import partial
from pathlib import Path

import httpx2
import pytest
from tests import certificates
from tests.loopback import free_port, is_free
from tests.process import AFFIANT, Child, Launch, Server, children

from affiant.cli.server.listening.port import DRAIN_SECONDS

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
POST = (
    b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n"
)
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")


def _connect(port: int, tls: ssl.SSLContext | None = None) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=20)
    return made if tls is None else tls.wrap_socket(made, server_hostname="localhost")


def _serve(launch: Launch, port: int, *words: str, **environment: str) -> Child:
    child = launch(*AFFIANT, "serve", "--port", str(port), *words, **environment)
    child.until_healthy(f"http://127.0.0.1:{port}")
    return child


@pytest.mark.attack(14)
@pytest.mark.parametrize("name", ["MAX_CONNECTIONS", "MAX_CONNECTIONS_PER_ADDRESS"])
def test_silent_connections_shut_nobody_out(launch: Launch, name: str) -> None:
    port = free_port()
    _serve(launch, port, **{f"AFFIANT_{name}": "32"})
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(_connect(port)).sendall(b"GET / HTTP/1.1\r\n")
        for _ in range(5):
            assert httpx2.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200


@pytest.mark.attack(14)
def test_body_that_is_too_large_is_not_read(server: Server) -> None:
    """The answer is 413, says that the connection ends, and what follows it is cut off."""
    sent = 0
    with _connect(server.port) as peer:
        peer.sendall(POST % (2 << 30))
        with contextlib.suppress(ConnectionError):
            while sent < 200_000_000:
                sent += peer.send(b"x" * 65_536)
    assert sent < 50_000_000
    with _connect(server.port) as peer:
        peer.sendall(POST % (2 << 30) + b"x" * 100_000)
        said = b"".join(iter(lambda: peer.recv(65_536), b""))
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in said


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("has_tls", [False, True], ids=["plain", "tls"])
def test_idle_connections_do_not_hold_up_the_end(
    launch: Launch, tmp_path: Path, workers: str, *, has_tls: bool
) -> None:
    """Their peers do not read, as a pool does not; it took 10 seconds with TLS."""
    port, words, client = free_port(), ["--workers", workers], None
    if has_tls:
        authority = certificates.lasting(dn="CN=authority", is_ca=True)
        trusted, _ = authority.write(tmp_path, "authority")
        made = certificates.lasting(dn="CN=server", dns=("localhost",), by=authority).write(tmp_path, "server")
        words += ["--tls-cert", str(made[0]), "--tls-key", str(made[1])]
        client = ssl.create_default_context(cafile=trusted)
    child = launch(*AFFIANT, "serve", "--port", str(port), *words)
    child.until(lambda: _is_up(port, client))
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            peer = stack.enter_context(_connect(port, client))
            peer.sendall(LIVE)
            assert peer.recv(65_536).startswith(b"HTTP/1.1 200 ")
        asked = time.monotonic()
        child.process.send_signal(signal.SIGTERM)
        child.process.wait(DRAIN_SECONDS + 5)
        assert time.monotonic() - asked < DRAIN_SECONDS / 2
    assert child.complaints == []


def _is_up(port: int, client: ssl.SSLContext | None) -> bool:
    with contextlib.suppress(OSError), _connect(port, client) as peer:
        peer.sendall(LIVE)
        return peer.recv(65_536).startswith(b"HTTP/1.1 200 ")
    return False


@pytest.mark.parametrize("workers", ["1", "2"])
def test_successor_is_there_before_the_last_answer(launch: Launch, workers: str) -> None:
    """The port is free as soon as the process is asked to end; a request that it has begun to read is still answered."""
    port = free_port()
    old = _serve(launch, port, "--workers", workers)
    with _connect(port) as slow:
        slow.sendall(POST % 10 + b"grant")
        time.sleep(0.1)  # until it is read
        old.process.send_signal(signal.SIGTERM)
        old.until(lambda: is_free(port))
        assert old.process.poll() is None
        slow.sendall(b"_type")
        assert slow.recv(65_536).startswith(b"HTTP/1.1 400 ")
    _serve(launch, port, "--workers", workers)


@linux
def _has_started(child: Child) -> bool:
    """Whether its log has said all that a start has to say."""
    return " serves" in child.err


def test_limit_of_open_files_is_raised(launch: Launch) -> None:
    """As far as the hard limit; where that is too low, it is said, and the cap is lowered."""
    for hard, soft in ((5000, 4352), (1000, 1000)):
        port = free_port()
        command = f"ulimit -Sn 300; ulimit -Hn {hard}; exec {' '.join(AFFIANT)} serve --port {port} --data data{hard}"
        child = launch("sh", "-c", command)
        child.until_healthy(f"http://127.0.0.1:{port}")
        (worker,) = children(child.process.pid)
        limits = Path(f"/proc/{worker}/limits").read_text("utf-8")
        assert re.findall(r"Max open files +(\d+)", limits) == [str(soft)]
        child.until(partial(_has_started, child))
        assert ("744 connections" in child.err) == (hard == 1000)
