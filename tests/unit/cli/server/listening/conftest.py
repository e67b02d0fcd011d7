"""uvicorn with our connections, in the loop of the test, on a real socket; with deadlines that a test can wait for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from tests import certificates

from affiant.cli.server.listening import connection, loop, table
from affiant.cli.server.listening.connection import Connection
from affiant.cli.server.listening.table import Caps

Scenario = Callable[["Running"], Awaitable[None]]

LONG = b"x" * 30_000
WAIT_SECONDS = 10  # far longer than anything takes


async def _app(scope: Any, receive: Any, send: Any) -> None:
    """What its path says: answer at once, after the body, after a while, or with more than a peer reads."""
    path = scope["path"]
    if path == "/read":
        while (await receive()).get("more_body"):
            pass
    if path == "/slow":
        await asyncio.sleep(0.3)
    status = 413 if path == "/refuse" else 200
    length = len(LONG) * 1000 if path == "/long" else 2
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % length)]})
    for _ in range(1000 if path == "/long" else 0):
        await send({"type": "http.response.body", "body": LONG, "more_body": True})
    await send({"type": "http.response.body", "body": b"" if path == "/long" else b"ok"})


@dataclass
class Peer:
    """The other end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0)  # uvloop's TLS writes nothing before that

    async def flood(self, most: int) -> int:
        """Send this many bytes, or until the server closes; return how many."""
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < most:
                await self.send(b"x" * 65_536)
                sent += 65_536
        return sent

    async def head(self) -> bytes:
        """The head of the next answer, whose body is skipped."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), WAIT_SECONDS)
        lines = head.lower().split(b"\r\n")
        length = next(int(line.split()[1]) for line in lines if line.startswith(b"content-length:"))
        await asyncio.wait_for(self.reader.readexactly(length), WAIT_SECONDS)
        return head

    async def rest(self) -> bytes:
        """All until the server closes; a reset is an end as well."""
        said = b""
        try:
            while piece := await asyncio.wait_for(self.reader.read(65_536), WAIT_SECONDS):
                said += piece
        except (ConnectionError, ssl.SSLError):
            pass
        return said


@dataclass
class Running:
    """A server that runs."""

    server: uvicorn.Server
    sockets: list[socket.socket]
    client: ssl.SSLContext | None
    peers: list[Peer] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)  # that last until the server has ended

    async def connect(self, *, with_tls: bool = True) -> Peer:
        address, port = self.sockets[0].getsockname()
        tls = self.client if with_tls else None
        made = await asyncio.open_connection(address, port, ssl=tls, server_hostname="localhost" if tls else None)
        self.peers.append(Peer(*made))
        return self.peers[-1]

    async def ask(self, path: str = "/") -> Peer:
        """A connection on which one request was answered."""
        peer = await self.connect()
        await peer.send(request(path))
        assert (await peer.head()).startswith(b"HTTP/1.1 200 ")
        return peer

    @property
    def open(self) -> int:
        return len(self.server.servers[0]._table)  # type: ignore[attr-defined]

    async def until_open(self, number: int) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while self.open != number:  # noqa: ASYNC110 - no event tells of a connection
                await asyncio.sleep(0.01)


def request(path: str = "/", *lines: bytes, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n".encode() + b"".join(b"%s\r\n" % line for line in lines) + b"\r\n"


@pytest.fixture(params=["plain", "tls"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """Run a scenario beside a server, plain and with TLS."""
    options: dict[str, Any] = {}
    client = None
    if request.param == "tls":
        authority = certificates.lasting(dn="CN=authority", is_ca=True)
        trusted, _ = authority.write(tmp_path, "authority")
        certificate, key = certificates.lasting(dn="CN=server", dns=("localhost",), by=authority).write(
            tmp_path, "server"
        )
        options = {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
        client = ssl.create_default_context(cafile=trusted)

    async def main(scenario: Scenario) -> None:
        config = uvicorn.Config(
            _app, http=Connection, ws="none", lifespan="off", log_level="critical", timeout_keep_alive=1, **options
        )
        config.load()
        listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup([listening])
        running = Running(server, [listening], client)
        try:
            await scenario(running)
        finally:
            await asyncio.wait_for(server.shutdown([listening]), WAIT_SECONDS)
            await asyncio.gather(*running.tasks)
            for peer in running.peers:
                peer.writer.transport.abort()
            await asyncio.sleep(0.05)  # until they are closed

    def go(scenario: Scenario, **caps: Any) -> None:
        with asyncio.Runner(loop_factory=partial(loop.make, Caps(**caps))) as runner:
            runner.run(main(scenario))

    return go


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines of a fraction of a second."""
    monkeypatch.setattr(table, "LOOK_SECONDS", 0.02)
    for name in ("HEADERS_SECONDS", "BODY_SECONDS", "STALL_SECONDS", "CLOSE_SECONDS", "LINGER_SECONDS"):
        monkeypatch.setattr(connection, name, 0.3)
    monkeypatch.setattr(loop, "HEADERS_SECONDS", 0.3)
