"""A client that sends its body slowly is given up, and no other waits for it."""

import socket
import time

import httpx2
from tests.process import Server

from affiant.server.request.deadline import REQUEST_SECONDS

LENGTH, GRACE_SECONDS = 1000, 1.5


def _open(server: Server) -> socket.socket:
    slow = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    slow.sendall(
        b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: %d\r\n\r\ngrant_type=" % LENGTH
    )
    slow.settimeout(0.5)
    return slow


def _drip(slow: socket.socket) -> bytes | None:
    """Another byte of the body; returns what the server said, b"" when it hung up, None when it still waits."""
    try:
        slow.sendall(b"a")
        return slow.recv(65_536)
    except TimeoutError:
        return None
    except ConnectionError:
        return b""


def test_slow_body_is_given_up(server: Server) -> None:
    """Twenty senders of a byte each half second are answered 408 in time; others are served at once."""
    begun = time.monotonic()
    slow = [_open(server) for _ in range(20)]
    first, waits = slow[0], []
    try:
        answer = None
        while answer is None and time.monotonic() - begun < REQUEST_SECONDS + GRACE_SECONDS:
            answer = _drip(first)
            asked = time.monotonic()
            assert httpx2.post(f"{server.issuer}/token", data={"grant_type": "nope"}, timeout=5).status_code == 400
            waits.append(time.monotonic() - asked)
        took = time.monotonic() - begun
        assert answer is not None, f"still waiting after {took:.1f} s"
        assert answer == b"" or answer.startswith(b"HTTP/1.1 408 "), answer[:200]
        assert took >= REQUEST_SECONDS - 1, "an honest sender on a slow line needs the time that it was promised"
        assert max(waits) < 2, f"others waited {max(waits):.1f} s"
        for other in slow[1:]:
            assert (_drip(other) or b"HTTP/1.1 408 ").startswith(b"HTTP/1.1 408 ")
    finally:
        for connection in slow:
            connection.close()
    assert httpx2.get(f"{server.issuer}/health").is_success
