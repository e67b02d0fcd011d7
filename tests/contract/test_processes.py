"""What SQLite promises to processes that make the file at once; for what follows see test_nodes.py."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from affiant.storage.entries import GENESIS, chain
from affiant.storage.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

_PRELUDE = """
import asyncio, sys
from pathlib import Path
from affiant.storage.entries import AuditRecord, Entry, JtiClaim, Outcome
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
