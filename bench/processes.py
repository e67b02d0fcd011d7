"""A server under test: its processes on one core, the CPU they use and the memory they have (proc(5))."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Processes:
    """A process and all that it started."""

    pid: int

    def _each(self) -> Iterator[Path]:
        yield from _family(self.pid)

    def cpu(self) -> float:
        """CPU seconds that they have used, user and system."""
        used = 0
        for folder in self._each():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                used += int(fields[11]) + int(fields[12])
        return used / TICKS

    def memory(self) -> dict[str, float]:
        """MB of the largest of them: `rss`, and `pss`, in which pages that several have count in parts."""
        found = []
        for folder in self._each():
            with contextlib.suppress(OSError):
                lines = (line.split() for line in (folder / "smaps_rollup").read_text().splitlines()[1:])
                kilobytes = {words[0]: int(words[1]) for words in lines}
                found.append((kilobytes["Rss:"] / 1024, kilobytes["Pss:"] / 1024))
        rss, pss = max(found)
        return {"rss": round(rss, 1), "pss": round(pss, 1), "processes": len(found)}


def _family(pid: int) -> Iterator[Path]:
    folder = Path("/proc") / str(pid)
    yield folder
    with contextlib.suppress(OSError):
        for task in (folder / "task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _family(int(child))


def inherited() -> dict[str, str]:
    """The environment for a server: that of this process, without what would change affiant or Python."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AFFIANT_", "PYTHON"))}


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextlib.contextmanager
def serving(
    command: list[str], *, ready: str, folder: Path, environment: dict[str, str], cores: list[int]
) -> Iterator[Processes]:
    """Start a server on these cores, and yield once `ready` answers 200; its output goes to a file in `folder`."""
    log = folder / "server.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["taskset", "-c", ",".join(map(str, cores)), *command],
            cwd=folder,
            env={**inherited(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    started = Processes(process.pid)
    try:
        end = time.monotonic() + 60
        while not answers(ready):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{command[0]} does not serve: {log.read_text('utf-8', 'replace')[-2000:]}")
            time.sleep(0.02)
        yield started
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what is left of it
        process.wait()
