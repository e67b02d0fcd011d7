"""Servers with broken responses: the caller gets an error in time."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator

import httpx2
import pytest

from affiant.client import transport
from affiant.client.flow import Reply, Send
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


@pytest.fixture
def serve() -> Iterator[Callable[[Play], str]]:
    """A server that sends this on each connection, for as long as the test takes."""
    listener = socket.create_server(("127.0.0.1", 0))
    plays: list[Play] = []
    threads: list[threading.Thread] = []
    open_ones: list[socket.socket] = []

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.recv(65_536)
            plays[-1](connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                open_ones.append(listener.accept()[0])
                threads.append(threading.Thread(target=answer, args=(open_ones[-1],)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()

    def begin(play: Play) -> str:
        plays.append(play)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield begin
    for each in (listener, *open_ones):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
    for thread in (accepting, *threads):
        thread.join()


def _get(url: str) -> Generator[Send, Reply | None, Reply | None]:
    return (yield Send("GET", url, timeout=TIMEOUT))


@pytest.mark.parametrize("play", [_header, _body, _for_ever(b"HTTP/1.1 103 Early Hints\r\n\r\n")])
def test_endless_slow_response_ends_in_an_error(serve: Callable[[Play], str], http: httpx2.Client, play: Play) -> None:
    """Each byte comes in time; the whole never does."""
    began = time.monotonic()
    with pytest.raises(RemoteError, match="took more than"):
        transport.run(_get(serve(play)), http)
    assert time.monotonic() - began < 20 * TIMEOUT


def test_silent_server_ends_in_an_error(serve: Callable[[Play], str], http: httpx2.Client) -> None:
    with pytest.raises(Unreachable, match="cannot be reached"):
        transport.run(_get(serve(lambda connection: connection.recv(1))), http)


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH\r\n", b"", HEAD + b"X: " + b"a" * 200_000, b"HTTP/1.1 999999 \r\n\r\n"]
)
def test_response_that_is_not_http_is_an_error(
    serve: Callable[[Play], str], http: httpx2.Client, answer: bytes
) -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)

    with pytest.raises(Unreachable):
        transport.run(_get(serve(play)), http)
