"""An open store of each make, for every test of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from affiant.storage.memory import MemoryStore
from affiant.storage.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from affiant.storage.ports import Store


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An open store of each make."""
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "test.db")
    await made.open()
    yield made
    await made.close()
