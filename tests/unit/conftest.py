"""A server on a socket, for tests of what an HTTP client makes of it."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    """A server that plays this to each connection, with TLS or without; its port."""
    open_ones: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def begin(play: Callable[[socket.socket], object], context: ssl.SSLContext | None = None) -> int:
        listener = socket.create_server(("127.0.0.1", 0))

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    open_ones.append(connection)
                    connection.settimeout(5)
                    with connection, contextlib.suppress(OSError):
                        if context is not None:
                            with context.wrap_socket(connection, server_side=True) as secure:
                                play(secure)
                        else:
                            play(connection)

        open_ones.append(listener)
        threads.append(threading.Thread(target=accept))
        threads[-1].start()
        port: int = listener.getsockname()[1]
        return port

    yield begin
    for each in [*open_ones]:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
    for thread in threads:
        thread.join()
