"""How long the pages of the console take with a large store: 100,000 clients and 10 million audit records.

The store is filled below the server, with a chain that verifies; then `affiant serve` runs on it, and each page is
asked for by one connection. `first` is the first byte of the answer, in ms: the median and the worst of the tries;
`cpu` is the time that the server worked for one, and `load` the load average of the machine then.

Usage: python -m bench.pages [--clients N] [--records N] [--tries N] [--database postgresql://...] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
from tests.browser import world
from tests.browser.screens import SCREENS, at
from tests.process import ORDERS, Server, children

from affiant.jose import keys
from affiant.server.keys import master_key as master_key_file
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry.clients import build as build_client
from affiant.storage.entries import GENESIS, AuditRecord, chain
from affiant.storage.records import Client

# Beside every screen of the tests: searches and filters that find nothing, or little.
MORE = (
    "/?span=24h", "/?span=7d", "/clients?q=scope:orders.read+unused:90d", "/clients?q=client-5000",
    "/clients?q=team:payments", "/clients/client-50000?span=30d", "/clients/client-50000?tab=events&of=changes",
    "/clients/no-such-client", "/activity?client_id=client-50000", "/activity?reason=assertion.audience",
    "/activity?reason=assertion.replayed", "/activity?outcome=refused", "/events/absent", "/audit?by=cli",
    "/audit?client_id=client-50000", "/tokens?list=refresh", "/search?q=client-77777", "/search?q={trace}",
    "/search?q=absent-name", "/search?q=no-key-with-such-a-kid", "/account",
)  # fmt: skip
DAY, BATCH = 86_400, 10_000
_REASONS = ("assertion.audience", "assertion.expired", "key.unknown", "scope.not_granted", "client.unknown")


def records(number: int, clients: int, now: float) -> Iterator[AuditRecord]:
    """Yield decisions of the last 30 days, one in 20 refused."""
    step = 30 * DAY / number
    for place in range(number):
        name = f"client-{place * 7919 % clients:05}"
        trace_id = sha256(b"%d" % place).hexdigest()[:12]
        at = now - (number - place) * step
        if place % 20:
            yield AuditRecord(
                at=at, trace_id=trace_id, endpoint="token", outcome="issued", client_id=name, method="private_key_jwt",
                alg="ES256", kid="k1", grant="client_credentials", scope="orders.read", resource="https://orders.example",
                address="192.0.2.17", token=trace_id, milliseconds=0.7,
            )  # fmt: skip
        else:
            yield AuditRecord(
                at=at, trace_id=trace_id, endpoint="token", outcome="refused", client_claimed=name,
                reason=_REASONS[place // 20 % len(_REASONS)], address="192.0.2.17", expected="x", got="y",
            )  # fmt: skip


def rows(number: int, clients: int, key: bytes, now: float) -> Iterator[tuple[int, str, bytes, bytes]]:
    link = GENESIS
    for place, record in enumerate(records(number, clients, now), 1):
        text = record.to_json()
        link = chain(link, text, key)
        yield place, record.trace_id, text, link


def client_rows(number: int, master_key: MasterKey, now: int) -> Iterator[tuple[str, str | bytes]]:
    """Yield the rows of clients, all with one key: how many there are is what counts."""
    from affiant.storage.registry import CLIENTS  # noqa: PLC0415 - its encoding is no promise

    made = build_client(
        Client("client", "private_key_jwt", scope=("orders.read",)),
        master_key=master_key,
        now=now - 200 * DAY,
        keys=(keys.generate("ES256").public(),),
    ).client
    for place in range(number):
        name = f"client-{place:05}"
        yield name, CLIENTS.encode(replace(made, client_id=name))


def fill_sqlite(path: Path, arguments: argparse.Namespace, master_key: MasterKey) -> None:
    now = time.time()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -300000")  # 300 MB: pages of the index would be read again and again
        with connection:
            connection.execute("DELETE FROM audit")
            connection.execute("DELETE FROM counts")
            given = client_rows(arguments.clients, master_key, int(now))
            connection.executemany("INSERT INTO client (client_id, record) VALUES (?, ?)", given)
            audit = rows(arguments.records, arguments.clients, master_key.audit, now)
            connection.executemany("INSERT INTO audit VALUES (?, ?, ?, ?)", audit)
            connection.executemany("INSERT INTO counts VALUES (?, ?, ?, ?, ?, ?)", counts(arguments.clients, int(now)))
            connection.execute("UPDATE version SET number = number + 1")


async def fill_postgres(url: str, arguments: argparse.Namespace, master_key: MasterKey) -> None:
    now = time.time()
    connection: Any = await asyncpg.connect(url)
    try:
        await connection.execute("DELETE FROM audit")
        await connection.execute("DELETE FROM counts")
        given = client_rows(arguments.clients, master_key, int(now))
        await _copy(connection, "client", given, ("client_id", "record"))
        last: tuple[Any, ...] = ()
        audit = rows(arguments.records, arguments.clients, master_key.audit, now)
        for batch in _batched(audit):
            await connection.copy_records_to_table("audit", records=batch)
            last = batch[-1]
        await connection.execute("UPDATE audit_head SET number = $1, link = $2", last[0], last[3])
        await _copy(connection, "counts", counts(arguments.clients, int(now)), None)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


async def _copy(connection: Any, table: str, given: Iterable[Any], columns: tuple[str, ...] | None) -> None:
    for batch in _batched(given):
        await connection.copy_records_to_table(table, records=batch, columns=columns)


def _batched(given: Iterable[Any]) -> Iterator[list[Any]]:
    remaining = iter(given)
    while batch := list(itertools.islice(remaining, BATCH)):
        yield batch


def counts(clients: int, now: int) -> Iterator[tuple[str, str, str, int, str, int]]:
    """Yield what 30 days of every client leave: a day's counts of each, an hour's of one in ten."""
    today, hour = now // DAY * DAY, now // 3600 * 3600
    for place in range(clients):
        name = f"client-{place:05}"
        for day in range(0, 30, 3):
            yield name, "day", "issued", today - day * DAY, "", 10 + place % 90
        if place % 20 == 0:
            yield name, "day", "refused", today, "assertion.audience", 3
        if place % 10 == 0:
            yield name, "hour", "issued", hour, "", 5 + place % 400
    for minute in range(48 * 60):
        at = now // 60 * 60 - minute * 60
        yield "", "minute", "issued", at, "", 5000
        yield "", "minute", "refused", at, "assertion.audience", 40
        yield "", "minute", "latency", at, "2", 4900
    for place in range(31 * 24):
        yield "", "hour", "issued", hour - place * 3600, "", 300_000
        yield "", "hour", "refused", hour - place * 3600, "assertion.expired", 2_000


def sign_in(http: httpx2.Client, server: Server) -> None:
    """Use a one-time link, as the page of the sign-in does."""
    printed = server.affiant("console", "link", "bench", "--role", "owner")
    _, _, token = printed["url"].partition("#")
    base = f"http://localhost:{server.port}"
    http.get(f"{base}/console/sign-in")
    answer = http.post(f"{base}/console/sign-in", data={"token": token}, headers={"origin": base})
    assert answer.status_code in (200, 303), answer.text


def measure(http: httpx2.Client, url: str, tries: int) -> tuple[list[float], int, int]:
    """Return the seconds until the first byte of each try, the status, and the bytes of the page."""
    times, status, size = list[float](), 0, 0
    for _ in range(tries):
        begun = time.perf_counter()
        with http.stream("GET", url) as answer:
            times.append(time.perf_counter() - begun)
            size, status = len(answer.read()), answer.status_code
    return times, status, size


def main() -> None:
    """Fill, serve, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, default=100_000)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--tries", type=int, default=9)
    parser.add_argument("--database", help="URL of an empty PostgreSQL database; SQLite when left out")
    parser.add_argument("--folder", type=Path, help="of the data, filled if it is new; a temporary one when left out")
    parser.add_argument("--only", default="", help="measure the pages with this text in their paths")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if arguments.database:
            os.environ["AFFIANT_DATABASE"] = arguments.database  # of the server, and of the commands
        server = Server(folder)
        if not server.data.exists():
            fill(server, arguments)
        with server, httpx2.Client(timeout=60, follow_redirects=False) as http:
            sign_in(http, server)
            measure_all(http, server, arguments)


def fill(server: Server, arguments: argparse.Namespace) -> None:
    with server:
        server.add_api()
        world.build(server)
    begun, master_key = time.perf_counter(), master_key_file.load(server.data)
    if arguments.database:
        asyncio.run(fill_postgres(arguments.database, arguments, master_key))
    else:
        fill_sqlite(server.data / "affiant.db", arguments, master_key)
    taken = time.perf_counter() - begun
    print(f"filled with {arguments.clients:,} clients and {arguments.records:,} records in {taken:.0f} s", flush=True)


def measure_all(http: httpx2.Client, server: Server, arguments: argparse.Namespace) -> None:
    assert server.child is not None
    base, parent = f"http://localhost:{server.port}/console", server.child.process.pid
    process = next(iter(children(parent)), parent)
    trace = sha256(b"%d" % (arguments.records // 3 // 20 * 20)).hexdigest()[:12]
    names = {"client": "client-50000", "api": ORDERS, "trust": "github", "user": "bench", "trace": trace}
    paths = [at(screen, names) for screen in SCREENS] + [path.format(trace=trace) for path in MORE]
    print(f"{'page':60}{'status':>7}{'kB':>6}{'first ms':>10}{'worst':>8}{'cpu ms':>8}{'load':>6}")
    for path in paths:
        if arguments.only not in path:
            continue
        before = worked(process)
        times, status, size = measure(http, f"{base}{path}", arguments.tries)
        cpu = (worked(process) - before) / arguments.tries * 1000
        first = f"{statistics.median(times) * 1000:>10.1f}{max(times) * 1000:>8.1f}{cpu:>8.1f}"
        shown = path.replace(trace, "TRACE")
        print(f"{shown:60}{status:>7}{size // 1024:>6}{first}{os.getloadavg()[0]:>6.1f}", flush=True)


def worked(process: int) -> float:
    """Return the seconds that a process has worked (proc(5): utime and stime)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
