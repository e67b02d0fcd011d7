"""What anybody may read, where the store is away."""

from pathlib import Path

import pytest

from affiant.storage.sqlite import SqliteStore
from affiant.testing import Server


@pytest.mark.parametrize("path", ["/.well-known/oauth-authorization-server", "/jwks"])
async def test_a_store_that_is_away_is_no_fault_of_the_reader(tmp_path: Path, path: str) -> None:
    async with Server.in_process(store=SqliteStore(tmp_path / "affiant.db")) as server:
        assert (await server.http.get(path)).status_code == 200
        await server.store.close()
        away = await server.http.get(path)
        assert (away.status_code, away.json()["error"]) == (503, "temporarily_unavailable")
        assert away.headers["access-control-allow-origin"] == "*"
        assert (away.headers["retry-after"], away.headers["cache-control"]) == ("1", "no-store")
        await server.store.open()
        assert (await server.http.get(path)).status_code == 200
