"""What SQLite promises to processes: that share the file, that open it at once, and that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from affiant.storage.records import GENESIS, AuditRecord, Client, Entry, JtiClaim, Outcome, chain
from affiant.storage.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

_PRELUDE = """
import asyncio, sys
from pathlib import Path
from affiant.storage.records import AuditRecord, Entry, JtiClaim, Outcome
from affiant.storage.sqlite import SqliteStore

store = SqliteStore(Path(sys.argv[1]))

def entry(n):
    audit = AuditRecord(at=0.0, trace_id=f"{sys.argv[2]}-{n}", endpoint="token", outcome="issued", jti_digest=str(n))
    return Entry(audit, claim=JtiClaim("c", n.to_bytes(32, "big"), 1))

async def claim(n):
    outcome = await store.ledger.claim(entry(n))
    print(n, outcome.name, flush=True)
    return outcome

print("ready", flush=True)
sys.stdin.readline()
"""

_CLAIM_200 = """
async def main():
    await store.open()
    await asyncio.gather(*map(claim, range(200)))
    await store.close()
asyncio.run(main())
"""

_CLAIM_FOR_EVER = """
async def main():
    await store.open()
    for start in range(0, 10**9, 20):
        await asyncio.gather(*map(claim, range(start, start + 20)))
asyncio.run(main())
"""


def _start(program: str, path: Path, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _PRELUDE + program, str(path), name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


@asynccontextmanager
async def _opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def _assert_chained(store: SqliteStore) -> list[dict[str, object]]:
    link = GENESIS
    rows = await store.audit_log.export(limit=100_000)
    for row in rows:
        link = chain(link, row.record)
        assert link == row.link
    return [msgspec.json.decode(row.record, type=dict[str, object]) for row in rows]


async def test_processes_race_from_the_very_first_opening(tmp_path: Path) -> None:
    """Four make the file at once and contest 200 jtis: each is won once, and the record names its winner."""
    path = tmp_path / "new" / "race.db"
    racers = {name: _start(_CLAIM_200, path, name) for name in "abcd"}
    for racer in racers.values():
        _go(racer)
    said = {name: racer.communicate(timeout=60)[0].split("\n")[:-1] for name, racer in racers.items()}
    assert [racer.returncode for racer in racers.values()] == [0] * 4
    won = {f"{name}-{line.split()[0]}" for name, lines in said.items() for line in lines if line.endswith("FIRST")}
    assert {winner.split("-")[1] for winner in won} == {str(n) for n in range(200)}
    assert len(won) == 200
    async with _opened(path) as store:
        records = await _assert_chained(store)
    assert len(records) == 800
    assert {record["trace_id"] for record in records if record["outcome"] == "issued"} == won


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """Whatever the dead process said it had claimed is a replay for the next one, and is in the audit log."""
    path = tmp_path / "killed.db"
    child = _start(_CLAIM_FOR_EVER, path, "child")
    _go(child)
    assert child.stdout is not None
    said = [child.stdout.readline() for _ in range(300)]
    os.kill(child.pid, signal.SIGKILL)
    said += child.communicate(timeout=10)[0].splitlines(keepends=True)
    claimed = [int(line.split()[0]) for line in said if line.endswith(" FIRST\n")]
    assert len(claimed) >= 300
    async with _opened(path) as store:
        recorded = {record["trace_id"] for record in await _assert_chained(store)}
        assert {f"child-{n}" for n in claimed} <= recorded
        for n in claimed:
            audit = AuditRecord(at=0.0, trace_id="again", endpoint="token", outcome="issued")
            entry = Entry(audit, claim=JtiClaim("c", n.to_bytes(32, "big"), 1))
            assert await store.ledger.claim(entry) is Outcome.REPLAYED
        await _assert_chained(store)


async def test_a_change_is_seen_by_the_other_store(tmp_path: Path) -> None:
    """Nodes that cache clients compare the version, whoever changed it."""
    path = tmp_path / "shared.db"
    async with _opened(path) as one, _opened(path) as other:
        before = await one.version()
        await other.clients.add(Client("c", "private_key_jwt"))
        added = await one.version()
        assert added != before
        assert await one.clients.find("c") is not None
        await other.clients.update("c", lambda client: replace(client, enabled=False))
        assert await one.version() not in (before, added)


async def test_stores_take_turns_in_one_chain(tmp_path: Path) -> None:
    """The last link is read anew in each transaction: the other may have written since."""
    path = tmp_path / "turns.db"
    async with _opened(path) as one, _opened(path) as other:
        for n in range(20):
            audit = AuditRecord(at=0.0, trace_id=str(n), endpoint="token", outcome="issued")
            await (one, other)[n % 2].ledger.claim(Entry(audit))
        records = await _assert_chained(one)
    assert [record["trace_id"] for record in records] == [str(n) for n in range(20)]
