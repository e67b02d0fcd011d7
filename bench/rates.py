"""Rates of requests, each with the CPU it takes and the signatures that no server could do without."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass

from bench import generator
from bench.counts.roads import ROADS, SIGN, SIGNATURES, VERIFY, Road, StillLoop
from bench.generator import SERVER_CORE, TOKEN
from bench.processes import Processes
from bench.subjects import Subject

from affiant.jose import compact, keys

Prepare = Callable[[int], Iterable[bytes]]
Row = dict[str, float | int | str]


@dataclass(frozen=True)
class Effort:
    """How long and how often to measure."""

    seconds: float
    rounds: int
    connections: Sequence[int]


FULL = Effort(4.0, 5, (1, 16, 64, 256))
QUICK = Effort(0.5, 2, (1, 64))


def primitives(*work: tuple[str, str], seconds: float = 0.2) -> float:
    """Return CPU microseconds of these on the server's core, each ("sign" or "verify", algorithm).

    What cryptography takes through affiant's own functions; nothing is parsed, nothing is stored.
    """
    with on(SERVER_CORE):
        return sum(_primitive(what, alg, seconds) for what, alg in work) * 1e6


@contextmanager
def on(core: int) -> Iterator[None]:
    """Run on this core, and so what is started from here."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _primitive(what: str, alg: str, seconds: float) -> float:
    key: keys.PrivateKey | keys.SecretKey = (
        keys.SecretKey(bytes(32), alg) if alg.startswith("HS") else keys.generate(alg)
    )
    read = compact.parse(compact.sign({}, {"sub": "x" * 200}, key))
    verifier = key if isinstance(key, keys.SecretKey) else key.public()
    times, begun = 0, time.process_time()
    while (used := time.process_time() - begun) < seconds:
        for _ in range(20):
            if what == "sign":
                key.sign(read.signing_input)
            else:
                verifier.verify(alg, read.signing_input, read.signature)
        times += 20
    return used / times


def library(effort: Effort) -> Iterator[Row]:
    """The roads that `make counts` counts, in this process: no HTTP, no socket, one after the other."""
    needs = {SIGN: ("sign", "ES256"), VERIFY: ("verify", "ES256")}
    for what, road in ROADS.items():
        alone = primitives(*(needs[part] for part in SIGNATURES.get(what, ())))
        with on(SERVER_CORE), asyncio.Runner(loop_factory=StillLoop) as runner:
            used = runner.run(_time(road, int(500 * effort.seconds))) * 1e6
        yield {
            "what": what,
            "cpu_us": round(used, 1),
            "signatures_us": round(alone, 1),
            "ratio": round(alone / used, 3),
        }


async def _time(road: Road, times: int) -> float:
    async with road(times + times // 5) as once:
        for _ in range(times // 5):
            await once()
        begun = time.process_time()
        for _ in range(times):
            await once()
        return (time.process_time() - begun) / times


def measure(
    port: int,
    processes: Processes,
    prepare: Prepare,
    *,
    connections: int,
    seconds: float,
    expect: str = TOKEN,
    rate: float = 0.0,
    at_least: int = 500,
    database: Processes | None = None,
) -> Row:
    """Send requests for about so many seconds; return what the generator and the CPU of the server and database say."""
    probe = generator.send(port, prepare(max(200, 4 * connections)), connections=connections, expect=expect)
    count = max(at_least, int(min(rate or probe.rate, probe.rate) * seconds))
    warm_up = count // 5
    requests = list(prepare(warm_up + count))
    watched = {"cpu_us": processes, **({"database_us": database} if database else {})}
    used = {name: each.cpu() for name, each in watched.items()}
    load = generator.send(port, requests, connections=connections, warm_up=warm_up, rate=rate, expect=expect)
    per_request = {name: (each.cpu() - used[name]) / (warm_up + count) for name, each in watched.items()}
    return {**asdict(load), **{name: round(seconds * 1e6, 1) for name, seconds in per_request.items()}}


def interleave(
    subjects: Sequence[tuple[Subject, Processes, Prepare]],
    *,
    connections: int,
    effort: Effort,
    database: Processes | None = None,
) -> list[Row]:
    """Measure each in turn, in alternating order; each row has the median, and its ratio to the first one.

    Each ratio is of two runs next to each other in time: what else the machine does bends both.
    """
    runs: dict[str, list[Row]] = {subject.name: [] for subject, _, _ in subjects}
    for number in range(effort.rounds):
        for subject, processes, prepare in subjects if number % 2 == 0 else subjects[::-1]:
            run = measure(
                subject.port, processes, prepare, connections=connections, seconds=effort.seconds, database=database
            )
            runs[subject.name].append(run)
    first = runs[subjects[0][0].name]
    rows = []
    for name, found in runs.items():
        row: Row = {"what": name}
        row |= {key: round(statistics.median(float(run[key]) for run in found), 3) for key in found[0]}
        row["connections"] = connections
        for key, mine in (("rate", "times_as_fast"), ("cpu_us", "times_the_cpu")):
            ratios = [float(one[key]) / float(other[key]) for one, other in zip(first, found, strict=True)]
            row[mine] = round(statistics.median(ratios), 3)
            row[f"{mine}_range"] = f"{min(ratios):.2f}-{max(ratios):.2f}"
        rows.append(row)
    return rows


def serve_all(stack: ExitStack, subjects: Iterable[Subject]) -> dict[str, Processes]:
    """Start them all on the server's core; those that wait for requests cost nothing."""
    return {subject.name: stack.enter_context(subject.serving()) for subject in subjects}
