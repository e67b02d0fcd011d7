"""Sockets that another process opened."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from tests.loopback import HOST, free_port

from affiant.cli.server.supervision import activation
from affiant.errors import ConfigError

TOOL = shutil.which("systemd-socket-activate")


@contextmanager
def _inherited(*sockets: socket.socket) -> Iterator[int]:
    """File descriptors that follow each other, as in an activated process; the first of them."""
    first = 700
    for place, each in enumerate(sockets):
        os.dup2(each.fileno(), first + place)
    yield first
    for place in range(len(sockets)):
        try:
            os.close(first + place)
        except OSError:  # the test took it
            continue


def _variables(number: str, names: str = "", pid: int | None = None) -> dict[str, str]:
    return {"LISTEN_PID": str(pid or os.getpid()), "LISTEN_FDS": number, "LISTEN_FDNAMES": names}


def test_sockets_are_taken_once_and_no_child_is_activated() -> None:
    with ExitStack() as stack:
        made = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(2)]
        first = stack.enter_context(_inherited(*made))
        variables = _variables("2", "as:other")
        taken = [stack.enter_context(each) for each in activation.take(variables, first=first)]
        assert [each.getsockname() for each in taken] == [each.getsockname() for each in made]
        assert not variables
        assert activation.take(variables, first=first) == []


def test_variables_of_a_parent_are_not_for_us() -> None:
    assert activation.take(_variables("1", pid=1)) == []


@pytest.mark.parametrize("number", ["x", "0", "-1", "65", "999999", "\uff11"])
def test_wrong_numbers_are_refused(number: str) -> None:
    with pytest.raises(ConfigError, match="LISTEN_FDS is"):
        activation.take(_variables(number))


def test_what_is_no_tcp_socket_that_listens_is_refused() -> None:
    kinds = [
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        socket.socket(socket.AF_INET, socket.SOCK_STREAM),  # does not listen
    ]
    for kind in kinds:
        with kind, _inherited(kind) as first, pytest.raises(ConfigError, match=rf"{first} \('as'\).* not a TCP socket"):
            activation.take(_variables("1", "as"), first=first)
    with pytest.raises(ConfigError, match="is not a socket"):
        activation.take(_variables("1"), first=700)


@pytest.mark.skipif(TOOL is None, reason="systemd-socket-activate is not installed")
def test_the_tool_of_systemd_activates() -> None:
    port = free_port()
    program = (
        "from affiant.cli.server.supervision import activation\n"
        "(taken,) = activation.take()\n"
        "taken.accept()[0].sendall(b'activated')\n"
    )
    with subprocess.Popen([TOOL or "", "--listen", f"{HOST}:{port}", sys.executable, "-c", program]) as process:
        try:
            end = time.monotonic() + 20
            while True:
                try:
                    with socket.create_connection((HOST, port), timeout=20) as peer:
                        assert peer.recv(100) == b"activated"
                    break
                except ConnectionRefusedError:
                    assert time.monotonic() < end
                    time.sleep(0.05)
        finally:
            process.kill()
