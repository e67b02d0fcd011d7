"""Servers with broken responses: the caller gets an error in time."""

import socket
import time
from collections.abc import Callable, Generator

import httpx2
import pytest

from affiant.client.protocol import transport
from affiant.client.protocol.flow import Reply, Send
from affiant.errors import RemoteError, Unreachable

Play = Callable[[socket.socket], object]

TIMEOUT = 0.2  # seconds
HEAD = b"HTTP/1.1 200 OK\r\n"


def _for_ever(piece: bytes) -> Play:
    def play(connection: socket.socket) -> None:
        while True:
            connection.sendall(piece)
            time.sleep(TIMEOUT / 10)

    return play


def _header(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"X: ")
    _for_ever(b"a")(connection)


def _body(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Content-Length: 1000000\r\n\r\n")
    _for_ever(b"a")(connection)


def _ask(serve: Callable[[Play], int], http: httpx2.Client, play: Play) -> None:
    """Send a request to a server that plays this when it has read it."""

    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        play(connection)

    def flow() -> Generator[Send, Reply | None, Reply | None]:
        return (yield Send("GET", f"http://127.0.0.1:{serve(answer)}", timeout=TIMEOUT))

    transport.run(flow(), http)


@pytest.mark.parametrize("play", [_header, _body, _for_ever(b"HTTP/1.1 103 Early Hints\r\n\r\n")])
def test_endless_slow_response_ends_in_an_error(serve: Callable[[Play], int], http: httpx2.Client, play: Play) -> None:
    """Each byte comes in time; the whole never does."""
    began = time.monotonic()
    with pytest.raises(RemoteError, match="took more than"):
        _ask(serve, http, play)
    assert time.monotonic() - began < 20 * TIMEOUT


def test_silent_server_ends_in_an_error(serve: Callable[[Play], int], http: httpx2.Client) -> None:
    with pytest.raises(Unreachable, match="cannot be reached"):
        _ask(serve, http, lambda connection: connection.recv(1))


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH\r\n", b"", HEAD + b"X: " + b"a" * 200_000, b"HTTP/1.1 999999 \r\n\r\n"]
)
def test_response_that_is_not_http_is_an_error(
    serve: Callable[[Play], int], http: httpx2.Client, answer: bytes
) -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)

    with pytest.raises(Unreachable):
        _ask(serve, http, play)
