"""What a token costs as things grow: with the jtis that live, and with the clients that are registered.

Storage alone, no HTTP and no signatures; SQLite with synchronous=FULL, in groups of as many claims as wait at once
in a busy server. Beside each figure, what one fsync of 4 KB costs on the same disk in the same run.

Usage: python -m bench.growth [FOLDER]
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from affiant.jose import keys
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry.clients import build as build_client
from affiant.storage.entries import AuditRecord, Entry, JtiClaim
from affiant.storage.records import Client
from affiant.storage.sqlite import SqliteStore

GROUP, ROUNDS, NOW = 32, 200, 1_800_000_000
LIVE = (0, 10_000, 100_000, 1_000_000)
CLIENTS = (10, 1_000, 100_000)
MASTER_KEY = MasterKey.from_bytes(bytes(32))


def fsync(folder: Path) -> float:
    """Seconds that a write of 4 KB and its fsync take, the median."""
    times = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            times.append(time.perf_counter() - begun)
    return statistics.median(times)


def entry() -> Entry:
    """What a token of an ordinary client writes."""
    digest = sha256(secrets.token_bytes(16)).digest()
    record = AuditRecord(
        at=NOW + 0.25,
        trace_id=digest.hex()[:12],
        endpoint="token",
        outcome="issued",
        client_id="billing",
        method="private_key_jwt",
        alg="ES256",
        kid="JSWN_ffxhxCSQIONXNV9v8cjxUsNlzmdwIRcpZfBTyU",
        thumbprint="JSWN_ffxhxCSQIONXNV9v8cjxUsNlzmdwIRcpZfBTyU",
        jti_digest=digest.hex(),
        grant="client_credentials",
        scope="orders.read",
        resource="https://orders.example",
        address="192.0.2.17",
        milliseconds=0.731,
    )
    return Entry(record, claim=JtiClaim("billing", digest, NOW + 120))


async def claims(path: Path, live: int, size: int) -> float:
    """Seconds for a group of so many claims, the median, beside so many live rows."""
    store = SqliteStore(path, audit_key=bytes(32))
    await store.open()
    try:
        with closing(sqlite3.connect(path)) as connection, connection:
            rows = ((f"client{n % 1000}", secrets.token_bytes(32), NOW + n % 120) for n in range(live))
            connection.executemany("INSERT INTO jti VALUES (?, ?, ?)", rows)
        times = []
        for _ in range(ROUNDS):
            group = [entry() for _ in range(size)]
            begun = time.perf_counter()
            await asyncio.gather(*map(store.ledger.claim, group))
            times.append(time.perf_counter() - begun)
        return statistics.median(times)
    finally:
        await store.close()


def row_bytes(path: Path) -> tuple[float, float]:
    """Bytes of a live jti and of an audit record, each with its share of the indexes."""
    with closing(sqlite3.connect(path)) as connection:
        found = []
        for table in ("jti", "audit"):
            pages = "SELECT sum(pgsize) FROM dbstat WHERE name = ? OR name LIKE ? || '_by_%'"
            (size,) = connection.execute(pages, (table, table)).fetchone()
            (rows,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            found.append(size / rows)
    return found[0], found[1]


async def clients(path: Path, number: int) -> float:
    """Seconds to look a client up that is not in memory, the median."""
    store = SqliteStore(path)
    await store.open()
    try:
        made = build_client(
            Client("client", "private_key_jwt", scope=("orders.read",)),
            master_key=MASTER_KEY,
            now=NOW,
            keys=(keys.generate("ES256").public(),),
        )
        for start in range(0, number, 250):
            names = (f"client{n}" for n in range(start, min(start + 250, number)))
            await asyncio.gather(*(store.clients.add(replace(made.client, client_id=name)) for name in names))
        times = []
        for _ in range(2000):
            name = f"client{secrets.randbelow(number)}"
            begun = time.perf_counter()
            await store.clients.find(name)
            times.append(time.perf_counter() - begun)
    finally:
        await store.close()
    return statistics.median(times)


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        folder = Path(name)
        print(f"fsync of 4 KB                     {fsync(folder) * 1e6:8.0f} us")
        alone = asyncio.run(claims(folder / "one.db", 0, 1))
        print(f"a claim alone                     {alone * 1e6:8.0f} us")
        for live in LIVE:
            path = folder / f"live{live}.db"
            group = asyncio.run(claims(path, live, GROUP))
            each = (group - alone) / (GROUP - 1)
            print(f"a claim in a group, {live:>9} live {each * 1e6:8.0f} us")
        jti, audit = row_bytes(path)
        print(f"a live jti                        {jti:8.0f} bytes")
        print(f"an audit record                   {audit:8.0f} bytes")
        for number in CLIENTS:
            path = folder / f"clients{number}.db"
            found = asyncio.run(clients(path, number))
            print(f"a client looked up, of {number:>9}  {found * 1e6:8.0f} us")
        print(f"a client                          {path.stat().st_size / number:8.0f} bytes")


if __name__ == "__main__":
    main()
