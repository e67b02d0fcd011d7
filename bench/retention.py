"""Archive a log of many records from SQLite or PostgreSQL, and show how fast, and how long commits take beside it.

python -m bench.retention 1000000
python -m bench.retention 1000000 --load 200     so many commits a second at the same time, as a server has them
python -m bench.retention 1000000 --database postgresql://...   an empty database
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from affiant.server.keys import signing_keys
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import Vault
from affiant.server.request.audit.archiving.folder import Folder
from affiant.server.request.audit.retention import Archived, Parts, Retention
from affiant.storage.entries import GENESIS, AuditRecord, AuditRow, Entry, JtiClaim, chain
from affiant.storage.history.audit_chain import Verification, walk
from affiant.storage.ports import Store
from affiant.storage.postgres import PostgresStore
from affiant.storage.sqlite import SqliteStore
from affiant.system.identifiers import new_trace_id

KEY = MasterKey.from_bytes(b"m" * 32)
NOW = 1_800_000_000
_CHUNK = 20_000
Result = TypeVar("Result")


def record(number: int) -> AuditRecord:
    """A record as a token of a usual client leaves it."""
    return AuditRecord(
        at=NOW - 10_000_000 + number / 1000,
        trace_id=new_trace_id(),
        endpoint="token",
        outcome="issued",
        client_claimed="billing",
        client_id="billing",
        method="private_key_jwt",
        alg="ES256",
        kid="U8JCtEuxwkgNQrqY4F_lA9HjSHMWZol-X5qRVuLVXsI",
        thumbprint="U8JCtEuxwkgNQrqY4F_lA9HjSHMWZol-X5qRVuLVXsI",
        jti_digest=f"{number:064x}",
        grant="client_credentials",
        scope="orders.read",
        resource="https://orders.example",
        address="10.0.0.5",
        token=new_trace_id(),
        milliseconds=1.234,
    )


async def fill(place: str, count: int) -> None:
    """Write so many records past the server, chained as it would."""
    link = GENESIS
    for first in range(1, count + 1, _CHUNK):
        rows = []
        for number in range(first, min(first + _CHUNK, count + 1)):
            made = record(number)
            text = made.to_json()
            link = chain(link, text, KEY.audit)
            rows.append(AuditRow(number, made.trace_id, text, link))
        await _insert(place, rows, link)


async def _insert(place: str, rows: list[AuditRow], link: bytes) -> None:
    if "://" in place:
        connection = await asyncpg.connect(place)
        await connection.copy_records_to_table("audit", records=rows, columns=["number", "trace_id", "record", "link"])
        await connection.execute("UPDATE audit_head SET number = $1, link = $2", rows[-1].number, link)
        await connection.close()
        return
    with closing(sqlite3.connect(place)) as file, file:
        file.execute("PRAGMA synchronous=OFF")
        file.executemany("INSERT INTO audit (number, trace_id, record, link) VALUES (?, ?, ?, ?)", rows)


class Load:
    """Commits so many entries a second, and keeps how long each took."""

    def __init__(self, store: Store, rate: int) -> None:
        self._store, self._rate = store, rate
        self.took: list[float] = []

    async def run(self) -> None:
        """Go on until cancelled."""
        number, began = 0, time.perf_counter()
        async with asyncio.TaskGroup() as group:
            while True:
                number += 1
                await asyncio.sleep(max(0.0, began + number / self._rate - time.perf_counter()))
                group.create_task(self._commit(number))

    async def _commit(self, number: int) -> None:
        entry = Entry(record(10_000_000_000), claim=JtiClaim("billing", number.to_bytes(32, "big"), NOW + 60))
        began = time.perf_counter()
        await self._store.ledger.claim(entry)
        self.took.append(time.perf_counter() - began)

    async def during(self, work: Coroutine[Any, Any, Result]) -> tuple[Result, list[float]]:
        """Run with some work beside it; return its result, and how long the commits took, sorted."""
        self.took = []
        task = asyncio.create_task(self.run()) if self._rate else None
        result = await work
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return result, sorted(self.took)


def _shown(took: list[float]) -> str:
    at = [took[int(len(took) * share)] * 1000 for share in (0.5, 0.99, 0.999)] if took else [0.0] * 3
    return f"{len(took):,} commits, p50 {at[0]:.1f} ms, p99 {at[1]:.1f} ms, p99.9 {at[2]:.1f} ms"


class Bench:
    """A store, and where its archives are."""

    def __init__(self, folder: Path, database: str | None) -> None:
        self.file = None if database else folder / "affiant.db"
        self.place = database or str(self.file)
        self._archives = folder / "archive"
        self.store: Any = (
            SqliteStore(self.file, audit_key=KEY.audit)
            if self.file is not None
            else PostgresStore(self.place, audit_key=KEY.audit)
        )

    def size(self) -> str:
        """How large the database's file is."""
        return f"{self.file.stat().st_size / 1e6:,.0f} MB" if self.file is not None else "not measured"

    async def archive(self, rest: float) -> list[Archived]:
        """Archive all records."""
        vault, folder = Vault(KEY), Folder(self._archives, is_own=True)
        await signing_keys.ensure(self.store, vault, now=NOW)
        parts = Parts("https://as.example", self.store, KEY, vault, folder, lambda: float(NOW))
        return [one async for one in Retention(parts, rest=rest).archive(NOW - 1000)]

    async def verify(self) -> None:
        """Verify what is left of the log."""
        verification = Verification(KEY.audit, base=await self.store.audit_log.base())
        async for row in walk(self.store.audit_log):
            verification.feed(row)
        verification.finish((await self.store.audit_log.head()).given)


async def main(count: int, load: int, database: str | None) -> None:
    """Fill, archive, verify."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), database)
        await bench.store.open()
        began = time.perf_counter()
        await fill(bench.place, count)
        print(f"filled       {count:,} records in {time.perf_counter() - began:.0f} s")
        print(f"database     {bench.size()}", flush=True)
        commits = Load(bench.store, load)
        if load:
            print(f"before       {_shown((await commits.during(asyncio.sleep(10)))[1])}", flush=True)
        began = time.perf_counter()
        files, took = await commits.during(bench.archive(3.0 if load else 0.0))
        seconds = time.perf_counter() - began
        size = sum(one.path.stat().st_size for one in files) / 1e6
        print(f"archived     {len(files)} files, {size:,.0f} MB, in {seconds:.0f} s: {count / seconds:,.0f} a second")
        if load:
            print(f"during       {_shown(took)}")
        await bench.verify()
        print(f"database     {bench.size()}")
        await bench.store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int)
    parser.add_argument("--load", type=int, default=0)
    parser.add_argument("--database")
    chosen = parser.parse_args()
    asyncio.run(main(chosen.count, chosen.load, chosen.database))
