"""The size of a store is estimated without reading all of it."""

import random
import sqlite3
from pathlib import Path

import pytest

from affiant.storage.history import sizes
from affiant.storage.sqlite import SqliteStore

NOW = 1_800_000_000


@pytest.mark.parametrize("longest", [60, 300, 3600])
async def test_claims_are_estimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longest: int) -> None:
    """Assertions of a minute and a few of an hour, at a steady rate: within 10 %."""
    chance = random.Random(7)
    store = SqliteStore(tmp_path / "affiant.db")
    await store.open()
    try:
        ends = [NOW + int(chance.random() * chance.choice((60, 60, longest))) for _ in range(60_000)]
        rows = [("c", number.to_bytes(8), end) for number, end in enumerate([*ends, NOW + 80_000])]
        with sqlite3.connect(tmp_path / "affiant.db") as connection:
            connection.executemany("INSERT INTO jti VALUES (?, ?, ?)", rows)
        connection.close()
        assert (await store.sizes()).claims == pytest.approx(len(rows), rel=0.1)
        monkeypatch.setattr(sizes, "EXACT", 100_000)
        found = await store.sizes()
        assert (found.claims, found.newest) == (len(rows), 0)
        assert found.stored_bytes > 1_000_000
    finally:
        await store.close()
