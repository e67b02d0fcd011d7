"""The console of one node, visited in this process: its ASGI application on a store in memory."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from tests.admin import ISSUER, NOW, make_context
from tests.console import signed_in

from affiant.server.admin.calls import AdminContext
from affiant.server.console import app
from affiant.server.console.app import Console
from affiant.storage.entries import AuditRecord, Entry
from affiant.storage.memory import MemoryStore


@dataclass
class Desk:
    """A visitor of the console, and the store behind it."""

    store: MemoryStore
    console: Console
    http: httpx2.AsyncClient
    csrf: str
    cookie: str
    context: AdminContext

    async def see(self, path: str, *, status: int = 200) -> str:
        """Return a page."""
        answer = await self.http.get(f"/console{path}")
        assert answer.status_code == status, answer.text
        return answer.text

    async def post(self, path: str, **form: str) -> httpx2.Response:
        """Send a form of the console as its page would."""
        headers = {"Origin": ISSUER, "Sec-Fetch-Site": "same-origin"}
        return await self.http.post(f"/console{path}", data={"csrf": self.csrf, **form}, headers=headers)

    async def record(self, trace_id: str, outcome: Any = "issued", **members: Any) -> None:
        """Add a record to the audit log."""
        given: dict[str, Any] = {"at": NOW, "endpoint": "token", "milliseconds": 1.5} | members
        await self.store.ledger.claim(Entry(AuditRecord(trace_id=trace_id, outcome=outcome, **given)))


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    store = MemoryStore()
    await store.open()
    context = make_context(store)
    console = app.build(context, clock=lambda: float(NOW))
    cookies, csrf = await signed_in(context)
    transport = httpx2.ASGITransport(app=console)
    async with httpx2.AsyncClient(transport=transport, base_url=ISSUER, cookies=cookies) as http:
        yield Desk(store, console, http, csrf, "=".join(*cookies.items()), context)
    await store.close()
