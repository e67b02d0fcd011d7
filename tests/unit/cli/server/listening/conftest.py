"""uvicorn with our connections, in the loop of the test, on a real socket. Deadlines pass when the test says so."""

import asyncio
import contextlib
import inspect
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

from affiant.cli.server.listening import loop
from affiant.cli.server.listening.connection import LINGER_SECONDS, Connection
from affiant.cli.server.listening.table import Address, Caps, Open, Table

LONG = b"x" * 30_000
WAIT_SECONDS = 10  # far longer than anything takes


class Events:
    """What the server did so far; a test waits for it instead of sleeping."""

    def __init__(self) -> None:
        self.received = 0  # bytes of all connections
        self.started: list[str] = []  # paths that the application was called with
        self.stalled = 0  # connections whose peer did not read
        self.release = asyncio.Event()  # lets /slow answer
        self.tables: list[Table] = []
        self._changed = asyncio.Event()

    def notify(self) -> None:
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        """Do what the path says: answer at once, after the body, when released, or with more than a peer reads."""
        path = scope["path"]
        self.started.append(path)
        self.notify()
        if path == "/read":
            while (await receive()).get("more_body"):
                pass
        if path == "/slow":
            await self.release.wait()
        status = 413 if path == "/refuse" else 200
        length = len(LONG) * 1000 if path == "/long" else 2
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % length)]})
        for _ in range(1000 if path == "/long" else 0):
            await send({"type": "http.response.body", "body": LONG, "more_body": True})
        await send({"type": "http.response.body", "body": b"" if path == "/long" else b"ok"})


class _WatchedTable(Table):
    def __init__(self, events: Events, caps: Caps) -> None:
        self._events = events
        super().__init__(caps)
        events.tables.append(self)

    def find_room(self, peer: str) -> Address | None:
        self._events.notify()
        return super().find_room(peer)

    def add(self, connection: Open) -> None:
        super().add(connection)
        self._events.notify()

    def discard(self, connection: Open) -> None:
        super().discard(connection)
        self._events.notify()


class _WatchedConnection(Connection):
    def __init__(self, *arguments: Any, events: Events, **options: Any) -> None:
        self._events = events
        super().__init__(*arguments, **options)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._events.received += len(data)
        self._events.notify()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._events.stalled += 1
        self._events.notify()


class _Loop(loop._CappedLoop):
    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


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
        """Return the head of the next answer, and skip its body."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), WAIT_SECONDS)
        lines = head.lower().split(b"\r\n")
        length = next(int(line.split()[1]) for line in lines if line.startswith(b"content-length:"))
        await asyncio.wait_for(self.reader.readexactly(length), WAIT_SECONDS)
        return head

    async def rest(self) -> bytes:
        """Return everything until the server closes or resets the connection."""
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
    events: Events
    peers: list[Peer] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)  # that last until the server has ended

    async def connect(self, *, with_tls: bool = True) -> Peer:
        address, port = self.sockets[0].getsockname()
        tls = self.client if with_tls else None
        made = await asyncio.open_connection(address, port, ssl=tls, server_hostname="localhost" if tls else None)
        self.peers.append(Peer(*made))
        return self.peers[-1]

    async def ask(self, path: str = "/") -> Peer:
        """Return a connection on which one request was answered."""
        peer = await self.connect()
        await peer.send(request(path))
        assert (await peer.head()).startswith(b"HTTP/1.1 200 ")
        return peer

    async def deliver(self, peer: Peer, data: bytes) -> None:
        """Send this, and wait until the server has read it."""
        wanted = self.events.received + len(data)
        await peer.send(data)
        await self.events.until(lambda: self.events.received >= wanted)

    async def start(self, *peers: Peer, path: str = "/slow") -> None:
        """Send a request on each connection, and wait until the application has them."""
        wanted = len(self.events.started) + len(peers)
        for peer in peers:
            await peer.send(request(path))
        await self.events.until(lambda: len(self.events.started) >= wanted)

    def pass_time(self, seconds: float) -> None:
        """Let this time pass for the deadlines of the server, and check them."""
        running = asyncio.get_running_loop()
        assert isinstance(running, _Loop)
        running.ahead += seconds
        self.table.check(running.time())

    async def last_answer(self, peer: Peer) -> bytes:
        """Return what the server sends until it closes, after the time for which it lingers."""
        said = await peer.reader.read(65_536)
        self.pass_time(LINGER_SECONDS)
        return said + await peer.rest()

    @property
    def table(self) -> Table:
        return self.events.tables[0]

    @property
    def open(self) -> int:
        return len(self.table)

    async def until_open(self, number: int) -> None:
        await self.events.until(lambda: self.open == number)

    async def until_ending(self) -> None:
        """Wait until the server accepts no connection any more."""
        while not self.table.is_ending:  # noqa: ASYNC110 - nothing else happens then
            await asyncio.sleep(0)


def request(path: str = "/", *lines: bytes, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n".encode() + b"".join(b"%s\r\n" % line for line in lines) + b"\r\n"


@pytest.fixture(params=["plain", "tls"])
def run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run a scenario with a server, plain and with TLS."""
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
    monkeypatch.setattr(loop, "_CappedLoop", _Loop)

    async def main(scenario: Callable[[Running], Awaitable[None]]) -> None:
        events = Events()
        monkeypatch.setattr(loop, "Table", partial(_WatchedTable, events))
        http: Any = partial(_WatchedConnection, events=events)
        config = uvicorn.Config(
            events.app, interface="asgi3", http=http, ws="none", lifespan="off", log_level="critical", **options
        )
        config.timeout_keep_alive = 3600  # only our own deadlines count
        config.load()
        listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup([listening])
        running = Running(server, [listening], client, events)
        try:
            await scenario(running)
        finally:
            if not running.tasks:
                events.release.set()
            await asyncio.wait_for(server.shutdown([listening]), WAIT_SECONDS)
            await asyncio.gather(*running.tasks)
            for peer in running.peers:
                peer.writer.transport.abort()
            await asyncio.gather(*(peer.writer.wait_closed() for peer in running.peers), return_exceptions=True)

    def go(scenario: Callable[[Running], Awaitable[None]], **caps: Any) -> None:
        with asyncio.Runner(loop_factory=partial(loop.make, Caps(**caps))) as runner:
            runner.run(main(scenario))

    return go


def served(**caps: Any) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]:
    """Make a scenario a test with the fixture `run`; its argument `caps` adds to these caps."""

    def decorate(scenario: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        def test(run: Callable[..., None], **given: Any) -> None:
            run(partial(scenario, **given), **caps, **given.get("caps", {}))

        fixture, _ = inspect.signature(test).parameters.values()
        others = list(inspect.signature(scenario).parameters.values())[1:]
        test.__signature__ = inspect.Signature([fixture, *others])  # type: ignore[attr-defined]
        test.__doc__ = scenario.__doc__
        return test

    return decorate
