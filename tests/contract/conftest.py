"""An open store of each make, for every test of the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest

from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Store
from affiant.storage.postgres import PostgresStore
from affiant.storage.sqlite import SqliteStore


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Store]:
    """Make stores of one make: on the same database those that last, each on its own in memory."""
    if request.param == "memory":
        return MemoryStore
    if request.param == "sqlite":
        return partial(SqliteStore, tmp_path / "test.db")
    return partial(PostgresStore, request.getfixturevalue("tables"))


@pytest.fixture
async def store(make_store: Callable[..., Store]) -> AsyncIterator[Store]:
    """An open store of each make."""
    made = make_store()
    await made.open()
    yield made
    await made.close()
