"""The metrics of several processes as one: counters never go back, and the gauges of a process vanish with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from affiant.telemetry import board
from affiant.telemetry.board import FolderBoard
from affiant.telemetry.samples import Samples, decode, encode, merge

TOKENS, OPEN, OFFSET, COMMITS = (
    "affiant_token_requests_total",
    "affiant_open_connections",
    "affiant_clock_offset_seconds",
    "affiant_commit_seconds",
)
LABELS = ("issued", "", "private_key_jwt", "client_credentials")
# A worker that publishes, says so, and lives until it is killed.
WORKER = """
import sys, pathlib
from affiant.telemetry.board import FolderBoard
board = FolderBoard(pathlib.Path(sys.argv[1]))
board.publish({"affiant_token_requests_total": {("issued", "", "private_key_jwt", "client_credentials"): 5.0},
    "affiant_open_connections": {(): 3.0}})
print("published", flush=True)
sys.stdin.read()
"""


def _samples(tokens: float, open_: float, offset: float) -> Samples:
    commits: list[float] = [0.5, *(tokens if place == 3 else 0 for place in range(13))]
    return {TOKENS: {LABELS: tokens}, OPEN: {(): open_}, OFFSET: {(): offset}, COMMITS: {(): commits}}


def test_samples_of_several_processes_are_one() -> None:
    merged = merge(decode(encode(one)) for one in (_samples(2, 10, -0.5), _samples(3, 20, 0.1)))
    assert merged[TOKENS] == {LABELS: 5}
    assert merged[OPEN] == {(): 30}
    assert merged[OFFSET] == {(): -0.5}  # the one that is farthest from 0
    assert merged[COMMITS] == {(): [1.0, 0, 0, 0, 5, *[0] * 9]}


def test_a_killed_process_leaves_its_counters_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(board, "_MEMORY", tmp_path)
    folder = board.open_folder(os.getpid(), instead=tmp_path)
    own = FolderBoard(folder)
    own.publish(_samples(1, 1, 0))
    for restarts in (1, 2, 3):
        with subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"published\n"
            found = own.read()
            assert (found[TOKENS][LABELS], found[OPEN][()]) == (1 + 5 * restarts, 4)
            worker.kill()
            worker.wait()
        for _ in range(2):
            found = own.read()
            assert (found[TOKENS][LABELS], found[OPEN][()]) == (1 + 5 * restarts, 1)
    assert len(list(folder.glob("[!.]*"))) == 3  # this process with its lock, and one file for all that ended


def test_folders_of_ended_servers_are_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(board, "_MEMORY", tmp_path)
    monkeypatch.setattr(board, "KEPT_SECONDS", -1.0)
    alive = board.open_folder(1, instead=tmp_path)
    held = FolderBoard(alive)
    held.publish(_samples(1, 1, 0))
    ended = board.open_folder(2, instead=tmp_path)
    (ended / f"9-x{board._LIFE}").touch()
    foreign = tmp_path / f"{board._PREFIX}4"  # Attack: another user put a link there, to have its target opened
    foreign.mkdir()
    foreign.chmod(0o777)
    (foreign / f"9-x{board._LIFE}").symlink_to(tmp_path)
    assert ended.exists()
    board.open_folder(3, instead=tmp_path)
    assert (alive.exists(), ended.exists(), foreign.exists()) == (True, False, True)


def test_a_folder_of_another_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Attack: the folder is there already, open to others; or it is a link."""
    shared, data = tmp_path / "shared", tmp_path / "data"
    for folder in (shared, data):
        folder.mkdir()
    monkeypatch.setattr(board, "_MEMORY", shared)
    (shared / f"{board._PREFIX}7").mkdir(mode=0o755)
    (shared / f"{board._PREFIX}8").symlink_to(data)
    for number in (7, 8):
        found = board.open_folder(number, instead=data)
        assert (found.parent, found.stat().st_mode & 0o777) == (data, 0o700)
