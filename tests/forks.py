"""Processes that need not wait for Python and its imports: forks of one that has them (preloaded.py).

There is one fork server in a process, whoever asks for it: what it has imported is decided here, and nowhere else.
"""

import contextlib
import multiprocessing
import os
import signal
import subprocess
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parent.parent
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.preloaded"])


class Fork:
    """A fork that calls `target` with these arguments; with the parts of subprocess.Popen that tests use."""

    def __init__(self, target: Callable[..., object], *arguments: Any) -> None:
        with contextlib.chdir(REPO):  # where the fork server finds what it imports
            forkserver.ensure_running()
        self._process: ForkServerProcess = FORKS.Process(target=target, args=arguments, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired("a fork", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
