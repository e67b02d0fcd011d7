"""Counts the work of the roads in this process; `python -m bench.counts` starts it, once for each counter.

What starting costs falls out: each road runs TIMES times and then twice as often, and the difference counts.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import itertools
import json
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from bench.counts.roads import ROADS, Road, StillLoop

WARM_UP, TIMES = 20, 25
MARK = "{road}|{times}"  # of a dump of callgrind


class Counter(Protocol):
    def begin(self) -> None: ...
    def end(self, road: str, times: int) -> None: ...


class Bytecodes:
    """Bytecodes, and calls of functions written in C, in all threads."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[int, tuple[int, int]]] = {}
        self._is_on = False
        # Their `next` is one step of the interpreter: two threads lose no count.
        self._bytecodes, self._calls = itertools.count(), itertools.count()
        threading.settrace(self._enter)
        threading.setprofile(self._call)
        sys.setprofile(self._call)
        sys.settrace(self._enter)

    def begin(self) -> None:
        self._bytecodes, self._calls = itertools.count(), itertools.count()
        self._is_on = True

    def end(self, road: str, times: int) -> None:
        self._is_on = False
        self.counts.setdefault(road, {})[times] = next(self._bytecodes), next(self._calls)

    def _enter(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _step(self, _frame: FrameType, event: str, _argument: Any) -> Any:
        if self._is_on and event == "opcode":
            next(self._bytecodes)
        return self._step

    def _call(self, _frame: FrameType, event: str, _argument: Any) -> None:
        if self._is_on and event == "c_call":
            next(self._calls)


class Instructions:
    """Machine instructions, which callgrind counts and dumps; `marks.c` tells it when."""

    def __init__(self, library: Path) -> None:
        self._marks = ctypes.CDLL(str(library))

    def begin(self) -> None:
        self._marks.begin()

    def end(self, road: str, times: int) -> None:
        self._marks.end(MARK.format(road=road, times=times).encode())


def stop_clocks() -> None:
    """Stop the clocks by which code decides what to do: a commit takes another way on a slow disk, or while counted."""
    time.monotonic = time.perf_counter = (0.0).conjugate  # a function in C, as they are, that returns 0.0


async def _count(name: str, road: Road, counter: Counter) -> None:
    async with road(WARM_UP + 3 * TIMES) as once:
        for _ in range(WARM_UP):
            await once()
        for times in (TIMES, 2 * TIMES):
            gc.collect()
            gc.disable()
            counter.begin()
            for _ in range(times):
                await once()
            counter.end(name, times)
            gc.enable()


def main() -> None:
    """Count the bytecodes and print them, or let callgrind count, with the library of marks.c."""
    stop_clocks()
    counter = Instructions(Path(sys.argv[1])) if len(sys.argv) > 1 else Bytecodes()
    for name, road in ROADS.items():
        with asyncio.Runner(loop_factory=StillLoop) as runner:
            runner.run(_count(name, road, counter))
    if isinstance(counter, Bytecodes):
        print(json.dumps(counter.counts))


if __name__ == "__main__":
    main()
