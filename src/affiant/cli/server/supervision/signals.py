"""The signals that a supervisor gets, as numbers in their order."""

from __future__ import annotations

import contextlib
import signal
import socket
from types import FrameType
from typing import Self

_NUMBERS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)


class Signals:
    """Collects signals as long as the context lasts; it can be waited for like a file.

    Attack: a storm of one signal fills the socket that wakes the supervisor, so the numbers are kept elsewhere.
    """

    def __init__(self) -> None:
        self._came: list[int] = []

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        for end in (self._reader, self._writer):
            end.setblocking(False)
        self._former = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, self._note) for number in _NUMBERS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._former)
        self._reader.close()
        self._writer.close()

    def fileno(self) -> int:
        return self._reader.fileno()

    def take(self) -> list[int]:
        """Return the numbers of the signals that came since the last call, each once."""
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)
        came, self._came = self._came, []
        return came

    def _note(self, number: int, _: FrameType | None) -> None:
        if number not in self._came:
            self._came.append(number)
