"""A form that arrives slowly is given up, at every path of the console."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.admin import ISSUER
from tests.unit.server.console.visits import BASE, text, visit

from affiant.server.request.deadline import Deadline
from affiant.storage.memory import MemoryStore


async def _endless() -> AsyncIterator[bytes]:
    yield b"csrf="
    await asyncio.Event().wait()


@pytest.mark.parametrize("path", ["/sign-in", "/actions/client.disable", "/debugger", "/no/such/page"])
async def test_slow_form(path: str) -> None:
    ann = visit(MemoryStore())
    ann.console._deadline = Deadline(0.05)
    headers = {"origin": ISSUER, "content-type": "application/x-www-form-urlencoded"}
    async with asyncio.timeout(10):
        page = await ann.http.post(f"{BASE}{path}", content=_endless(), headers=headers)
    assert page.status_code == 408, text(page)
    assert "request.too_slow" in text(page)
