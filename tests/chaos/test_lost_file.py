"""D6: the database is unlinked, moved away, replaced or cut off while the server runs, and before it starts."""

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.chaos.history import ISSUED, UNAVAILABLE
from tests.chaos.load import Crowd
from tests.chaos.node import Node
from tests.process import READY_SECONDS

NOTICED = 5  # seconds
PAGE = 4096


def _unlink(node: Node) -> None:
    node.file.unlink()


def _unlink_folder(node: Node) -> None:
    shutil.rmtree(node.data)


def _replace(node: Node) -> None:
    """What `cp backup affiant.db.new && mv affiant.db.new affiant.db` does, by an operator in a hurry."""
    copy = node.file.with_name("copy.db")
    shutil.copy(node.file, copy)
    copy.replace(node.file)


async def _stops_issuing(node: Node, crowd: Crowd, harm: Callable[[Node], None]) -> None:
    _ = node.master_key
    await node.boot()
    async with crowd.running(4):
        await crowd.answered(20)
        harm(node)
        await crowd.refused(1, seconds=NOTICED)
        noticed_by = time.monotonic() + 3  # the purge, which writes each second, notices too
        while await node.ready() != 503:
            assert time.monotonic() < noticed_by
            await asyncio.sleep(0.05)
        noticed = time.monotonic()
        await crowd.refused(20, seconds=5)
    late = [event for event in crowd.history.of(ISSUED) if event.start > noticed]
    assert not late, "issued, and recorded in a file without a name"


@pytest.mark.parametrize(
    "harm",
    [
        _unlink,
        pytest.param(_unlink_folder, marks=pytest.mark.soak),
        pytest.param(_replace, marks=pytest.mark.soak),
    ],
)
async def test_vanished_database_is_noticed(node: Node, harm: Callable[[Node], None]) -> None:
    """Nothing is issued that would not be there after a restart."""
    await _stops_issuing(node, node.crowd(), harm)


def _cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def _settle(path: Path) -> None:
    """Bring all of the write-ahead log into the file."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.mark.parametrize("pages", [0, 1, 3])
async def test_truncated_database_is_refused_at_start(node: Node, pages: int) -> None:
    """A named error, whatever is left of the file; 0: all of it but 100 bytes is gone."""
    _settle(node.file)
    _cut(node.file, pages * PAGE or 100)
    node.launch()
    assert node.child is not None
    assert node.child.process.wait(10) in (7, 8)
    assert "Traceback" not in node.child.err
    assert "database" in node.child.err, node.child.err


async def test_database_without_its_last_page_is_refused_at_start(node: Node) -> None:
    """The smallest cut, of 4 KB, in a database that has been used: no token from what is not whole."""
    crowd = node.crowd()
    await node.boot()
    async with crowd.running(8):
        await crowd.answered(200)
    node.stop()
    _settle(node.file)
    _cut(node.file, node.file.stat().st_size - PAGE)
    node.launch()
    assert node.child is not None
    await crowd.until(node.is_ended, seconds=READY_SECONDS)
    assert node.child.process.wait(1) in (7, 8)


async def test_database_cut_under_load_answers_as_promised(node: Node) -> None:
    """What is lost is lost; but every answer is a well-formed one in time, and the process lives."""
    crowd = node.crowd()
    await node.boot()
    async with crowd.running(8):
        await crowd.answered(200)
        _settle(node.file)
        _cut(node.file, 5 * PAGE)
        begun, seen = time.monotonic(), len(crowd.history.events)
        await crowd.until(lambda: len(crowd.history.events) > seen + 200 or time.monotonic() > begun + 3)
        assert await node.get("/health/live") == 200
    assert not node.is_ended()
    assert {event.outcome for event in crowd.history.events[seen:]} <= {ISSUED, UNAVAILABLE}
    assert max(event.end - event.start for event in crowd.history.events) < 6
    print(f"after the cut: 503 for {crowd.history.count(UNAVAILABLE)} of {len(crowd.history.events) - seen}")
