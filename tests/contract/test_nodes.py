"""What a store that lasts promises to several processes, and to several nodes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import pytest

from affiant.storage.audit_chain import Verification, walk
from affiant.storage.entries import AuditRecord, Entry, JtiClaim, Outcome
from affiant.storage.ports import Store
from affiant.storage.postgres import PostgresStore
from affiant.storage.records import Client
from affiant.storage.sqlite import SqliteStore

Make = Callable[[], Store]

pytestmark = pytest.mark.anyio

_PRELUDE = """
import asyncio, sys
from pathlib import Path
from affiant.storage.postgres import PostgresStore
from affiant.storage.entries import AuditRecord, Entry, JtiClaim, Outcome
from affiant.storage.sqlite import SqliteStore

where, name = sys.argv[1:]
store = PostgresStore(where) if "://" in where else SqliteStore(Path(where))

def entry(n):
    audit = AuditRecord(at=0.0, trace_id=f"{name}-{n}", endpoint="token", outcome="issued", jti_digest=str(n))
    return Entry(audit, claim=JtiClaim("c", n.to_bytes(32, "big"), 1))

async def claim(n):
    outcome = await store.ledger.claim(entry(n))
    print(n, outcome.name, flush=True)
"""

_EACH = """
async def main():
    await store.open()
    print("ready", flush=True)
    sys.stdin.readline()
    await asyncio.gather(*map(claim, range(200)))
    await store.close()
asyncio.run(main())
"""

# 50 connections, each of which sends every one of its assertions once; the other node gets the very same.
_RACE = """
async def connection(first):
    for n in range(first, 2000, 50):
        await claim(n)

async def main():
    await store.open()
    print("ready", flush=True)
    sys.stdin.readline()
    await asyncio.gather(*map(connection, range(50)))
    await store.close()
asyncio.run(main())
"""

_FOR_EVER = """
async def main():
    await store.open()
    print("ready", flush=True)
    sys.stdin.readline()
    for start in range(0, 10**9, 20):
        await asyncio.gather(*map(claim, range(start, start + 20)))
asyncio.run(main())
"""


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where several may open the same store."""
    if request.param == "sqlite":
        return str(tmp_path / "nodes.db")
    url: str = request.getfixturevalue("tables")
    return url


@pytest.fixture
def make(place: str, tmp_path: Path) -> Make:
    """Make a store on that place."""
    return partial(PostgresStore, place) if "://" in place else partial(SqliteStore, tmp_path / "nodes.db")


@asynccontextmanager
async def _opened(make: Make) -> AsyncIterator[Store]:
    store = make()
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def _start(program: str, place: str, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _PRELUDE + program, place, name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


async def _records(store: Store) -> list[dict[str, object]]:
    """All of them, their chain checked."""
    verification = Verification(b"")
    records = []
    async for row in walk(store.audit_log):
        verification.feed(row)
        records.append(msgspec.json.decode(row.record, type=dict[str, object]))
    verification.finish((await store.audit_log.head()).given)
    return records


@pytest.mark.parametrize(("program", "size"), [(_EACH, 200), (_RACE, 2000)], ids=["200 at once", "50 connections"])
async def test_two_processes_race(place: str, make: Make, program: str, size: int) -> None:
    """Both contest every jti: each is won once, all is written down, and the record names the winner."""
    async with _opened(make):
        racers = {name: _start(program, place, name) for name in "ab"}
        for racer in racers.values():
            _go(racer)
        said = {name: racer.communicate(timeout=60)[0].splitlines() for name, racer in racers.items()}
        assert [racer.returncode for racer in racers.values()] == [0, 0]
    won = [f"{name}-{line.split()[0]}" for name, lines in said.items() for line in lines if line.endswith("FIRST")]
    assert len(won) == len({winner.split("-")[1] for winner in won}) == size
    async with _opened(make) as store:
        records = await _records(store)
    assert Counter(record["outcome"] for record in records) == {"issued": size, "refused": size}
    assert {record["trace_id"] for record in records if record["outcome"] == "issued"} == set(won)


async def test_what_was_acknowledged_survives_kill_9(place: str, make: Make) -> None:
    """Whatever the dead node said it had claimed is a replay for the other, and is in the audit log."""
    async with _opened(make) as store:
        child = _start(_FOR_EVER, place, "child")
        _go(child)
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(300)]
        os.kill(child.pid, signal.SIGKILL)
        said += child.communicate(timeout=10)[0].splitlines(keepends=True)
        claimed = [int(line.split()[0]) for line in said if line.endswith(" FIRST\n")]
        assert len(claimed) >= 300
        for n in claimed:
            audit = AuditRecord(at=0.0, trace_id="again", endpoint="token", outcome="issued")
            entry = Entry(audit, claim=JtiClaim("c", n.to_bytes(32, "big"), 1))
            assert await store.ledger.claim(entry) is Outcome.REPLAYED
        assert {f"child-{n}" for n in claimed} <= {record["trace_id"] for record in await _records(store)}


async def test_a_change_is_seen_by_every_node_within_a_second(make: Make) -> None:
    async with AsyncExitStack() as stack:
        one, other, third = [await stack.enter_async_context(_opened(make)) for _ in range(3)]
        for change in (
            lambda: one.clients.add(Client("c", "private_key_jwt")),
            lambda: other.clients.update("c", lambda client: replace(client, enabled=False)),
            lambda: third.settings.put("issuer", "https://as.example"),
            lambda: one.clients.remove("c"),
        ):
            before = [await store.version() for store in (one, other, third)]
            await change()
            begun = time.monotonic()
            for store, old in zip((one, other, third), before, strict=True):
                while await store.version() == old:
                    assert time.monotonic() - begun < 1
                    await asyncio.sleep(0.01)


async def test_nodes_take_turns_in_one_chain(make: Make) -> None:
    """The last link is read anew in each transaction: the other may have written since."""
    async with _opened(make) as one, _opened(make) as other:
        for n in range(20):
            audit = AuditRecord(at=0.0, trace_id=str(n), endpoint="token", outcome="issued")
            await (one, other)[n % 2].ledger.claim(Entry(audit))
        records = await _records(one)
    assert [record["trace_id"] for record in records] == [str(n) for n in range(20)]
