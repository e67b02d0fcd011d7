"""Report the state of the workers to systemd (sd_notify(3)), and events to the log."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
import time
from collections.abc import Sequence

from affiant.cli.workload.supervision import notify
from affiant.system.text import printable, timestamp

_MICROSECONDS = 1_000_000
_STANDARD_ERROR = 2
_MOST_LINES = 100  # that wait for an output which takes none
CLOSE_SECONDS = 1.0  # for what is left at the end


class Reports:
    """Reports each change once, and notifies the watchdog within its period."""

    def __init__(self) -> None:
        self._period = _watchdog_seconds()
        self._status = ""
        self._was_ready = False
        self._is_said = False  # since the start or the last reload
        self._was_heard = False
        self._fed_at = float("-inf")
        self._output = Output()
        self.logs_json: bool = False

    @property
    def patience(self) -> float:
        """Seconds after which a hung worker is replaced: before the watchdog ends all of them."""
        return self._period / 2

    def hear(self) -> None:
        """Note that a worker has checked whether it could issue a token."""
        self._was_heard = True

    def report(self, workers: Sequence[list[str] | None], *, is_reloading: bool) -> None:
        """Report the state, when it has changed, and feed the watchdog."""
        why = next((found[0] for found in workers if found), None)
        ready = sum(found == [] for found in workers)
        self._feed()
        if is_reloading:
            return
        # An unreachable store is no reason to end: once the server was ready, only the status says so.
        self._was_ready = self._was_ready or ready == len(workers)
        status = f"{ready} of {len(workers)} workers issue tokens" + (f"; {why}" if why else "")
        lines = ["READY=1"] if self._was_ready and not self._is_said else []
        self._is_said = self._was_ready
        if lines or status != self._status:
            self._status = status
            notify(*lines, f"STATUS={status}")

    def _feed(self) -> None:
        now = time.monotonic()
        if self._was_heard and now - self._fed_at >= self._period / 2:
            self._was_heard, self._fed_at = False, now
            notify("WATCHDOG=1")

    def reloading(self) -> None:
        self._is_said = False
        clock = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        notify("RELOADING=1", f"MONOTONIC_USEC={clock}", "STATUS=new workers start")

    def stopping(self) -> None:
        notify("STOPPING=1", "STATUS=requests under way are answered")

    def say(self, text: str) -> None:
        """Write a line of the log in the form of the workers (server/request/audit/lines)."""
        line = f"affiant: {printable(text)}\n"
        if self.logs_json:
            at = timestamp(time.time())
            members = {"ts": at, "level": "warning", "logger": __name__, "message": text, "pid": os.getpid()}
            line = json.dumps(members) + "\n"
        self._output.put(line.encode())

    def close(self) -> None:
        """Write what is left."""
        self._output.close()


class Output:
    """Standard error, on a thread of its own: a pipe without a reader stops the lines, and nothing else."""

    def __init__(self, file: int = _STANDARD_ERROR) -> None:
        self._file = file
        self._lines: queue.Queue[bytes | None] = queue.Queue(_MOST_LINES)
        self._thread = threading.Thread(target=self._run, name="affiant-reports", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Take a line, unless too many wait; it never blocks."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(line)

    def close(self) -> None:
        """Write what is left, within CLOSE_SECONDS."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
            self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            with contextlib.suppress(OSError):
                os.write(self._file, line)  # in one piece: the workers write there, too


def _watchdog_seconds() -> float:
    """Return the period of systemd's watchdog (sd_watchdog_enabled(3)), infinity without one."""
    period, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID") or str(os.getpid())
    if not (period.isascii() and period.isdigit()) or pid != str(os.getpid()):
        return float("inf")
    return int(period) / _MICROSECONDS or float("inf")
