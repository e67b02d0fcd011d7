"""Parts that compare servers side by side: another build, peers, stores, workers, many clients; and parts of one.

The servers of a comparison run at the same time and are measured in turn: a ratio is the median of ratios of runs next
to each other, which what else the machine does bends less than the rates themselves.
"""

from __future__ import annotations

import sqlite3
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import msgspec
from bench import installed, rates
from bench.generator import GENERATOR_CORE, SERVER_CORE
from bench.installed import CannotInstall
from bench.processes import Processes
from bench.rates import Effort, Row
from bench.subjects import KEY, SCOPE, Affiant, Subject
from tests import postgres

from affiant.jose import keys
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry.clients import build as build_client
from affiant.storage.records import Client
from affiant.storage.sqlite.store import FILE_NAME

SIDE_BY_SIDE = (1, 16, 64)


def against(folder: Path, effort: Effort, source: Path) -> Iterator[Row]:
    """This checkout and another one."""
    subjects = [Affiant(folder / "this").set_up(), Affiant(folder / "other", "other build", source=source).set_up()]
    yield from _by_assertion(subjects, effort)


def peers(folder: Path, effort: Effort, source: Path | None) -> Iterator[Row]:
    """Servers by others: by assertion, and by secret for the one that knows no assertions."""
    ours = Affiant(folder / "ours").set_up()
    builds = [ours, *([Affiant(folder / "other", "other build", source=source).set_up()] if source else [])]
    by_assertion = (installed.oidc_provider, installed.oidc_provider_normal, installed.authlib)
    yield from _by_assertion([*builds, *_installed(folder, *by_assertion)], effort)
    others = list(_installed(folder, installed.django_oauth_toolkit))
    with ExitStack() as stack:
        running = rates.serve_all(stack, [ours, *others])
        measured = [(subject, running[subject.name], subject.by_secret) for subject in (ours, *others)]
        for row in rates.interleave(measured, connections=64, effort=effort):
            yield {**row, "what": f"{row['what']}, by secret"}


def _installed(folder: Path, *makers: Callable[[Path], Subject]) -> Iterator[Subject]:
    for make in makers:
        try:
            yield make(folder / make.__name__)
        except CannotInstall as error:
            print(f"NOT MEASURED: {make.__name__} cannot be installed: {error}", file=sys.stderr)


def _by_assertion(subjects: Sequence[Subject], effort: Effort) -> Iterator[Row]:
    with ExitStack() as stack:
        running = rates.serve_all(stack, subjects)
        measured = [(subject, running[subject.name], subject.by_assertion) for subject in subjects]
        for connections in SIDE_BY_SIDE:
            yield from rates.interleave(measured, connections=connections, effort=effort)


@contextmanager
def database() -> Iterator[tuple[str, Processes]]:
    """A PostgreSQL on the generator's core: a database has a machine of its own, and its CPU is reported apart."""
    with rates.on(GENERATOR_CORE):
        server = postgres.make()
    if server is None or server.folder is None:
        raise SystemExit(postgres.MISSING)
    try:
        leader = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
        yield server.create(), Processes(leader)
    finally:
        postgres.remove(server)


def stores(folder: Path, effort: Effort) -> Iterator[Row]:
    """PostgreSQL and SQLite."""
    with database() as (url, engine), ExitStack() as stack:
        subjects = [Affiant(folder / "pg", "PostgreSQL", database=url).set_up(), Affiant(folder / "sqlite", "SQLite")]
        subjects[1].set_up()
        running = rates.serve_all(stack, subjects)
        measured = [(subject, running[subject.name], subject.by_assertion) for subject in subjects]
        for connections in effort.connections:
            yield from rates.interleave(measured, connections=connections, effort=effort, database=engine)


def workers(folder: Path, effort: Effort) -> Iterator[Row]:
    """Two workers on two cores, one of which the generator uses too, and one worker on one."""
    two, one = (
        Affiant(folder / "two", "two workers", workers=2).set_up(),
        Affiant(folder / "one", "one worker").set_up(),
    )
    with ExitStack() as stack:
        running = {
            "two": stack.enter_context(two.serving(SERVER_CORE, GENERATOR_CORE)),
            "one": stack.enter_context(one.serving()),
        }
        measured = [(two, running["two"], two.by_assertion), (one, running["one"], one.by_assertion)]
        yield from rates.interleave(measured, connections=64, effort=effort)


def clients(folder: Path, effort: Effort, number: int, active: int) -> Iterator[Row]:
    """Many active clients of very many, each with a key of its own, and ten."""
    many, few = (
        Affiant(folder / "many", f"{active:,} active of {number:,}").set_up(),
        Affiant(folder / "few", "one client"),
    )
    few.set_up()
    signers = _fill(many, number, active)
    with ExitStack() as stack:
        running = rates.serve_all(stack, [many, few])

        def spread(count: int) -> Iterator[bytes]:
            for _ in range(count):
                name = next(turn)
                yield from many.by_assertion(1, name, signers[name])

        turn = _forever(list(signers))
        # Each active client once, before anything is measured: what a server keeps of clients, it has then.
        rates.measure(many.port, running[many.name], spread, connections=64, seconds=0, at_least=active)
        measured = [(many, running[many.name], spread), (few, running[few.name], few.by_assertion)]
        yield from rates.interleave(measured, connections=64, effort=effort)
        for server in (many, few):
            yield {"what": server.name, **running[server.name].memory()}


def _forever(names: list[str]) -> Iterator[str]:
    while True:
        yield from names


def _fill(server: Affiant, number: int, active: int) -> dict[str, keys.PrivateKey]:
    """Register clients in the database itself; return the keys of those that are active."""
    signers = {f"client-{n * (number // active):08}": keys.generate("ES256") for n in range(active)}

    def record(name: str, key: keys.PrivateKey) -> bytes:
        wanted = Client(name, "private_key_jwt", scope=(SCOPE,))
        made = build_client(wanted, keys=(key.public(),), master_key=MasterKey.from_bytes(bytes(32)), now=0)
        return msgspec.json.encode(made.client)

    idle = record("client-00000000", KEY)

    def rows() -> Iterator[tuple[str, bytes]]:
        for n in range(number):
            name = f"client-{n:08}"
            key = signers.get(name)
            yield name, record(name, key) if key else idle.replace(b"client-00000000", name.encode())

    with closing(sqlite3.connect(server.folder / "affiant-data" / FILE_NAME)) as connection, connection:
        connection.executemany("INSERT INTO client (client_id, record) VALUES (?, ?)", rows())
    return signers


def latency(server: Affiant, processes: Processes, effort: Effort) -> Iterator[Row]:
    """Latency at half of the rate that 64 connections reach: requests come at fixed times, whatever was answered."""
    most = rates.measure(server.port, processes, server.by_assertion, connections=64, seconds=effort.seconds)
    half = float(most["rate"]) / 2
    for _ in range(effort.rounds):
        row = rates.measure(
            server.port, processes, server.by_assertion, connections=64, seconds=effort.seconds, rate=half
        )
        yield {"what": "half load", **row, "p99_of_p50": round(float(row["p99"]) / float(row["p50"]), 2)}


def memory(server: Affiant, processes: Processes, effort: Effort) -> Iterator[Row]:
    """Memory of one worker after load."""
    rates.measure(server.port, processes, server.by_assertion, connections=256, seconds=2 * effort.seconds)
    yield {"what": "one worker after load", "connections": 256, **processes.memory()}


def start(server: Affiant, effort: Effort) -> Iterator[Row]:
    """CPU of `affiant serve`, on an existing database, until it answers."""
    used = []
    for _ in range(effort.rounds):
        with server.serving() as processes:
            used.append(processes.cpu())
    yield {"what": "affiant serve", "cpu_s": round(statistics.median(used), 3), "most_s": round(max(used), 3)}
