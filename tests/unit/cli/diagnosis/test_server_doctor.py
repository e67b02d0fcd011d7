"""`affiant doctor` at the data of a server: each fault is found, with what mends it, and nothing is changed."""

import json
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import Run
from tests.unit.client.conftest import Answer, Foreign, metadata_answer

from affiant.cli.connection.data import load, with_new_store, with_store
from affiant.cli.diagnosis.checkup import installation
from affiant.server.keys import key_source, rotation, signing_keys
from affiant.server.keys.calendar import DAY, Calendar
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import Vault, client_secret_purpose
from affiant.server.request.audit import retention
from affiant.storage.entries import AuditRecord, Entry
from affiant.storage.ports import Store
from affiant.storage.records import BACKED_UP_AT, Client, StoredSecret
from affiant.storage.registry import SIGNING_KEYS, Rows
from affiant.storage.sqlite.store import FILE_NAME

DATA = Path("affiant-data")
NOW = int(time.time())
SECRET = "canary-short-secret"
DISCOVERY = "/.well-known/oauth-authorization-server"
PAGE = (Path(__file__).resolve().parents[4] / "docs" / "how-to" / "doctor.md").read_text("utf-8")
Examine = Callable[..., dict[str, dict[str, str]]]
# Not of the installation: a container has no NTP client, and these say nothing about a test.
ALWAYS = {"ntp", "workers", "open files", "disk"}
pytestmark = pytest.mark.usefixtures("no_settings")


def _make(*, begun: int = NOW) -> None:
    async def work(store: Store, key: MasterKey) -> None:
        await signing_keys.ensure(store, Vault(key), now=begun)
        await store.settings.put(BACKED_UP_AT, str(NOW))

    with_new_store(load(), work, report=lambda _: None)


@pytest.fixture
def examine(run_json: Run, no_settings: None) -> Examine:
    """Run the doctor, and return the worst finding of each name."""

    def doctor(*words: str, is_all: bool = False) -> dict[str, dict[str, str]]:
        code, data = run_json("doctor", *words)
        assert SECRET not in str(data)
        key = DATA / key_source.FILE_NAME
        assert not key.exists() or key.read_text().strip() not in str(data)
        assert code == (0 if data["is_well"] else 1)
        assert all(bool(found["fix"]) is (found["state"] != "good") for found in data["findings"])
        states = ("good", "warning", "bad")
        found = sorted(data["findings"], key=lambda finding: states.index(finding["state"]))
        worst = {finding["name"]: finding for finding in found}
        assert data["is_well"] is ("bad" not in {finding["state"] for finding in worst.values()})
        return {name: one for name, one in worst.items() if is_all or (one["state"] != "good" and name not in ALWAYS)}

    return doctor


def _snapshot() -> dict[str, tuple[int, int, int, bytes]]:
    found = {str(path): (path.stat(), path.read_bytes()) for path in sorted(DATA.rglob("*"))}
    return {name: (status.st_mode, status.st_ino, status.st_uid, content) for name, (status, content) in found.items()}


def test_a_good_installation_is_left_as_it_is(examine: Examine) -> None:
    _make()
    before = _snapshot()
    found = examine(is_all=True)
    assert {name for name, one in found.items() if one["state"] == "bad"} == set()
    assert examine() == {"issuer": found["issuer"]}  # none was ever set, so nothing is asked over the network
    assert "not checked from outside" in found["issuer"]["text"]
    assert _snapshot() == before


def test_nothing_is_made_where_nothing_is(examine: Examine) -> None:
    assert set(examine("--server")) == {"data"}
    assert set(examine("--data", "elsewhere")) == {"data"}
    assert not DATA.exists()
    assert not Path("elsewhere").exists()


def test_a_client_is_examined_where_no_server_is(examine: Examine) -> None:
    assert set(examine()) == {"credentials"}


def test_credentials_come_before_the_data(
    run_json: Run, foreign: Foreign, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _make()
    secret = {"client_id": "billing", "auth_method": "client_secret_basic", "client_secret": SECRET}
    monkeypatch.setenv("AFFIANT_CREDENTIALS", json.dumps({"affiant": 1, "issuer": foreign.url, **secret}))
    assert run_json("doctor")[1]["of"] == "client"
    assert run_json("doctor", "--server")[1]["of"] == "server"
    assert run_json("doctor", "--server", "--scope", "a")[0] == 2


def test_files_that_others_may_read_or_replace(examine: Examine) -> None:
    _make()
    DATA.chmod(0o770)
    (DATA / FILE_NAME).chmod(0o644)
    code_of = examine()["files"]
    assert (code_of["state"], code_of["fix"].split()[0]) == ("bad", "chmod")
    DATA.chmod(0o700)
    assert examine()["files"]["fix"] == f"chmod 600 {DATA.absolute() / FILE_NAME}"


def test_no_mode_is_changed_through_a_link(examine: Examine, tmp_path: Path) -> None:
    """Attack: the data folder has a link to a file of the system."""
    _make()
    (tmp_path / "passwd").write_text("root:x:0:0")
    (tmp_path / "passwd").chmod(0o644)
    (DATA / "master.key").unlink()
    (DATA / "master.key").symlink_to(tmp_path / "passwd")
    assert examine()["files"]["fix"] == f"ls -lL {DATA.absolute()}/master.key: it is a link"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user(examine: Examine) -> None:
    _make()
    os.chown(DATA / FILE_NAME, 65534, 65534)
    found = examine()["files"]
    assert found["fix"] == f"chown -h root: {DATA.absolute() / FILE_NAME}"


def test_the_master_key(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    _make()
    key = DATA / key_source.FILE_NAME
    kept = key.read_text()
    key.unlink()
    assert {"master key", "contents"} <= set(examine())
    key.touch(0o600)
    key.write_text("01" * 32)
    assert "is not random" in examine()["master key"]["text"]
    assert "another master key" in examine()["contents"]["text"]
    monkeypatch.setenv(key_source.ENVIRONMENT, kept.strip())
    assert "is not used" in examine()["master key"]["text"]
    monkeypatch.setenv(key_source.SETTING, str(key))
    assert "given twice" in examine()["master key"]["text"]


def test_a_damaged_database(examine: Examine) -> None:
    _make()
    path = DATA / FILE_NAME
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * 8192 + whole[12288:])
    found = examine()
    assert found["database"]["fix"].startswith("affiant db restore")
    assert "contents" not in found


def test_a_full_disk_is_not_mended_by_a_restore(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore would replace a whole database by an older one."""
    _make()
    path = DATA / FILE_NAME
    path.write_bytes(path.read_bytes()[:4096])
    full = shutil.disk_usage(path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    assert examine()["database"]["fix"].startswith("free disk space first")


@pytest.mark.parametrize(
    ("number", "state", "fix"), [(3, "warning", "affiant db migrate"), (999, "bad", "pip install")]
)
def test_another_schema_is_not_migrated(number: int, state: str, fix: str, examine: Examine) -> None:
    _make()
    with sqlite3.connect(DATA / FILE_NAME) as connection:
        connection.execute(f"PRAGMA user_version={number}")
    connection.close()
    found = examine(is_all=True)
    assert (found["schema"]["state"], found["schema"]["fix"][: len(fix)]) == (state, fix)
    assert "contents" not in found
    with sqlite3.connect(DATA / FILE_NAME) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (number,)
    connection.close()


def test_backups(examine: Examine, run_json: Run) -> None:
    _make()
    with_store(load(), lambda store, _: store.settings.put(BACKED_UP_AT, str(NOW - 30 * DAY)))
    assert "30 days ago" in examine()["backup"]["text"]
    assert run_json("db", "backup", "copy")[0] == 0
    assert "backup" not in examine()
    with_store(load(), lambda store, _: store.settings.put(BACKED_UP_AT, "0"))
    assert run_json("db", "backed-up")[0] == 0
    assert "backup" not in examine()


def test_a_backup_needs_no_master_key(run_json: Run) -> None:
    _make()
    (DATA / key_source.FILE_NAME).unlink()
    assert run_json("db", "backup", "copy")[0] == 0


def test_old_records_and_an_unfinished_rotation(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    _make()

    async def begin(store: Store, key: MasterKey) -> None:
        await rotation.begin(store, key, bytes(range(32)), rotation.Doer("alice", NOW - 30 * DAY))  # with a record

    with_store(load(), begin)
    assert "archive" not in examine(is_all=True)
    monkeypatch.setenv("AFFIANT_AUDIT_KEEP", "90d")
    assert examine(is_all=True)["archive"]["state"] == "good"
    monkeypatch.setenv("AFFIANT_AUDIT_KEEP", "7d")
    found = examine()
    assert found["archive"]["fix"].startswith("affiant audit archive")
    assert found["master key"]["fix"] == "affiant master-key finish"


def test_an_archive_that_fails(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    _make()
    monkeypatch.setenv("AFFIANT_AUDIT_KEEP", "90d")
    _note(retention.NAME, "archives/ cannot be written")
    found = examine()["archive"]
    assert found["text"] == "the last attempt failed: archives/ cannot be written"
    assert found["fix"].startswith("affiant audit archive --keep 90d")
    _note(retention.NAME, "")
    assert "archive" not in examine()


def _note(cursor: str, problem: str) -> None:
    """Note this problem as the process does that has the cursor."""

    async def work(store: Store, _: MasterKey) -> None:
        await store.cursors.take(cursor, "a process", now=NOW, seconds=15)
        assert await store.cursors.advance(cursor, "a process", 0, problem)

    with_store(load(), work)


def test_sinks_that_fail_or_lag(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    _make()
    assert "audit sinks" not in examine(is_all=True)
    monkeypatch.setenv("AFFIANT_AUDIT_FILE", "records.jsonl")
    assert "no server has begun" in examine()["audit sinks"]["text"]
    _note("audit_file", "")
    assert examine(is_all=True)["audit sinks"]["state"] == "good"
    _note("audit_file", "the disk is full")
    assert examine()["audit sinks"]["text"] == "audit_file failed, and 0 records wait: the disk is full"
    _note("audit_file", "")

    async def record(store: Store, _: MasterKey) -> None:
        await store.ledger.claim(Entry(AuditRecord(at=NOW - 1000, trace_id="t", endpoint="token", outcome="refused")))

    with_store(load(), record)
    text = examine()["audit sinks"]["text"]
    assert re.search(r"1 records wait for audit_file, the oldest for [0-9],[0-9]{3} seconds", text)
    monkeypatch.delenv("AFFIANT_AUDIT_FILE")
    found = examine()["audit sinks"]
    assert (found["state"], found["fix"]) == ("warning", "affiant audit sinks --forget audit_file")


def test_a_secret_that_can_be_guessed(examine: Examine) -> None:
    _make()

    async def work(store: Store, key: MasterKey) -> None:
        sealed = key.seal(SECRET.encode(), purpose=client_secret_purpose("billing"))
        secret = StoredSecret(None, sealed, NOW, None)
        await store.clients.add(Client("billing", "client_secret_jwt", secrets=(secret,), created_at=NOW))

    with_store(load(), work)
    found = examine()["clients"]
    assert (found["state"], found["fix"]) == ("bad", "affiant client secret new billing")


def test_a_successor_that_no_server_made(examine: Examine) -> None:
    _make(begun=NOW - Calendar().period)
    assert "no server has run since" in examine()["next key"]["text"]


@pytest.mark.parametrize(("name", "value"), [("TRUSTED_PROXIES", "*"), ("TOKEN_BURST", "0"), ("HOST", "0.0.0.0")])
def test_settings_that_weaken(name: str, value: str, examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    _make()
    monkeypatch.setenv(f"AFFIANT_{name}", value)
    assert examine()["settings"]["state"] == "warning"


@pytest.fixture
def outside(foreign: Foreign, monkeypatch: pytest.MonkeyPatch) -> Foreign:
    """What answers at the issuer: the metadata and keys of these data, as the test changes them."""
    _make()

    async def read(store: Store, _: MasterKey) -> list[Any]:
        return [json.loads(key.public_jwk) for key in await store.tables.rows(Rows(SIGNING_KEYS))]

    foreign.default[DISCOVERY] = metadata_answer(foreign.url)
    foreign.default["/jwks"] = Answer(200, {"keys": with_store(load(), read)})
    foreign.default["/health"] = Answer(200, {"status": "ok"})
    monkeypatch.setenv("AFFIANT_ISSUER", foreign.url)
    return foreign


def test_the_issuer_from_outside(outside: Foreign, examine: Examine) -> None:
    assert examine() == {}
    outside.default["/health"] = Answer(503, {"status": "failing", "why": ["the disk is full\x1b[2J"]})
    assert examine()["health"]["text"] == "it answers 503: the disk is full\\u001b[2J"
    outside.default["/jwks"] = Answer(200, {"keys": []})
    assert examine()["keys"]["state"] == "bad"
    outside.default["/jwks"] = Answer(200, {"keys": "none"})
    assert examine()["keys"]["state"] == "bad"
    outside.default[DISCOVERY] = metadata_answer("https://as.example")
    assert examine()["issuer"]["text"] == "the server there says that it is https://as.example"
    outside.default[DISCOVERY] = Answer(308, {}, {"Location": "https://other.example/\x07"})
    assert "redirects to https://other.example/" in examine()["issuer"]["text"]
    assert {request.path for request in outside.requests} == {DISCOVERY, "/jwks", "/health"}
    outside.default[DISCOVERY] = Answer(200, raw=b"<html>")
    assert "not with metadata" in examine()["issuer"]["text"]


def test_postgresql(tables: str, examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFIANT_DATABASE", tables)
    _make()
    found = examine(is_all=True)
    assert {"database", "schema", "connections", "database clock"} <= set(found)
    assert {name for name, one in found.items() if one["state"] == "bad"} == set()
    assert "canary" not in str(found)
    monkeypatch.setenv("AFFIANT_WORKERS", "64")
    assert examine()["connections"]["state"] == "warning"


def test_postgresql_without_tables_stays_so(database: str, examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFIANT_DATABASE", database)
    assert examine()["schema"]["text"] == "the database has no tables of affiant"
    assert examine()["schema"]["state"] == "bad"


def test_the_page_has_every_finding() -> None:
    folder = Path(str(installation.__file__)).parent
    source = "".join(path.read_text("utf-8") for path in folder.glob("*.py"))
    source += (folder.parent / "network.py").read_text("utf-8").partition("def certificate")[2]
    names = set(re.findall(r'Finding\(\s*"([^"]+)"', source))
    rows = PAGE.partition("## Find what is wrong with a server")[2]
    assert set(re.findall(r"^\| ([a-z -]+) \|", rows, re.MULTILINE)) - {"finding", "---"} == names
