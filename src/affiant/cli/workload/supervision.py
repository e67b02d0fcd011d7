"""A process under a supervisor such as systemd: what it reports, and the signals that it gets."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from types import FrameType
from typing import Self

from affiant.system.text import printable

_NOTIFY_SECONDS = 1.0


class Stopped(BaseException):
    """SIGTERM: the supervisor ends the process. Like KeyboardInterrupt, it passes every `except Exception`."""


class Signals:
    """Sleep until SIGHUP, and raise Stopped for SIGTERM, as long as the context lasts.

    A SIGHUP that comes outside of `sleep` ends the next one at once.
    """

    def __enter__(self) -> Self:
        self._woken, self._wakes = socket.socketpair()
        for end in (self._woken, self._wakes):
            end.setblocking(False)
        self._former = signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, _react) for number in (signal.SIGHUP, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._former)
        self._woken.close()
        self._wakes.close()

    def sleep(self, seconds: float) -> bool:
        """Return whether SIGHUP came; otherwise the time has passed."""
        with contextlib.suppress(BlockingIOError):
            if select.select([self._woken], [], [], max(0.0, seconds))[0]:
                return signal.SIGHUP in self._woken.recv(4096)
        return False


def _react(number: int, _: FrameType | None) -> None:
    if number == signal.SIGTERM:
        raise Stopped


def notify(*assignments: str) -> None:
    """Report to systemd, as sd_notify(3) does; without its socket, to none."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    place = f"\0{address[1:]}" if address.startswith("@") else address
    text = "\n".join(map(printable, assignments))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out, contextlib.suppress(OSError):
        out.settimeout(_NOTIFY_SECONDS)  # a receiver that reads nothing must not stop the process
        out.sendto(text.encode(), place)
