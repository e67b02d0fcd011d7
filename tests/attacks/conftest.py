"""The bench in memory, and on a file; neither may open a connection."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.attacks.bench import FILE, Bench, running
from tests.attacks.callers import hire
from tests.process import Server

from affiant.storage.memory import MemoryStore
from affiant.storage.sqlite import SqliteStore


@pytest.fixture
async def bench(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with running(MemoryStore(), caplog, monkeypatch) as made:
        yield made


@pytest.fixture
async def durable(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Bench]:
    """On the file affiant.db in tmp_path."""
    async with running(SqliteStore(tmp_path / FILE), caplog, monkeypatch) as made:
        yield made


@pytest.fixture
async def staffed(bench: Bench) -> Bench:
    """With a client of each role of the admin API."""
    await hire(bench)
    return bench


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in a process of its own, for what only a socket can send."""
    with Server(tmp_path_factory.mktemp("server")) as server:
        server.add_api()
        yield server
