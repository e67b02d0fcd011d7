"""Live, and ready: what an orchestrator and a balancer ask."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from affiant.server.request import background
from affiant.storage.sqlite import SqliteStore
from affiant.testing import Server


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "a.db")


@pytest.fixture
async def server(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setattr(background, "PURGE_SECONDS", 0.01)
    async with Server.in_process(issuer="https://as.example/tenant", store=store) as made:
        yield made


async def _until(server: Server, status: int) -> dict[str, Any]:
    """Ask whether it is ready, until this is the answer."""
    for _ in range(500):
        reply = await server.http.get("/health/ready")
        if reply.status_code == status:
            members: dict[str, Any] = reply.json()
            return members
        await asyncio.sleep(0.01)
    pytest.fail(f"it never answered {status}")


async def test_well(server: Server) -> None:
    for path in ("/health", "/health/ready", "/health/live"):
        reply = await server.http.get(path)
        assert (reply.status_code, reply.json(), reply.headers["cache-control"]) == (200, {"status": "ok"}, "no-store")


async def test_without_its_store(server: Server) -> None:
    """Not ready, and why; but alive, so that no orchestrator restarts it for that. Ready again when the store is back."""
    await server.store.close()
    reply = await server.http.get("/health/ready")
    assert reply.status_code == 503
    assert "not open" in reply.json()["why"][-1]
    assert (await server.http.get("/health/live")).status_code == 200
    await server.store.open()
    await _until(server, 200)


async def test_a_store_that_cannot_commit(server: Server, store: SqliteStore) -> None:
    """The purge writes each second; while it cannot, tokens could not be recorded either."""
    store._writer()._connection.execute("PRAGMA query_only=ON")
    why = (await _until(server, 503))["why"]
    assert why[0].startswith("store: the database did not commit")
    store._writer()._connection.execute("PRAGMA query_only=OFF")
    await _until(server, 200)
