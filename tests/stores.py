"""What tests of the stores share: entries, the records of a log, and processes that race on one store."""

import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import msgspec

from affiant.storage.entries import AuditRecord, Entry, JtiClaim, RefreshToken
from affiant.storage.history.audit_chain import Verification, walk
from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Store
from affiant.storage.postgres import PostgresStore
from affiant.storage.sqlite import SqliteStore

NOW = 1_800_000_000
REFRESH = RefreshToken(
    digest=b"r1",
    family="f",
    client_id="c",
    scope=("s",),
    resource="https://a",
    issued_at=NOW,
    idle_expires_at=NOW + 1000,
    expires_at=NOW + 1500,
    key_thumbprint="t",
)
Opened = TypeVar("Opened", bound=Store)


def claim(number: int, until: int = NOW + 60, client_id: str = "c") -> JtiClaim:
    return JtiClaim(client_id, number.to_bytes(32, "big"), until)


def entry(number: int, *, trace_id: str | None = None, until: int = 1, detail: str | None = None) -> Entry:
    """An entry that claims jti number `number`; its trace id is the number, too."""
    audit = AuditRecord(at=0.0, trace_id=trace_id or str(number), endpoint="token", outcome="issued", detail=detail)
    return Entry(audit, claim=claim(number, until))


async def records(store: Store) -> list[dict[str, Any]]:
    """All records of the log, after a check of its chain."""
    verification = Verification(b"")
    found = []
    async for row in walk(store.audit_log):
        verification.feed(row)
        found.append(msgspec.json.decode(row.record, type=dict[str, Any]))
    verification.finish((await store.audit_log.head()).given)
    return found


@asynccontextmanager
async def opened(store: Opened) -> AsyncIterator[Opened]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def nodes(make_store: Callable[..., Store], count: int = 2) -> AsyncIterator[list[Store]]:
    """Several nodes on one store. A store in memory is one node, named several times."""
    async with AsyncExitStack() as stack:
        made = [make_store() for _ in range(1 if make_store is MemoryStore else count)]
        for store in made:
            await stack.enter_async_context(opened(store))
        yield (made * count)[:count]


def at(place: str) -> SqliteStore | PostgresStore:
    """The store in this file, or at this URL."""
    return PostgresStore(place) if "://" in place else SqliteStore(Path(place))


async def run(place: str, statement: str, *values: Any) -> Any:
    """Run a statement on the database of a store, past the store; its first value."""
    if "://" in place:
        connection = await asyncpg.connect(place)
        try:
            return await connection.fetchval(statement, *values)
        finally:
            await connection.close()
    with closing(sqlite3.connect(place)) as file, file:
        row = file.execute(statement.replace("$", "?"), values).fetchone()
    return row[0] if row else None


def start(program: str, *words: str) -> subprocess.Popen[str]:
    """A Python process that has printed `ready`, and waits for a line."""
    command = [sys.executable, "-c", program, *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def race(racers: Mapping[str, subprocess.Popen[str]]) -> dict[str, list[str]]:
    """Let them all go at once; the lines that each printed."""
    go(*racers.values())
    lines = {name: racer.communicate(timeout=60)[0].splitlines() for name, racer in racers.items()}
    assert [racer.returncode for racer in racers.values()] == [0] * len(racers)
    return lines
