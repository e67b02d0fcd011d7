"""Root's commands on the data folder of a service user: that user's server can use every file they create."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from affiant.cli.connection.data import load, with_new_store
from affiant.cli.main import affiant
from affiant.server.request.limits import Limits, Rates
from affiant.storage.sqlite.store import FILE_NAME

OWNER, GROUP = 65534, 65533
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can own files for others: run as root")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The empty data folder of a service user."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AFFIANT_DATABASE", raising=False)
    made = tmp_path / "data"
    made.mkdir(0o700)
    os.chown(made, OWNER, GROUP)
    monkeypatch.setenv("AFFIANT_DATA", str(made))
    yield made
    assert set(_owners(made).values()) == {(OWNER, GROUP)}, _owners(made)


def _owners(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_uid, path.stat().st_gid) for path in folder.iterdir()}


def _run(*words: str) -> None:
    done = CliRunner().invoke(affiant, words)
    assert done.exception is None, done.output


@pytest.mark.parametrize(
    "words",
    [
        ("admin", "bootstrap", "alice"),
        ("client", "new", "billing"),
        ("api", "new", "orders", "--identifier", "https://orders.example", "--scope", "x"),
        ("db", "migrate"),
    ],
)
def test_root_may_run_the_first_command(folder: Path, words: tuple[str, ...]) -> None:
    _run(*words)
    assert {"affiant.db", "affiant.db.lock", "master.key"} <= {path.name for path in folder.iterdir()}


def test_write_ahead_log_belongs_to_the_owner(folder: Path) -> None:
    found: dict[str, tuple[int, int]] = {}

    async def work(*_: object) -> None:
        found.update(_owners(folder))

    with_new_store(load(), work)
    assert {f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"} <= set(found)
    assert set(found.values()) == {(OWNER, GROUP)}


@pytest.mark.parametrize("is_new", [False, True])
def test_a_restored_database(folder: Path, tmp_path: Path, *, is_new: bool) -> None:
    _run("client", "new", "billing")
    _run("db", "backup", "copy")
    assert (tmp_path / "copy").stat().st_uid == 0  # where a backup goes is not the folder of a server
    if is_new:
        key = (folder / "master.key").read_bytes()
        shutil.rmtree(folder)
        folder.mkdir(0o700)
        os.chown(folder, OWNER, GROUP)
        (folder / "master.key").write_bytes(key)
        (folder / "master.key").chmod(0o600)
        os.chown(folder / "master.key", OWNER, GROUP)
    _run("db", "restore", "copy")


def test_shared_limits_belong_to_the_owner(folder: Path) -> None:
    Limits(Rates(), key=bytes(32), path=folder / "limits")
