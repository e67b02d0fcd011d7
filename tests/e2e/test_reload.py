"""SIGHUP under load: new workers take over, and no request is refused; what systemd is sent at each step."""

import asyncio
import contextlib
import os
import random
import re
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from tests import certificates
from tests.loopback import HOST, free_port
from tests.process import AFFIANT, Child, Server, children

from affiant import testing

KEEP_ALIVE = 5.0  # seconds for which the server keeps an idle connection
SEED = 18


@dataclass
class Systemd:
    """The part of systemd that a service notifies: a socket."""

    path: Path
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._inbox.bind(str(self.path))
        self._inbox.setblocking(False)

    def close(self) -> None:
        self._inbox.close()

    def hear(self) -> list[str]:
        with contextlib.suppress(BlockingIOError):
            while True:
                self.said += self._inbox.recv(4096).decode().split("\n")
        return self.said

    def until(self, server: Server, line: str, *, times: int = 1) -> None:
        assert server.child is not None
        server.child.until(lambda: sum(each.startswith(line) for each in self.hear()) >= times)


@dataclass
class Load:
    """Clients that ask for tokens, with pauses in which their connections are idle. An exception ends the test."""

    server: Server
    tls: ssl.SSLContext | None
    answers: int = 0
    seen: set[int] = field(default_factory=set)  # statuses

    def client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(verify=self.tls or True, timeout=20, trust_env=False)

    async def ask(self, client: httpx2.AsyncClient) -> None:
        answer = await client.post(f"{self.server.issuer}/token", data=testing.form(self.server.assertion("billing")))
        self.seen.add(answer.status_code)
        self.answers += 1

    async def busy(self, until: Callable[[], bool]) -> None:
        async with self.client() as client:
            while not until():
                await self.ask(client)

    async def idle(self, until: Callable[[], bool], longest: float) -> None:
        """Ask at any moment, but not in the one in which the server gives an idle connection up."""
        drawn = random.Random(SEED + id(until) % 7)
        async with self.client() as client:
            while not until():
                await self.ask(client)
                await asyncio.sleep(drawn.uniform(0, longest))

    async def wait_for_revocations(self, until: Callable[[], bool]) -> None:
        """A long poll, as a guard keeps one."""
        async with self.client() as client:
            etag = ""
            while not until():
                answer = await client.get(
                    f"{self.server.issuer}/revocations?wait=20", headers={"if-none-match": etag} if etag else {}
                )
                assert answer.status_code in {200, 304}
                etag = answer.headers["etag"]

    async def during(self, work: Callable[[], None]) -> None:
        """Work in a thread, with load before it, during it and until connections of before it are gone."""
        done = asyncio.Event()
        tasks = [
            *(asyncio.create_task(self.busy(done.is_set)) for _ in range(3)),
            *(asyncio.create_task(self.idle(done.is_set, KEEP_ALIVE - 1.5)) for _ in range(8)),
            asyncio.create_task(self.wait_for_revocations(done.is_set)),
        ]
        await asyncio.sleep(0.5)
        try:
            await asyncio.to_thread(work)
            done.set()
        finally:
            if not done.is_set():
                for task in tasks:
                    task.cancel()
        # The long poll would end only after its wait.
        tasks.pop().cancel()
        await asyncio.gather(*tasks)
        assert self.seen == {200}


@pytest.fixture(params=["2 tls", pytest.param("1 plain", marks=pytest.mark.soak)])
def reloaded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, Systemd, ssl.SSLContext | None]]:
    """A server with a client, below a Systemd of ours."""
    workers, kind = request.param.split()
    systemd, client, options = Systemd(tmp_path / "notify"), None, list[str]()
    if kind == "tls":
        authority = certificates.lasting(dn="CN=authority", is_ca=True)
        trusted, _ = authority.write(tmp_path, "authority")
        for name in ("server", "later"):
            certificates.lasting(dn=f"CN={name}", dns=("localhost",), by=authority).write(tmp_path, name)
        client = ssl.create_default_context(cafile=trusted)
        options = ["--tls-cert", "server.pem", "--tls-key", "server.key"]
    server = Server(
        tmp_path,
        workers=int(workers),
        options=tuple(options),
        origin="https://localhost" if client else "http://127.0.0.1",
        environment={
            "NOTIFY_SOCKET": str(systemd.path),
            "AFFIANT_TOKEN_BURST": "0",
            "AFFIANT_FAILURE_BURST": "0",
            "WATCHDOG_USEC": "10000000",
            "AFFIANT_METRICS": f"{HOST}:{free_port()}",
        },
    )
    server.environment["AFFIANT_ISSUER"] = server.issuer
    try:
        server.launch()
        systemd.until(server, "READY=1")
        server.add_api()
        server.affiant("client", "new", "billing", "--scope", "orders.read")
        yield server, systemd, client
    finally:
        server.stop()
        systemd.close()


def test_reload_refuses_nothing(reloaded: tuple[Server, Systemd, ssl.SSLContext | None], tmp_path: Path) -> None:
    """Under load: two reloads, one that fails, one worker that hangs. Then the end."""
    server, systemd, client = reloaded
    assert server.child is not None
    main = server.child.process.pid

    def reload(times: int) -> None:
        os.kill(main, signal.SIGHUP)
        systemd.until(server, "RELOADING=1", times=times)
        systemd.until(server, "READY=1", times=times + 1)

    def work() -> None:
        before = children(main)
        if client is not None:
            (tmp_path / "server.pem").write_bytes((tmp_path / "later.pem").read_bytes())
            (tmp_path / "server.key").write_bytes((tmp_path / "later.key").read_bytes())
        reload(1)
        assert server.child is not None
        server.child.until(lambda: not set(before) & set(children(main)), seconds=15)
        (tmp_path / "affiant.toml").write_text("access_token_lifetime = 'x'\n")
        serving = children(main)
        reload(2)
        assert set(serving) <= set(children(main))
        assert "access_token_lifetime" in server.child.err
        assert "the reload failed, and the old workers keep serving" in server.child.err

    load = Load(server, client)
    asyncio.run(load.during(work))
    assert load.answers > 50
    server.child.until(
        lambda: _scraped(server, r'affiant_token_requests_total\{.*outcome="issued".*\}') == load.answers
    )
    if client is not None:
        until = x509.load_pem_x509_certificate((tmp_path / "later.pem").read_bytes()).not_valid_after_utc
        assert _scraped(server, "affiant_tls_certificate_until_timestamp_seconds") == until.timestamp()
        assert "later" in _subject(server, client)
    _hang(server, systemd)
    server.child.process.terminate()
    assert server.child.process.wait(15) == 0
    assert "STOPPING=1" in systemd.hear()


def _scraped(server: Server, series: str) -> float:
    """Return the sum of these series, by all workers that there ever were."""
    text = httpx2.get(f"http://{server.environment['AFFIANT_METRICS']}/metrics", trust_env=False).text
    return sum(map(float, re.findall(rf"^{series} (\S+)$", text, re.MULTILINE)))


def _subject(server: Server, client: ssl.SSLContext) -> str:
    with (
        socket.create_connection((HOST, server.port)) as raw,
        client.wrap_socket(raw, server_hostname="localhost") as tls,
    ):
        return str(tls.getpeercert())


def _hang(server: Server, systemd: Systemd) -> None:
    """A worker that hangs is replaced before the watchdog ends the server."""
    assert server.child is not None
    main = server.child.process.pid
    (victim, *_) = children(main)
    os.kill(victim, signal.SIGSTOP)
    server.child.until(lambda: "hung" in server.child.err and victim not in children(main), seconds=25)  # type: ignore[union-attr]
    fed = systemd.hear().count("WATCHDOG=1")
    systemd.until(server, "WATCHDOG=1", times=fed + 1)


class Activated:
    """A server whose socket is the test's, as systemd's would be."""

    def __init__(self, server: Server, systemd: Systemd) -> None:
        self.server, self.systemd, self.starts = server, systemd, 0
        self.socket = socket.create_server((HOST, server.port), backlog=2048)

    def start(self) -> None:
        """Start the server as systemd does: the socket is file descriptor 3, and LISTEN_PID is the process."""
        name = f"server{self.starts}"
        self.starts += 1
        program = " ".join(AFFIANT)
        line = f"exec 3<&0; exec 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=as exec {program} serve"
        with (
            (self.server.folder / f"{name}.out").open("ab") as out,
            (self.server.folder / f"{name}.err").open("ab") as err,
        ):
            process = subprocess.Popen(
                ["sh", "-c", line],
                cwd=self.server.folder,
                env=os.environ | self.server.environment,
                stdin=self.socket.fileno(),
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.server.child = Child(self.server.folder, process, name)
        self.systemd.until(self.server, "READY=1", times=self.starts)

    def restart(self) -> None:
        assert self.server.child is not None
        self.server.child.process.terminate()
        assert self.server.child.process.wait(30) == 0, self.server.child.err
        self.start()


def test_restart_with_an_activated_socket_refuses_nothing(tmp_path: Path) -> None:
    """A connection made between the two processes waits in the queue; one made before them gets its answer."""
    systemd = Systemd(tmp_path / "notify")
    server = Server(tmp_path, environment={"NOTIFY_SOCKET": str(systemd.path), "AFFIANT_TOKEN_BURST": "0"})
    activated = Activated(server, systemd)
    try:
        activated.start()
        server.add_api()
        server.affiant("client", "new", "billing", "--scope", "orders.read")
        load = Load(server, None)
        asyncio.run(load.during(activated.restart))
        assert load.answers > 11, "each client was answered, some before and some after"
    finally:
        server.stop()
        activated.socket.close()
        systemd.close()
