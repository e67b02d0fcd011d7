"""A server of an experiment: its own folder, its own process, to be killed, filled and locked."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

from tests.chaos import checker
from tests.chaos.history import History
from tests.chaos.load import Crowd
from tests.process import READY_SECONDS, Server, children

from affiant.jose import keys
from affiant.server.keys import key_source
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import clients
from affiant.storage.records import Api, Client
from affiant.storage.sqlite import SqliteStore
from affiant.storage.sqlite.store import FILE_NAME

KEY = keys.generate("ES256")
CLIENTS = ("c0", "c1", "c2", "c3")
UNLIMITED = {"AFFIANT_FAILURE_BURST": "0", "AFFIANT_TOKEN_BURST": "0"}  # few clients ask for very much


@dataclass
class Node(Server):
    """A server with a few clients that all have KEY."""

    environment: dict[str, str] = field(default_factory=lambda: dict(UNLIMITED))
    may_fork: bool = False
    crowds: list[Crowd] = field(default_factory=list)

    @property
    def file(self) -> Path:
        """The database."""
        return self.data / FILE_NAME

    @cached_property
    def master_key(self) -> MasterKey:
        """Made and read once: some experiments take the folder away."""
        key_source.make(self.data, environment={})
        return key_source.load(self.data, environment={})

    @property
    def pid(self) -> int:
        """Of the supervisor of its workers."""
        assert self.child is not None
        return self.child.process.pid

    @property
    def worker(self) -> int:
        """The process that serves, if there is only one: below a supervisor, or forked without."""
        return next(iter(children(self.pid)), self.pid)

    @contextlib.asynccontextmanager
    async def prepared(self) -> AsyncIterator[Self]:
        """Make the database, with an API and the clients; in the end, stop the server."""
        try:
            await self._prepare()
            yield self
        finally:
            self.close()

    async def _prepare(self) -> None:
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        store = SqliteStore(self.file, audit_key=self.master_key.audit)
        await store.open()
        try:
            api = Api("https://orders.example", "orders", ("read",), is_default=True, created_at=0)
            await store.apis.add(api)
            for name in CLIENTS:
                made = clients.build(
                    Client(name, "private_key_jwt", scope=("read",)),
                    master_key=self.master_key,
                    now=0,
                    keys=(KEY.public(),),
                )
                await store.clients.add(made.client)
        finally:
            await store.close()

    async def boot(self) -> float:
        """Start it; seconds until it was ready."""
        begun = time.monotonic()
        self.launch()
        await self.until_ready()
        return time.monotonic() - begun

    async def until_ready(self) -> None:
        """Wait until it says that it would issue a token."""
        assert self.child is not None
        end = time.monotonic() + READY_SECONDS
        while await self.ready() != 200:
            assert self.child.process.poll() is None, f"it ended: {self.child.out}{self.child.err}"
            assert time.monotonic() < end, f"not ready within {READY_SECONDS} s: {self.child.err}"
            await asyncio.sleep(0.01)

    async def ready(self) -> int:
        """The status of /health/ready; 0 without an answer."""
        return await self.get("/health/ready")

    async def get(self, path: str) -> int:
        """The status of an answer, within the deadline; 0 when there is none."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return 0
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
            line = await asyncio.wait_for(reader.readline(), checker.DEADLINE + checker.GRACE)
            return int(line.split(b" ")[1]) if line else 0
        except OSError:
            return 0
        finally:
            writer.close()

    def is_ended(self) -> bool:
        """Whether its process is gone."""
        return self.child is None or self.child.process.poll() is not None

    async def end(self, seconds: float) -> tuple[int, float]:
        """SIGTERM; the exit code and the seconds that it took, or subprocess.TimeoutExpired."""
        assert self.child is not None
        begun = time.monotonic()
        os.kill(self.pid, signal.SIGTERM)
        code = await asyncio.to_thread(self.child.process.wait, seconds)
        return code, time.monotonic() - begun

    def crowd(self) -> Crowd:
        """Clients of this server, with a history in its folder."""
        path = self.folder / f"history{len(self.crowds)}.jsonl"
        self.crowds.append(Crowd(self.port, KEY, History(path), CLIENTS))
        return self.crowds[-1]

    def close(self) -> None:
        """End it, and everything about it."""
        self.stop()
        for crowd in self.crowds:
            crowd.history.close()

    def approve(self, crowd: Crowd) -> checker.Verdict:
        """Have the checker judge the run."""
        evidence = checker.read_sqlite(self.file)
        return checker.approve(crowd.history.events, evidence, audit_key=self.master_key.audit, now=time.time())


def resident(pid: int) -> int:
    """Bytes of memory that a process really has (proc(5))."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextlib.asynccontextmanager
async def holding(file: Path, *numbers: float) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that holds the write lock (holder.py), once it does; it ends with the block."""
    words = [sys.executable, str(Path(__file__).with_name("holder.py")), str(file), *map(str, numbers)]
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 40) == b"held\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def open_files(pid: int) -> int:
    """How many files and connections a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
