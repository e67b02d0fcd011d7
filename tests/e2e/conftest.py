"""A real server in its own processes, driven by the real command line."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.e2e import forked

from affiant.server.registry.directory import FRESH_SECONDS

AFFIANT = (sys.executable, "-m", "affiant.cli.main")
_CHANGES = {"update", "enable", "disable", "apply", "api", "signing-key"}
READY_SECONDS, END_SECONDS = 30, 15


def _with_json(words: tuple[str, ...]) -> list[str]:
    """Ask for JSON, before what follows two hyphens: there is a name, which may begin with one."""
    end = words.index("--") if "--" in words else len(words)
    return [*words[:end], "--json", *words[end:]]


def _environment(folder: Path, more: dict[str, str]) -> dict[str, str]:
    """A cache in the test's own folder: no test reads or writes the cache of who runs it."""
    return {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), **more}


@dataclass
class Child:
    """A process with a session of its own, its output in files, so that nothing it starts can outlive the test."""

    folder: Path
    process: subprocess.Popen[bytes]
    name: str

    @classmethod
    def start(cls, folder: Path, *command: str, name: str = "child", **environment: str) -> Child:
        with (folder / f"{name}.out").open("ab") as out, (folder / f"{name}.err").open("ab") as err:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=_environment(folder, environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        return cls(folder, process, name)

    @property
    def out(self) -> str:
        return (self.folder / f"{self.name}.out").read_text("utf-8", "replace")

    @property
    def err(self) -> str:
        return (self.folder / f"{self.name}.err").read_text("utf-8", "replace")

    def until(self, is_ready: Callable[[], bool]) -> None:
        """Wait for it, as long as the process lives."""
        end = time.monotonic() + READY_SECONDS
        while not is_ready():
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.out}{self.err}"
            assert time.monotonic() < end, f"not ready within {READY_SECONDS} s: {self.out}{self.err}"
            time.sleep(0.05)

    def until_healthy(self, base: str) -> None:
        self.until(lambda: _is_healthy(base))

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(END_SECONDS)

    def stop(self) -> None:
        """Ask it to end; whatever is left of its session is killed."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(END_SECONDS)
        self.kill()


@dataclass
class Server:
    """A server on a data folder."""

    folder: Path
    port: int
    workers: int = 1
    child: Child | None = field(default=None)
    environment: dict[str, str] = field(default_factory=dict)  # of `serve`

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, *words: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return _run(self.folder, *words, given=given, **environment)

    def affiant(self, *words: str) -> Any:
        done = self.run(*_with_json(words))
        assert done.returncode == 0, done.stdout + done.stderr
        if _CHANGES & set(words):
            # Each worker may go by its last look at what is registered for so long, and no longer.
            time.sleep(2 * FRESH_SECONDS)
        return json.loads(done.stdout)["data"]

    def credentials(self, name: str) -> dict[str, Any]:
        members: dict[str, Any] = json.loads((self.folder / f"{name}.affiant.json").read_text())
        return members

    def start(self) -> None:
        words = ["serve", "--port", str(self.port), "--workers", str(self.workers)]
        self.child = Child.start(self.folder, *AFFIANT, *words, name="server", **self.environment)
        self.child.until_healthy(self.issuer)

    def kill(self) -> None:
        assert self.child is not None
        self.child.kill()

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop()

    def token(self, **form: str) -> httpx2.Response:
        return httpx2.post(f"{self.issuer}/token", data=form, timeout=20)


def _run(folder: Path, *words: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return forked.run(folder, words, _environment(folder, environment), given=given, timeout=60)


def _is_healthy(base: str) -> bool:
    try:
        return httpx2.get(f"{base}/health", timeout=5).is_success
    except httpx2.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _serve(folder: Path, workers: int) -> Iterator[Server]:
    server = Server(folder, _free_port(), workers)
    try:
        server.start()
        server.affiant("api", "new", "orders", "--identifier", "https://orders.example", "--scope", "orders.read")
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two workers and one API; every test registers clients of its own."""
    yield from _serve(tmp_path_factory.mktemp("server"), 2)


@pytest.fixture
def lone_server(tmp_path: Path) -> Iterator[Server]:
    """A server with one worker, to be killed."""
    yield from _serve(tmp_path, 1)


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A port of 127.0.0.1 that nobody listens on; another one with each call."""
    return _free_port


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Start a process in tmp_path; it ends with the test, and so does whatever it started."""
    children: list[Child] = []

    def start(*command: str, **environment: str) -> Child:
        children.append(Child.start(tmp_path, *command, name=f"child{len(children)}", **environment))
        return children[-1]

    try:
        yield start
    finally:
        for child in children:
            child.stop()


@pytest.fixture(scope="session")
def api(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A guarded API in its own process (guarded_api.py), registered under the address that it listens on."""
    port = _free_port()
    identifier = f"http://127.0.0.1:{port}"
    server.affiant(
        *("api", "new", "live", "--identifier", identifier, "--scope", "orders.read", "--scope", "orders.write")
    )
    child = Child.start(
        tmp_path_factory.mktemp("api"),
        *(sys.executable, "-m", "uvicorn", "--factory", "guarded_api:build", "--app-dir", str(Path(__file__).parent)),
        *("--port", str(port), "--log-level", "warning"),
        GUARD_ISSUER=server.issuer,
        GUARD_AUDIENCE=identifier,
    )
    try:
        child.until_healthy(identifier)
        yield identifier
    finally:
        child.stop()
