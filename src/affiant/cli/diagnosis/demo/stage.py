"""The parts of the demo: a folder, a real server and a guarded API, each in its own process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2

from affiant.errors import ConfigError

READY_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Stage:
    """The addresses of the parts."""

    folder: Path
    issuer: str
    api: str

    def affiant(self, *words: str) -> dict[str, Any]:
        """Run a command as a user would, in the demo's folder."""
        command = [sys.executable, "-m", "affiant.cli.main", *words, "--json"]
        done = subprocess.run(  # noqa: S603 - ourselves
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ConfigError(f"affiant {' '.join(words[:2])} failed: {done.stdout or done.stderr}")
        data: dict[str, Any] = json.loads(done.stdout)["data"]
        return data

    def environment(self) -> dict[str, str]:
        """Return the environment without the user's settings, and with a cache in the demo's folder."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AFFIANT_")}
        return {**kept, "XDG_CACHE_HOME": str(self.folder / "cache")}


@contextlib.contextmanager
def set_up() -> Iterator[Stage]:
    """Start both processes and wait until they answer; stop them and remove the folder afterwards."""
    with TemporaryDirectory(prefix="affiant-demo-") as folder, contextlib.ExitStack() as stack:
        server, api = _free_port(), _free_port()
        stage = Stage(Path(folder), f"http://127.0.0.1:{server}", f"http://127.0.0.1:{api}")
        stack.enter_context(_process(stage, "affiant.cli.main", "serve", "--port", str(server)))
        _wait(stage.issuer)
        stack.enter_context(_process(stage, "affiant.cli.diagnosis.demo.api", stage.issuer, str(api)))
        _wait(stage.api)
        yield stage


@contextlib.contextmanager
def _process(stage: Stage, *words: str) -> Iterator[None]:
    process: subprocess.Popen[bytes] | None = None
    try:
        with _undisturbed():
            # In its own session: Ctrl-C at the terminal reaches only the demo, which ends its processes in order.
            process = subprocess.Popen(  # noqa: S603 - our own modules
                [sys.executable, "-m", *words],
                cwd=stage.folder,
                env=stage.environment(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        yield
    finally:
        if process is not None:
            _end(process)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Delay signals, or a process that was started and is not known yet would be left behind."""
    came: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if callable(signal.getsignal(number))
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for caught in came:
            signal.raise_signal(caught)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(base: str) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(httpx2.TransportError):
            if httpx2.get(f"{base}/health").is_success:
                return
        time.sleep(0.05)
    raise ConfigError(f"{base} did not start within {READY_SECONDS} s")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
