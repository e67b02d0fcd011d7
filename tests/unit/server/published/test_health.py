"""Live, and ready: what an orchestrator and a balancer ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from affiant.server import app
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import directory
from affiant.server.request import background
from affiant.storage.sqlite import SqliteStore

pytestmark = pytest.mark.anyio
ISSUER = "https://as.example/tenant"


@pytest.fixture
async def served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[httpx2.AsyncClient, SqliteStore]]:
    monkeypatch.setattr(directory, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(background, "PURGE_SECONDS", 0.01)
    store = SqliteStore(tmp_path / "a.db")
    built = app.build(issuer=ISSUER, store=store, master_key=MasterKey.from_bytes(bytes(32)))
    transport = httpx2.ASGITransport(app=built)
    async with built.router.lifespan_context(built), httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
        yield http, store


async def test_well(served: tuple[httpx2.AsyncClient, SqliteStore]) -> None:
    http, _ = served
    for path in ("/health", "/health/ready", "/health/live"):
        reply = await http.get(path)
        assert (reply.status_code, reply.json(), reply.headers["cache-control"]) == (200, {"status": "ok"}, "no-store")


async def test_without_its_store(served: tuple[httpx2.AsyncClient, SqliteStore]) -> None:
    """Not ready, and why; but alive, so that nobody starts it anew for that. Ready again when the store is back."""
    http, store = served
    await store.close()
    reply = await http.get("/health/ready")
    assert reply.status_code == 503
    assert "not open" in reply.json()["why"][-1]
    assert (await http.get("/health/live")).status_code == 200
    await store.open()
    for _ in range(200):
        if (await http.get("/health/ready")).status_code == 200:
            return
        await _turn()
    pytest.fail("still not ready")


async def _turn() -> None:
    import asyncio

    await asyncio.sleep(0.01)


async def test_what_cannot_be_written_is_told(served: tuple[httpx2.AsyncClient, SqliteStore]) -> None:
    """The purge writes each second; while it cannot, tokens could not be recorded either."""
    http, store = served
    store._writer()._connection.execute("PRAGMA query_only=ON")
    reply = await http.get("/health/ready")
    for _ in range(300):
        if reply.status_code == 503:
            break
        await _turn()
        reply = await http.get("/health/ready")
    assert reply.json()["why"][0].startswith("store: the database did not commit")
    store._writer()._connection.execute("PRAGMA query_only=OFF")
    for _ in range(300):
        if (await http.get("/health/ready")).status_code == 200:
            return
        await _turn()
    pytest.fail("still not ready")
