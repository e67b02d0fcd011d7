"""`make bench`: rates, CPU and memory of affiant, next to peers and to the signatures alone; tables, and one JSON file.

docs/explanation/performance.md says what each part measures. The load generator is load.c; the server has one core and
the generator another. Runs on Linux, with two cores, a C compiler and taskset.

Usage: python -m bench [PART...] [--quick] [--against CHECKOUT] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import comparisons, endpoints, generator, rates, service
from bench.guards import speed
from bench.processes import Processes
from bench.rates import Effort, Row
from bench.subjects import Affiant

COLUMNS = (
    "connections", "rate", "p50", "p90", "p99", "max", "cpu_us", "signatures_us", "ratio", "times_as_fast",
    "times_the_cpu", "times_bare", "times_check", "database_us", "p99_of_p50", "generator",
    "rss", "pss", "cpu_s", "most_s",
)  # fmt: skip


@contextmanager
def _one(folder: Path) -> Iterator[tuple[Affiant, Processes]]:
    server = Affiant(folder).set_up()
    with server.serving() as processes:
        yield server, processes


def _tokens(folder: Path, effort: Effort, _: argparse.Namespace) -> Iterator[Row]:
    server = Affiant(folder / "server").set_up()
    found = endpoints.ways(server)
    with server.serving() as processes:
        yield from endpoints.tokens(server, processes, effort, found)


def _endpoints(folder: Path, effort: Effort, _: argparse.Namespace) -> Iterator[Row]:
    server = Affiant(folder / "server").set_up()
    endpoints.register_for_endpoints(server)
    with server.serving() as processes:
        yield from endpoints.endpoints(server, processes, effort, folder)


def _against(folder: Path, effort: Effort, arguments: argparse.Namespace) -> Iterator[Row]:
    yield from comparisons.against(folder, effort, arguments.against)


def _peers(folder: Path, effort: Effort, arguments: argparse.Namespace) -> Iterator[Row]:
    yield from comparisons.peers(folder, effort, arguments.against)


def _stores(folder: Path, effort: Effort, _: argparse.Namespace) -> Iterator[Row]:
    yield from comparisons.stores(folder, effort)


def _workers(folder: Path, effort: Effort, _: argparse.Namespace) -> Iterator[Row]:
    yield from comparisons.workers(folder, effort)


def _latency(folder: Path, effort: Effort, _: argparse.Namespace) -> Iterator[Row]:
    with _one(folder / "server") as (server, processes):
        yield from comparisons.latency(server, processes, effort)


def _clients(folder: Path, effort: Effort, arguments: argparse.Namespace) -> Iterator[Row]:
    number, active = (100_000, 5_000) if arguments.quick else (1_000_000, 50_000)
    yield from comparisons.clients(folder, effort, number, active)


def _start(folder: Path, effort: Effort, _: argparse.Namespace) -> Iterator[Row]:
    yield from comparisons.start(Affiant(folder / "server").set_up(), effort)


def _library(_folder: Path, effort: Effort, _: argparse.Namespace) -> Iterator[Row]:
    yield from rates.library(effort)


def _guards(_folder: Path, effort: Effort, _: argparse.Namespace) -> Iterator[Row]:
    with rates.on(rates.SERVER_CORE):
        yield from speed.measure(rounds=3 * effort.rounds)


def _service(folder: Path, effort: Effort, _: argparse.Namespace) -> Iterator[Row]:
    yield from service.measure(folder, effort)


def _memory(folder: Path, effort: Effort, _: argparse.Namespace) -> Iterator[Row]:
    with _one(folder / "server") as (server, processes):
        yield from comparisons.memory(server, processes, effort)


PARTS: dict[str, Callable[[Path, Effort, argparse.Namespace], Iterable[Row]]] = {
    "tokens": _tokens,
    "endpoints": _endpoints,
    "against": _against,
    "peers": _peers,
    "stores": _stores,
    "workers": _workers,
    "latency": _latency,
    "clients": _clients,
    "start": _start,
    "memory": _memory,
    "library": _library,
    "guards": _guards,
    "service": _service,
}


def _print(rows: Iterable[Row]) -> list[Row]:
    """Print each row as it comes, under a heading where its columns are others than those before."""
    kept, before = list[Row](), tuple[str, ...]()
    for row in rows:
        columns = tuple(column for column in COLUMNS if column in row)
        widths = [20 if f"{column}_range" in row else max(9, len(column) + 2) for column in columns]
        if columns != before:
            print(f"{'':34}" + "".join(f"{column:>{width}}" for column, width in zip(columns, widths, strict=True)))
            before = columns
        cells = (f"{_cell(row, column):>{width}}" for column, width in zip(columns, widths, strict=True))
        print(f"{row['what']:34}" + "".join(cells), flush=True)
        kept.append(row)
    return kept


def _cell(row: Row, column: str) -> str:
    spread = row.get(f"{column}_range")
    return f"{row[column]}" if spread is None else f"{row[column]:.2f} ({spread})"


def _machine() -> dict[str, str | int | None]:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "processor": models[0].partition(": ")[2] if models else platform.machine(),
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "system": platform.platform(),
    }


def main() -> None:
    """Measure the parts that were named, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure affiant next to others.")
    parser.add_argument("part", nargs="*", help=f"one or more of {', '.join(PARTS)}; all when left out")
    parser.add_argument("--quick", action="store_true", help="minutes instead of half an hour, and figures to match")
    parser.add_argument("--against", type=Path, help="another checkout of affiant, measured in turn with this one")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="where all rows go (bench.json)")
    arguments = parser.parse_args()
    named = arguments.part or [part for part in PARTS if part != "against" or arguments.against]
    if unknown := set(named) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}: choose from {', '.join(PARTS)}")
    if "against" in named and arguments.against is None:
        parser.error("the part against needs --against CHECKOUT")
    if shutil.which("taskset") is None or len(os.sched_getaffinity(0)) < 2:
        parser.error("taskset and two cores are needed: one for the server, another for the load generator")
    generator.program()
    found: dict[str, object] = {"machine": _machine()}
    for part in named:
        print(f"\n{part}" if part != "against" else f"\nagainst {arguments.against}")
        with tempfile.TemporaryDirectory(prefix="affiant-bench-") as folder:
            effort = rates.QUICK if arguments.quick else rates.FULL
            found[part] = _print(PARTS[part](Path(folder), effort, arguments))
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    print(f"\nAll of it: {arguments.json}")


if __name__ == "__main__":
    main()
