"""An open store of each make, for every test of the contract."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Store
from affiant.storage.postgres import PostgresStore
from affiant.storage.sqlite import SqliteStore


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --store, run each test once: in place of that on memory, or on PostgreSQL where there is none on memory."""
    if config.getoption("--store"):
        makes = {(item.path, getattr(item, "originalname", "")) for item in items if "[memory" in item.name}
        items[:] = [
            item
            for item in items
            if "[memory" in item.name
            or ("[postgres" in item.name and (item.path, getattr(item, "originalname", "")) not in makes)
        ]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Store]:
    """Make stores of one make: on the same database those that last, each on its own in memory."""
    if named := request.config.getoption("--store"):
        module, _, function = named.partition(":")
        return partial(getattr(import_module(module), function), tmp_path)
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
