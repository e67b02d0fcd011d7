"""What anybody may read, where the store is away."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from affiant.server import app
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import directory
from affiant.storage.sqlite import SqliteStore

pytestmark = pytest.mark.anyio
ISSUER = "https://as.example"


@pytest.mark.parametrize("path", ["/.well-known/oauth-authorization-server", "/jwks"])
async def test_a_store_that_is_away_is_no_fault_of_the_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(directory, "FRESH_SECONDS", 0.0)
    store = SqliteStore(tmp_path / "affiant.db")
    built = app.build(issuer=ISSUER, store=store, master_key=MasterKey.from_bytes(bytes(32)))
    async with (
        built.router.lifespan_context(built),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=built), base_url=ISSUER) as http,
    ):
        assert (await http.get(path)).status_code == 200
        await store.close()
        away = await http.get(path)
        assert (away.status_code, away.json()["error"]) == (503, "temporarily_unavailable")
        assert away.headers["access-control-allow-origin"] == "*"
        assert (away.headers["retry-after"], away.headers["cache-control"]) == ("1", "no-store")
        await store.open()
        assert (await http.get(path)).status_code == 200
