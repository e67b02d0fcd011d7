"""Messages between the supervisor and a worker: lines of JSON on a pair of sockets."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from typing import Any

VARIABLE = "_AFFIANT_LINK"  # the environment variable with the file descriptor of a worker's end
_BYTES = 65_536
_MAX_SOCKETS = 64


class Link:
    """One end of the pair of sockets."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._rest = b""
        self._sockets: list[socket.socket] = []  # received with the messages
        self.is_open = True

    def fileno(self) -> int:
        return self._end.fileno()

    def send(self, message: dict[str, Any], sockets: Sequence[socket.socket] = (), *, wait: bool = True) -> None:
        """Send a message, and sockets with it.

        Raises:
            OSError: the other end is closed; or it does not read, and `wait` is false.
        """
        flags = 0 if wait else socket.MSG_DONTWAIT
        data = json.dumps(message).encode() + b"\n"
        sent = socket.send_fds(self._end, [data], [each.fileno() for each in sockets], flags)
        if sent < len(data):
            self._end.sendall(data[sent:])

    def receive(self) -> list[dict[str, Any]] | None:
        """Wait for data, and return the complete messages; None when the other end is closed."""
        try:
            data, numbers, *_ = socket.recv_fds(self._end, _BYTES, _MAX_SOCKETS)
        except OSError:
            return None
        self._sockets += [socket.socket(fileno=number) for number in numbers]
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def take_sockets(self) -> list[socket.socket]:
        """Return the sockets that came since the last call."""
        taken, self._sockets = self._sockets, []
        return taken

    def close(self) -> None:
        self.is_open = False
        self._end.close()
