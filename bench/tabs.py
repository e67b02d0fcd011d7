"""What ten open tabs of the live page cost `/token`: its rate and CPU with them and without, in turn.

Every tab is a stream of its own, read as it comes; each ratio is of two runs next to each other. `core_share` is the
share of a core that the tabs took, which on a core that is full is the share of its rate.

Usage: python -m bench.tabs [--seconds S] [--rounds N] [--tabs N] [--filter QUERY]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
from bench import rates
from bench.generator import GENERATOR_CORE
from bench.rates import Row
from bench.subjects import Affiant
from tests.console import enter

CONNECTIONS = 16


class Tabs:
    """Streams of the live page, read on a thread."""

    def __init__(self, server: Affiant, number: int, query: str) -> None:
        self._url = f"http://127.0.0.1:{server.port}/console/activity/stream?{query}"
        self._number = number
        self._server, self._cookies = server, dict[str, str]()
        self.rows, self.bytes, self.opened = 0, 0, 0

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Hold them open."""
        if not self._cookies:
            self._cookies = enter(
                f"http://127.0.0.1:{self._server.port}", self._server.run("console", "link", "ann")["data"]["url"]
            )
        loop = asyncio.new_event_loop()
        stop, ready = asyncio.Event(), threading.Event()

        async def read_all() -> None:
            limits = httpx2.Limits(max_connections=None)
            async with httpx2.AsyncClient(cookies=self._cookies, timeout=None, limits=limits) as http:
                reading = [asyncio.create_task(self._read(http, ready)) for _ in range(self._number)]
                await stop.wait()
                for task in reading:
                    task.cancel()
                await asyncio.gather(*reading, return_exceptions=True)

        thread = threading.Thread(target=lambda: loop.run_until_complete(read_all()))
        thread.start()
        try:
            assert ready.wait(20), "the tabs did not open"
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()

    async def _read(self, http: httpx2.AsyncClient, ready: threading.Event) -> None:
        async with http.stream("GET", self._url) as answer:
            assert answer.headers["content-type"] == "text/event-stream", answer.headers
            self.opened += 1
            if self.opened % self._number == 0:
                ready.set()
            async for piece in answer.aiter_bytes():
                self.bytes += len(piece)
                self.rows += piece.count(b"<tr ")


def measure(folder: Path, *, seconds: float, rounds: int, number: int, query: str) -> Iterator[Row]:
    server = Affiant(folder).set_up()
    tabs = Tabs(server, number, query)
    with server.serving() as processes, rates.on(GENERATOR_CORE):
        found: dict[bool, list[Row]] = {False: [], True: []}
        for turn in range(rounds):
            for is_open in (False, True) if turn % 2 == 0 else (True, False):
                with tabs.open() if is_open else contextlib.nullcontext():
                    run = rates.measure(
                        server.port, processes, server.by_assertion, connections=CONNECTIONS, seconds=seconds
                    )
                found[is_open].append(run)
        yield {"what": "no tab", **_medians(found[False])}
        pairs = list(zip(found[True], found[False], strict=True))
        yield {"what": f"{number} tabs", **_medians(found[True]), **_cost(pairs), "rows": tabs.rows}


def _medians(runs: list[Row]) -> Row:
    return {
        key: round(statistics.median(float(run[key]) for run in runs), 1) for key in ("rate", "p50", "p99", "cpu_us")
    }


def _cost(pairs: list[tuple[Row, Row]]) -> Row:
    """Return the ratios of runs with tabs to those without, and the share of a core that the tabs took."""
    row: Row = {}
    for key in ("rate", "cpu_us"):
        ratios = [float(with_tabs[key]) / float(without[key]) for with_tabs, without in pairs]
        row[f"times_{key}"] = round(statistics.median(ratios), 3)
        row[f"times_{key}_range"] = f"{min(ratios):.3f}-{max(ratios):.3f}"
    more = [(float(one["cpu_us"]) - float(other["cpu_us"])) * float(one["rate"]) / 1e6 for one, other in pairs]
    row["core_share"] = round(statistics.median(more), 4)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tabs", type=int, default=10)
    parser.add_argument("--filter", default="after=0")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for row in measure(
            Path(folder) / "server", seconds=given.seconds, rounds=given.rounds, number=given.tabs, query=given.filter
        ):
            print("  ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
