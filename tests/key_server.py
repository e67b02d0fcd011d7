"""A real https server on loopback that publishes keys, well or badly."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpcore2
from tests.certificates import authority

from affiant.server.registry.addresses import parse_allowed
from affiant.server.registry.fetch import Fetcher

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

HOST, LOOPBACK, PUBLIC = "keys.example", "127.0.0.1", "93.184.215.14"


def reply(body: object, *headers: str, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """The bytes of an answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(data)}",
        *([f"Content-Type: {kind}"] if kind else []),
        *headers,
    ]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + data


@dataclass
class Names:
    """A resolver that answers, for every name, one list after the other, the last one again and again."""

    answers: list[list[str]] = field(default_factory=lambda: [[LOOPBACK]])
    asked: list[str] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


@dataclass
class KeyServer:
    """What it answers may be changed at any time.

    Attributes:
        answer: writes the answer; where it is bytes, these.
        requests: the head of every request that came.
        connections: how many were opened.
        names: by which it is found.
    """

    port: int = 0
    names: Names = field(default_factory=Names)
    answer: bytes | Answer = b""
    requests: list[str] = field(default_factory=list)
    connections: int = 0

    @property
    def hits(self) -> int:
        return len(self.requests)

    def uri(self, host: str = HOST, path: str = "/jwks") -> str:
        return f"https://{host}:{self.port}{path}"

    def publish(self, *members: Any, headers: Sequence[str] = ()) -> None:
        """Answer with the set of these JWKs."""
        self.answer = reply({"keys": list(members)}, *headers)

    def vanish(self) -> None:
        """From now on its name is not known."""
        self.names.answers = [[]]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head.decode())
            if callable(self.answer):
                await self.answer(writer)
            else:
                writer.write(self.answer)
                await writer.drain()

    async def count(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Instead of `serve`: count the connection."""
        self.connections += 1


async def end(writer: asyncio.StreamWriter) -> None:
    """Close, and leave nothing behind."""
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), 0.5)
    writer.transport.abort()


@contextlib.asynccontextmanager
async def listening(answer: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port on loopback where this is what answers; in the end nothing of it is left."""
    tasks = set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await answer(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()  # the test is over, and what it answers has no end
        finally:
            await end(writer)
            tasks.discard(task)

    server = await asyncio.start_server(serve, LOOPBACK, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def running(tls: ssl.SSLContext | None = None) -> AsyncIterator[KeyServer]:
    """With a certificate for HOST and LOOPBACK where none is given."""
    made = KeyServer()
    async with listening(made.serve, tls or authority().serve(HOST, LOOPBACK)) as made.port:
        yield made


@contextlib.asynccontextmanager
async def canary() -> AsyncIterator[KeyServer]:
    """A server that must not be connected to; `connections` is how many did."""
    made = KeyServer()
    async with listening(made.count) as made.port:
        yield made


def fetcher(
    allowed: str = LOOPBACK, *, names: Names | None = None, network: httpcore2.AsyncNetworkBackend | None = None
) -> Fetcher:
    """One that trusts the tests' authority; loopback is allowed unless it is not."""
    return Fetcher(parse_allowed(allowed), resolve=names or Names(), network=network, tls=authority().trust())
