"""`affiant master-key`: the files that it makes and replaces, and what it refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.unit.cli.conftest import Run

from affiant.cli.connection.data import load, with_new_store, with_store
from affiant.cli.main import affiant
from affiant.server.keys import key_source, rotation
from affiant.server.keys.master_key import MasterKey
from affiant.storage.ports import Store

DATA = Path("affiant-data")
FILE, REFUSED = DATA / key_source.FILE_NAME, 8
pytestmark = pytest.mark.usefixtures("no_settings")
Command = Callable[..., tuple[int, Any]]


async def _nothing(*_: object) -> None:
    pass


@pytest.fixture
def command(run_json: Run, no_settings: None, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run `affiant master-key` on new data; no output has a key."""
    monkeypatch.setattr(rotation, "SEEN_SECONDS", 0.0)
    with_new_store(load(), _nothing, report=lambda _: None)

    def run(*words: str) -> tuple[int, Any]:
        code, data = run_json("master-key", *words)
        for path in (*DATA.glob("master.key*"), *Path().glob("*.key")):
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.read_text().strip() not in str(data)
        return code, data

    return run


def test_a_key_in_the_data_folder(command: Command, run_json: Run) -> None:
    before, (_, shown) = FILE.read_text(), command("show")
    assert run_json("db", "backup", "early")[0] == 0
    code, made = command("rotate")
    assert (code, made["former"]) == (0, shown["fingerprint"])
    kept = Path(made["kept"])
    assert kept.read_text() == before
    assert command("show")[1]["former"] == shown["fingerprint"]
    assert command("show")[1]["fingerprint"] == made["fingerprint"]
    assert sorted(path.name for path in DATA.glob("master.key*")) == ["master.key", kept.name]
    assert command("rotate")[0] == REFUSED  # under way
    code, error = command("finish")
    assert code == REFUSED
    assert "--at-once" in error["message"]
    assert command("finish", "--at-once")[0] == 0
    assert command("show")[1]["former"] is None
    assert command("finish")[0] == REFUSED
    # The former file opens neither the data nor what is restored with the new one.
    new = FILE.read_text()
    FILE.write_text(before)
    assert "needs another master key" in command("show")[1]["message"]
    FILE.write_text(new)
    assert "a backup needs the key of its time" in run_json("db", "restore", "early")[1]["message"]
    FILE.write_text(before)
    assert run_json("db", "restore", "early")[0] == 0
    assert command("show")[1]["fingerprint"] == shown["fingerprint"]


def test_a_backup_of_after_needs_the_new_key(command: Command, run_json: Run) -> None:
    before = FILE.read_text()
    assert command("rotate")[0] == 0
    assert command("finish", "--at-once")[0] == 0
    assert run_json("db", "backup", "late")[0] == 0
    new = FILE.read_text()
    FILE.write_text(before)
    assert "needs another master key" in run_json("db", "restore", "late")[1]["message"]
    FILE.write_text(new)
    assert run_json("db", "restore", "late")[0] == 0
    assert run_json("audit", "verify")[0] == 0


def test_an_exported_log_verifies_after_the_rotation(command: Command, run_json: Run) -> None:
    for words in (("rotate",), ("finish", "--at-once")):
        assert command(*words)[0] == 0
    Path("audit.jsonl").write_text(CliRunner().invoke(affiant, ["audit", "export"]).stdout)
    assert run_json("audit", "verify", "audit.jsonl")[1]["number"] == 2


@pytest.mark.parametrize("by", ["variable", "file"])
def test_a_key_elsewhere(by: str, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    former = FILE.rename("former.key")
    if by == "variable":
        monkeypatch.setenv(key_source.ENVIRONMENT, former.read_text().strip())
    else:
        monkeypatch.setenv(key_source.SETTING, str(former))
    assert "--to" in command("rotate")[1]["message"]
    assert command("rotate", "--to", str(former))[0] == REFUSED  # it exists
    code, made = command("rotate", "--to", "new.key")
    assert (code, made["file"], made["kept"]) == (0, "new.key", None)
    assert command("rotate", "--to", "new.key")[0] == 0  # again, after a crash
    assert command("rotate", "--to", "other.key")[0] == REFUSED
    assert not Path("other.key").exists()
    assert "has the former master key" in command("finish", "--at-once")[1]["message"]
    monkeypatch.delenv(key_source.ENVIRONMENT, raising=False)
    monkeypatch.setenv(key_source.SETTING, "new.key")
    assert command("finish", "--at-once")[0] == 0


def test_a_crash_before_and_after_the_commit(command: Command) -> None:
    """An interrupted rotation left a key: it is used, and no second one is made."""
    new = DATA / "master.key.new"
    key_source.write_anew(new, b"n" * 31 + b"x")
    left = MasterKey.from_bytes(b"n" * 31 + b"x")
    former = MasterKey.from_bytes(key_source.read(key_source.find(DATA)))

    async def begin(store: Store, key: MasterKey) -> None:
        await rotation.begin(store, key, b"n" * 31 + b"x", rotation.Doer("x", 1))

    with_store(load(), begin)
    assert command("show")[1]["fingerprint"] == former.fingerprint
    code, made = command("rotate")
    assert (code, made["fingerprint"], made["former"]) == (0, left.fingerprint, former.fingerprint)
    assert not new.exists()
    assert command("show")[1]["fingerprint"] == left.fingerprint


def test_finish_waits_for_a_server_with_the_former_key(command: Command) -> None:
    former = MasterKey.from_bytes(key_source.read(key_source.find(DATA)))
    assert command("rotate")[0] == 0

    async def age(store: Store, key: MasterKey) -> None:
        rings = await rotation.find(store)
        assert rings is not None
        text = rings.to_text().replace(str(rings.rotated_at), str(rings.rotated_at - 1000))
        await store.settings.put("master_keys", text)
        await rotation.note(store, former, rings.rotated_at - 10)

    with_store(load(), age)
    code, error = command("finish")
    assert code == REFUSED
    assert "a server still ran with the former master key 1" in error["message"]


def test_cancel(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    former = FILE.rename("former.key")
    monkeypatch.setenv(key_source.SETTING, str(former))
    assert command("rotate", "--to", "new.key")[0] == 0
    code, done = command("cancel")
    assert code == 0
    monkeypatch.setenv(key_source.SETTING, "new.key")
    assert "needs another master key" in command("show")[1]["message"]
    monkeypatch.setenv(key_source.SETTING, str(former))
    assert command("show")[1]["newest"] != done["cancelled"]


def test_on_postgresql(tables: str, run_json: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands with the new key chain the audit log as those before."""
    monkeypatch.setattr(rotation, "SEEN_SECONDS", 0.0)
    monkeypatch.setenv("AFFIANT_DATABASE", tables)
    with_new_store(load(), _nothing, report=lambda _: None)
    for words in (
        ("api", "new", "early", "--identifier", "https://early.example", "--scope", "a"),
        ("master-key", "rotate"),
        ("api", "new", "between", "--identifier", "https://between.example", "--scope", "a"),
        ("master-key", "finish", "--at-once"),
        ("api", "new", "late", "--identifier", "https://late.example", "--scope", "a"),
    ):
        assert run_json(*words)[0] == 0
    assert run_json("audit", "verify")[1]["number"] == 5
