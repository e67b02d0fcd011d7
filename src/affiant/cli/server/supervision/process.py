"""A worker, as the supervisor sees it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from affiant.cli.server.supervision.link import VARIABLE, Link

_OURS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")  # only the supervisor reports to systemd
_PROGRAM = "affiant"
_NOT_STARTED = 126  # the exit code that a shell has for a command that cannot be run


def command(arguments: Sequence[str]) -> list[str]:
    """Return the command of a worker.

    The script is run by its path as it was called, so that a link to a newer environment leads to newer code.
    """
    script = sys.argv[0]
    if os.path.basename(script) == _PROGRAM and os.access(script, os.X_OK) and os.path.isabs(script):  # noqa: PTH117, PTH119 - pathlib is slow to load
        return [script, *arguments]
    return [sys.executable, "-P", "-m", "affiant.cli.entry", *arguments]


class Process:
    """A worker process, from its start to its end."""

    def __init__(self, arguments: Sequence[str], sockets: Sequence[socket.socket], first: dict[str, Any]) -> None:
        """Start it with this first message; one that cannot be started has ended at once, and `failure` says why."""
        ours, theirs = socket.socketpair()
        files = [each.fileno() for each in sockets]
        environment = {name: value for name, value in os.environ.items() if name not in _OURS}
        self._process: subprocess.Popen[bytes] | None = None
        self.failure = ""
        # Order: blocked before it starts. Ctrl-C at a terminal, and a SIGHUP to the group or the unit, go to all, and
        # the supervisor decides.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - our own command
                    command(arguments),
                    env=environment | {VARIABLE: str(theirs.fileno())},
                    pass_fds=(theirs.fileno(), *files),
                )
        except OSError as error:  # the program is just being replaced, or no more processes may be made
            self.failure = error.strerror or str(error)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.link = Link(ours)
        self.why: list[str] | None = None  # why it cannot issue tokens; empty if it can; None before its first report
        self.silence = 0.0  # seconds since its last report
        self.send({**first, "sockets": files})

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def ended(self) -> int | None:
        """Return its exit code, as a shell has it, or None while it runs."""
        if self._process is None:
            return _NOT_STARTED
        code = self._process.poll()
        return 128 - code if code is not None and code < 0 else code

    def send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # it has ended
            self.link.send(message, wait=False)

    def follow(self) -> None:
        """Let it end gently: other processes accept on its sockets."""
        self.send({"end": "followed"})

    def end(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
