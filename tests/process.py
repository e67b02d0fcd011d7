"""Real processes for tests: `affiant serve` on a data folder, an API behind our guard, the command line."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx2
from tests.e2e import forked
from tests.forks import Fork
from tests.loopback import free_port, listens

from affiant import testing
from affiant.jose import keys
from affiant.jose.keys import PrivateKey
from affiant.oauth import assertion
from affiant.server.registry.directory import FRESH_SECONDS
from affiant.testing import ABSENT

AFFIANT = (sys.executable, "-m", "affiant.cli.entry")
APPS = Path(__file__).with_name("e2e")  # guarded_api.py and mcp_tools.py
ORDERS = "https://orders.example"
READY_SECONDS, END_SECONDS = 60, 15  # a busy machine is slow, and waiting costs nothing
_CHANGES = {"update", "enable", "disable", "apply", "api", "signing-key"}


def is_healthy(base: str) -> bool:
    try:
        return httpx2.get(f"{base}/health", timeout=5).is_success
    except httpx2.TransportError:
        return False


def _environment(folder: Path, more: dict[str, str]) -> dict[str, str]:
    """Keep the cache in the test's own folder."""
    return {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), **more}


def run(folder: Path, *words: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `affiant WORDS` in this folder, with `given` on its standard input."""
    return forked.run(folder, words, _environment(folder, environment), given=given, timeout=60)


@dataclass
class Child:
    """A process in a session of its own, its output in files, so that nothing it starts can outlive the test."""

    folder: Path
    process: subprocess.Popen[bytes] | Fork
    name: str

    @classmethod
    def start(cls, folder: Path, *command: str, name: str = "child", **environment: str) -> Self:
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

    @classmethod
    def fork(cls, folder: Path, *words: str, name: str, **environment: str) -> Self:
        """A program that forked.py knows, without waiting for Python and its imports."""
        out, err = (folder / f"{name}.{stream}" for stream in ("out", "err"))
        return cls(folder, forked.start(folder, words, _environment(folder, environment), out, err), name)

    @property
    def out(self) -> str:
        return (self.folder / f"{self.name}.out").read_text("utf-8", "replace")

    @property
    def err(self) -> str:
        return (self.folder / f"{self.name}.err").read_text("utf-8", "replace")

    @property
    def complaints(self) -> list[str]:
        """The lines of its errors, without those that a server logs while all is well."""
        return [line for line in self.err.splitlines() if not line.startswith("{") or '"level":"info"' not in line]

    def until(self, is_ready: Callable[[], bool], *, seconds: float = READY_SECONDS) -> None:
        """Wait for it, as long as the process lives."""
        end = time.monotonic() + seconds
        while not is_ready():
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.out}{self.err}"
            assert time.monotonic() < end, f"not ready within {seconds} s: {self.out}{self.err}"
            time.sleep(0.05)

    def until_listening(self, port: int) -> Self:
        self.until(lambda: listens(port))
        return self

    def until_healthy(self, base: str) -> Self:
        self.until(lambda: is_healthy(base))
        return self

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()  # a fork that has no session yet
        self.process.wait(END_SECONDS)

    def stop(self) -> None:
        """Ask it to end; whatever is left of its session is killed."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(END_SECONDS)
        self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


Launch = Callable[..., Child]


@dataclass
class Server:
    """`affiant serve` on a data folder; a context manager that starts it, and stops it in the end."""

    folder: Path
    port: int = field(default_factory=free_port)
    workers: int = 1
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)  # of `serve`
    origin: str = "http://127.0.0.1"
    path: str = ""
    prefix: tuple[str, ...] = ()  # a command that starts the server
    child: Child | None = None
    may_fork: bool = True  # a fork serves by itself, without a supervisor, so SIGHUP ends it

    @property
    def issuer(self) -> str:
        return f"{self.origin}:{self.port}{self.path}"

    @property
    def data(self) -> Path:
        return self.folder / "affiant-data"

    def run(self, *words: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return run(self.folder, *words, given=given, **environment)

    def affiant(self, *words: str) -> Any:
        """Run a command that succeeds, and return the data that it prints."""
        end = words.index("--") if "--" in words else len(words)  # a name follows, which may begin with a hyphen
        done = self.run(*words[:end], "--json", *words[end:])
        assert done.returncode == 0, done.stdout + done.stderr
        if _CHANGES & set(words) and "list" not in words:
            time.sleep(1.2 * FRESH_SECONDS)  # until every worker looks again at what is registered
        return json.loads(done.stdout)["data"]

    def add_api(self, identifier: str = ORDERS, *words: str, name: str = "orders", scope: str = "orders.read") -> None:
        self.affiant("api", "new", name, "--identifier", identifier, "--scope", scope, *words)

    def credentials(self, name: str) -> dict[str, Any]:
        members: dict[str, Any] = json.loads((self.folder / f"{name}.affiant.json").read_text())
        return members

    def key(self, name: str) -> PrivateKey:
        """The key of a client that this folder has the credentials of."""
        return keys.parse_private_jwk(self.credentials(name)["key"])

    def assertion(
        self,
        name: str,
        *,
        key: PrivateKey | None = None,
        audience: str | None = None,
        lifetime: int = 60,
        jti: str | None = None,
    ) -> str:
        signer, now = key or self.key(name), time.time()
        return assertion.build(name, issuer=audience or self.issuer, signer=signer, now=now, lifetime=lifetime, jti=jti)

    def proof(self, name: str, **parameters: str) -> dict[str, Any]:
        """The form of a request by this client."""
        return testing.form(self.assertion(name), grant_type=ABSENT, **parameters)

    def token(self, **form: str) -> httpx2.Response:
        return httpx2.post(f"{self.issuer}/token", data=form, timeout=20)

    def launch(self) -> Child:
        """Start it, and do not wait."""
        words = ["serve", "--port", str(self.port), "--workers", str(self.workers), *self.options]
        words += ["--issuer", self.issuer] if self.path else []
        # What another program or the loader of Python is to see takes a start of Python, and so do several workers.
        is_plain = self.may_fork and self.workers == 1 and not self.prefix
        if is_plain and all(name.startswith("AFFIANT_") for name in self.environment):
            self.child = Child.fork(self.folder, "affiant", *words, name="server", **self.environment)
        else:
            self.child = Child.start(self.folder, *self.prefix, *AFFIANT, *words, name="server", **self.environment)
        return self.child

    def start(self) -> None:
        self.launch().until_healthy(self.issuer)

    def kill(self) -> None:
        assert self.child is not None
        self.child.kill()

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def children(pid: int) -> list[int]:
    """The worker processes of a server (proc(5))."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended while we looked
            continue
        if parent == pid:
            found.append(int(process.name))
    return found


def uvicorn(folder: Path, app: str, port: int, *words: str, **environment: str) -> Child:
    """Start an application of APPS, and wait until it listens."""
    application = (f"{app}:build", "--app-dir", str(APPS), "--port", str(port))
    command = ("uvicorn", "--factory", *application, "--log-level", "warning", *words)
    name = f"{app}-{port}"
    if "--workers" in words:
        child = Child.start(folder, sys.executable, "-m", *command, name=name, **environment)
    else:
        child = Child.fork(folder, *command, name=name, **environment)
    try:
        return child.until_listening(port)
    except BaseException:
        child.stop()
        raise


def guarded_api(
    folder: Path, issuer: str, audience: str, *words: str, port: int | None = None, **environment: str
) -> Child:
    """Start an API behind the guard (guarded_api.py), on the port of its audience unless another one is given."""
    port = port or int(audience.rpartition(":")[2])
    return uvicorn(folder, "guarded_api", port, *words, GUARD_ISSUER=issuer, GUARD_AUDIENCE=audience, **environment)
