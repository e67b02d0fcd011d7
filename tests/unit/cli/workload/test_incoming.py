"""Connections of programs to the proxy: who sends no request in time has none."""

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from affiant.cli.workload import incoming


async def _answer(_: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "HEADERS_SECONDS", 0.3)


async def _talk(*parts: bytes, pause: float = 0.0) -> bytes:
    """Send these parts with pauses between them, and return all that comes until the connection is closed."""
    config, state = uvicorn.Config(_answer, lifespan="off", log_level="critical", access_log=False), ServerState()
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: incoming.Incoming(config, state, {}), "127.0.0.1", 0)
    async with server, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause)
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()


@pytest.mark.attack
@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n"])
async def test_connection_without_a_request_is_closed(data: bytes) -> None:
    assert await _talk(data) == b""


async def test_body_may_take_longer() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\n"
    assert (await _talk(head, b"x", pause=0.5)).startswith(b"HTTP/1.1 204")


@pytest.mark.attack
async def test_second_request_must_come_in_time_too() -> None:
    first = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    assert (await _talk(first, b"GET /", pause=0.1)).count(b"HTTP/1.1") == 1
