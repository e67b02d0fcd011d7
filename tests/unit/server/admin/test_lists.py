"""A stream that cannot be finished is noticed by who reads it, over a real connection too."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
import uvicorn
from tests.admin import make_gate, member

from affiant.cli.connection.admin import LINES, Admin
from affiant.errors import RemoteError, StoreError
from affiant.storage.memory import MemoryStore


class FailingStore(MemoryStore):
    """Its list of clients breaks off after one page."""

    def __init__(self) -> None:
        super().__init__()
        self.pages = 0
        tables: Any = self.tables
        self._rows, tables.rows = tables.rows, self._fail

    async def _fail(self, step: Any) -> Any:
        self.pages += 1
        if self.pages > 1:
            raise StoreError("the disk is gone")
        return await self._rows(step)


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """Where a server listens whose list of three clients breaks off after two."""
    monkeypatch.setattr("affiant.server.admin.lists.PAGE", 2)
    store = FailingStore()
    for number in range(3):
        await store.clients.add(member(f"c{number}"))
    server = uvicorn.Server(uvicorn.Config(make_gate(store), lifespan="off", log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = asyncio.create_task(server.serve(sockets=[listening]))
        yield listening.getsockname()[1]
        server.should_exit = True
        await running


async def read(port: int, seen: bytearray) -> None:
    url = f"http://127.0.0.1:{port}/admin/api/clients"
    async with httpx2.AsyncClient() as http, http.stream("GET", url, headers=LINES) as answer:
        assert answer.status_code == 200
        async for piece in answer.aiter_bytes():
            seen.extend(piece)


async def test_connection_is_cut(port: int) -> None:
    seen = bytearray()
    with pytest.raises(httpx2.RemoteProtocolError):
        await read(port, seen)
    assert seen.count(b"\n") == 2


async def test_half_a_line_is_no_end() -> None:
    async def send(*given: Any) -> tuple[int, bytes, str]:
        take: Callable[[bytes], object] = given[-1]
        for piece in (b'{"a":', b'1}\n{"a"', b":2}\n", b'{"a":'):
            take(piece)
        return 200, b"", ""

    lines: list[bytes] = []
    with pytest.raises(RemoteError, match="in the middle"):
        await Admin(send, "https://as.example").lines("/clients", lines.append)
    assert lines == [b'{"a":1}', b'{"a":2}']
