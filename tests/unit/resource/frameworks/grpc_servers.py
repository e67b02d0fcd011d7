"""Servers of gRPC on loopback behind a guard: with threads, with asyncio, and with asyncio and handlers in threads.

Their methods are of all four kinds, without protoc: a message is bytes. Each answers the client_id of the caller.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from affiant.resource import Guard
from affiant.resource.frameworks.rpc.grpc import caller

NEEDS = {"/shop.Orders/Public": None, "/shop.Orders/*": "read", "/shop.Other/Taken": "read"}
KINDS = {
    "UnaryUnary": "unary_unary",
    "UnaryStream": "unary_stream",
    "StreamUnary": "stream_unary",
    "StreamStream": "stream_stream",
}


def _public(_: bytes, __: Any) -> bytes:
    try:
        return caller().client_id.encode()
    except LookupError:
        return b"nobody"


class Threads:
    """Handlers that run in a thread each."""

    Public = staticmethod(_public)

    def UnaryUnary(self, request: bytes, context: Any) -> bytes:  # noqa: N802 - as in a .proto
        return caller().client_id.encode()

    def UnaryStream(self, request: bytes, context: Any) -> Iterator[bytes]:  # noqa: N802
        for _ in range(2):
            yield caller().client_id.encode()

    def StreamUnary(self, requests: Iterator[bytes], context: Any) -> bytes:  # noqa: N802
        return b"".join(requests) and caller().client_id.encode()

    def StreamStream(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:  # noqa: N802
        for _ in requests:
            yield caller().client_id.encode()


class Coroutines:
    """Handlers of asyncio."""

    Public = staticmethod(_public)

    async def UnaryUnary(self, request: bytes, context: Any) -> bytes:  # noqa: N802
        await asyncio.sleep(0)
        return caller().client_id.encode()

    async def UnaryStream(self, request: bytes, context: Any) -> None:  # noqa: N802
        for _ in range(2):
            await context.write(caller().client_id.encode())

    async def StreamUnary(self, requests: AsyncIterator[bytes], context: Any) -> bytes:  # noqa: N802
        return b"".join([request async for request in requests]) and caller().client_id.encode()

    async def StreamStream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:  # noqa: N802
        async for _ in requests:
            yield caller().client_id.encode()


PARSED = list[bytes]()  # messages


def parse(message: bytes) -> bytes:
    """Deserialize a message, as generated code does."""
    PARSED.append(message)
    if message == b"no message":
        raise ValueError("not parsed")
    return message


def register(server: Any, handlers: Any) -> None:
    """Add the methods, as generated code does; those of shop.Other as older code did."""
    found = {"Public": grpc.unary_unary_rpc_method_handler(handlers.Public)}
    for name, kind in KINDS.items():
        found[name] = getattr(grpc, f"{kind}_rpc_method_handler")(getattr(handlers, name), parse, bytes)
    other = {"List": found["Public"], "Taken": found["UnaryUnary"]}
    services = {"shop.Orders": found, "shop.Other": other}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(*service) for service in services.items()])
    server.add_registered_method_handlers("shop.Orders", found)


def _bind(server: Any, credentials: Any) -> int:
    if credentials is None:
        return int(server.add_insecure_port("127.0.0.1:0"))
    return int(server.add_secure_port("127.0.0.1:0", credentials))


@asynccontextmanager
async def threads(guard: Guard, credentials: Any = None) -> AsyncIterator[int]:
    """A server with one thread, so that all calls share it."""
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool, interceptors=[guard.grpc(NEEDS)])
        register(server, Threads())
        port = _bind(server, credentials)
        server.start()
        try:
            yield port
        finally:
            await asyncio.to_thread(server.stop(None).wait)


def _aio(handlers: Any) -> Callable[..., Any]:
    @asynccontextmanager
    async def serving(guard: Guard, credentials: Any = None) -> AsyncIterator[int]:
        pool = ThreadPoolExecutor(4)  # for handlers that are no coroutines
        server = grpc.aio.server(pool, interceptors=[guard.grpc_aio(NEEDS)])
        register(server, handlers)
        port = _bind(server, credentials)
        await server.start()
        try:
            yield port
        finally:
            await server.stop(None)
            await asyncio.to_thread(pool.shutdown)  # its threads report to this event loop

    return serving


SERVERS = {"threads": threads, "aio": _aio(Coroutines()), "aio-threads": _aio(Threads())}


async def messages() -> AsyncIterator[bytes]:
    yield b"x"
    yield b"y"


async def call(
    channel: Any,
    name: str,
    *,
    token: bytes | None = None,
    metadata: Any = (),
    service: str = "Orders",
    message: bytes = b"x",
    is_silent: bool = False,
) -> Any:
    """Call a method, and return its answer or all of them. A silent caller sends no message of a stream."""
    given = [*metadata, *([("authorization", token.decode())] if token is not None else [])]
    kind = KINDS.get(name, "unary_unary")
    requests = None if is_silent else messages()
    request = requests if kind.startswith("stream") else message
    calling = getattr(channel, kind)(f"/shop.{service}/{name}")(request, metadata=given)
    return [answer async for answer in calling] if kind.endswith("stream") else await calling
