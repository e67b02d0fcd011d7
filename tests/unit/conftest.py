"""A server on a socket, for tests of what an HTTP client makes of it; and a PKCS #11 token."""

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from tests import softhsm

if TYPE_CHECKING:  # few tests trace, and OpenTelemetry is slow to load
    from tests.spans import Recorded


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


@pytest.fixture(scope="session")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[softhsm.SoftHsm]:
    """One for all tests of a process: the module reads its configuration once."""
    made = softhsm.make(tmp_path_factory.mktemp("softhsm"))
    if made is None:
        pytest.skip(softhsm.MISSING)
    before = os.environ.get(softhsm.CONFIGURATION)
    os.environ[softhsm.CONFIGURATION] = str(made.configuration)
    yield made
    if before is None:
        del os.environ[softhsm.CONFIGURATION]
    else:
        os.environ[softhsm.CONFIGURATION] = before


@pytest.fixture
def recorded() -> "Recorded":
    """What a provider of OpenTelemetry exports in this test."""
    from tests.spans import Recorded

    return Recorded()
