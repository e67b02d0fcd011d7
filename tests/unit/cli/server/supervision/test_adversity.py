"""A supervisor goes on where its surroundings fail: its output, its program, its environment."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from affiant.cli.server.supervision.process import Process
from affiant.cli.server.supervision.reports import CLOSE_SECONDS, Output
from affiant.cli.server.supervision.signals import Signals
from affiant.cli.workload import supervision
from affiant.cli.workload.supervision import notify


def _program(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    script = folder / "affiant"
    script.write_text(text)
    script.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(script)])


def test_a_storm_of_one_signal_hides_no_other() -> None:
    with Signals() as signals:
        for _ in range(3000):  # more than the socket that wakes the supervisor takes
            signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
        assert signals.take() == [signal.SIGHUP, signal.SIGTERM]
        signal.raise_signal(signal.SIGTERM)
        assert signals.take() == [signal.SIGTERM]


def test_an_output_that_takes_nothing_stops_nothing() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    output, began = Output(writer), time.monotonic()
    for _ in range(1000):
        output.put(b"line\n")
    output.close()
    assert time.monotonic() - began < CLOSE_SECONDS + 5
    os.close(reader)  # which ends the thread's write


def test_what_is_said_is_written_before_the_end() -> None:
    reader, writer = os.pipe()
    output = Output(writer)
    output.put(b"first\n")
    output.put(b"last\n")
    output.close()
    assert os.read(reader, 100) == b"first\nlast\n"
    os.close(reader)
    os.close(writer)


def test_a_program_that_is_just_being_replaced_is_a_worker_that_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _program(tmp_path, monkeypatch, f"#!{tmp_path}/no-python\n")
    process = Process(["serve"], [], {})
    assert process.failure == "No such file or directory"
    assert process.ended() == 126
    assert process.link.receive() is None
    process.end()
    process.link.close()


def test_a_sighup_to_the_whole_group_ends_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, monkeypatch, "#!/bin/sh\nexec sleep 60\n")
    process = Process(["serve"], [], {})
    try:
        blocked = Path(f"/proc/{process.pid}/status").read_text().partition("SigBlk:")[2].split()[0]
        assert int(blocked, 16) >> (signal.SIGHUP - 1) & 1
        assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, set())
    finally:
        process.end(signal.SIGKILL)
        while process.ended() is None:
            time.sleep(0.01)
        process.link.close()


def test_a_closed_standard_error_is_no_other_file() -> None:
    look = (
        "import os; from affiant.cli.server.supervision.master import _open_standard_files as o;"
        "os.close(2); o(); print(os.readlink('/proc/self/fd/2'))"
    )
    run = subprocess.run([sys.executable, "-c", look], stdout=subprocess.PIPE, check=True)
    assert run.stdout == b"/dev/null\n"


def test_a_notify_socket_that_nobody_reads_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_NOTIFY_SECONDS", 0.05)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, contextlib.suppress(BlockingIOError):
            other.setblocking(False)
            while True:
                other.sendto(b"x", str(tmp_path / "notify"))
        began = time.monotonic()
        notify("READY=1")
        assert time.monotonic() - began < 5


def test_a_reload_does_not_begin_with_an_empty_database(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A wrong data folder would replace a registry by an empty one, and every client would be refused."""
    empty = tmp_path / "empty"
    first = {"decided": None, "is_activated": False, "is_first": False, "place": None}
    process = Process(["serve", "--data", str(empty), "--port", "0"], [], first)
    while (code := process.ended()) is None:
        time.sleep(0.01)
    process.link.close()
    assert code == 8
    assert "has no data yet: a reload does not begin there" in capfd.readouterr().err
    assert not empty.exists()
