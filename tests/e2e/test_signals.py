"""Ctrl-C and SIGTERM: the end comes in time, says nothing wrong, leaves no process behind and frees the port."""

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.loopback import HOST, free_port, is_free
from tests.process import AFFIANT, Child, Launch

SECONDS = 12  # serve lets requests under way end for 10
INTERRUPTED = 130


def _end(child: Child, number: signal.Signals, *, whole: bool = False) -> int:
    """Send it, as a terminal does to the whole group, or as `kill` does to one."""
    (os.killpg if whole else os.kill)(child.process.pid, number)
    code = child.process.wait(SECONDS)
    assert "Traceback" not in child.out + child.err
    return code


def _serving(launch: Launch, port: int, workers: int) -> Child:
    child = launch(*AFFIANT, "serve", "--port", str(port), "--workers", str(workers))
    child.until_healthy(f"http://127.0.0.1:{port}")
    return child


@pytest.mark.parametrize(
    ("number", "workers", "whole"),
    [
        (signal.SIGINT, 1, True),
        (signal.SIGINT, 2, True),
        (signal.SIGINT, 2, False),
        (signal.SIGTERM, 1, False),
        (signal.SIGTERM, 2, False),
    ],
)
def test_serve_ends(launch: Launch, number: signal.Signals, workers: int, *, whole: bool) -> None:
    """In time and quietly; the port is free at once, and the next server takes it and the same data."""
    port = free_port()
    child = _serving(launch, port, workers)
    code = _end(child, number, whole=whole)
    assert code in ({INTERRUPTED} if number is signal.SIGINT else {0, -number})
    assert child.complaints == []
    said = [json.loads(line)["message"] for line in child.err.splitlines()]
    assert any(line.endswith("has ended its work") for line in said)
    assert is_free(port)
    assert _is_gone(child.process.pid)
    if (number, workers) == (signal.SIGTERM, 2):
        _serving(launch, port, 1)


def _is_gone(group: int) -> bool:
    """Whether the whole group ends by itself; multiprocessing's own helper does so a moment later."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def _server_of_demo(folder: Path) -> int | None:
    """The process that the demo runs in its folder."""
    for process in os.listdir("/proc") if os.path.isdir("/proc/self") else ():  # noqa: PTH112, PTH208 - no Path is wanted
        with contextlib.suppress(OSError):
            if process.isdigit() and os.readlink(f"/proc/{process}/cwd").startswith(f"{folder}/affiant-demo-"):  # noqa: PTH115
                return int(process)
    return None


@pytest.fixture
def demo(launch: Launch, tmp_path: Path) -> Iterator[tuple[Child, int]]:
    """A demo that is under way, and the server that it started. It goes no further: its proxy never answers."""
    with socket.create_server((HOST, 0)) as proxy:
        child = launch(*AFFIANT, "demo", TMPDIR=str(tmp_path), http_proxy=f"http://{HOST}:{proxy.getsockname()[1]}")
        child.until(lambda: _server_of_demo(tmp_path) is not None)
        process = _server_of_demo(tmp_path)
        assert process is not None
        try:
            yield child, process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")


@linux
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_demo_that_is_stopped_cleans_up(
    demo: tuple[Child, int], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """By Ctrl-C or a supervisor: no process and no folder is left. Exit 0 would mean that every step succeeded."""
    child, _ = demo
    assert _end(child, number) == code
    assert child.err.strip() in {"", "affiant: stopped"}
    assert _server_of_demo(tmp_path) is None
    assert not list(tmp_path.glob("affiant-demo-*"))


def test_demo_on_a_terminal_stays_until_ctrl_c(tmp_path: Path) -> None:
    """It says that it is still up, and ends well with Ctrl-C typed at the terminal."""
    ours, theirs = pty.openpty()
    try:
        demo = subprocess.Popen(
            [*AFFIANT, "demo"], cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.set_blocking(ours, False)
        shown, end = "", time.monotonic() + 45
        while "Ctrl-C stops" not in shown:
            assert time.monotonic() < end, shown
            assert demo.poll() is None, shown
            shown += _read(ours)
        base = re.findall(r"http://127\.0\.0\.1:(\d+)", shown)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(SECONDS) == 0
        assert "Traceback" not in shown + _read(ours)
        assert all(is_free(int(port)) for port in set(base))
    finally:
        os.close(theirs)
        os.close(ours)


def _read(terminal: int) -> str:
    time.sleep(0.05)
    with contextlib.suppress(BlockingIOError):
        return os.read(terminal, 65_536).decode("utf-8", "replace")
    return ""
