"""--data and --database: their meaning together, and their messages."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from affiant.cli.connection.data import has_data, load, open_store, shown_place, with_new_store, with_store
from affiant.cli.server.db import db
from affiant.errors import ConfigError
from affiant.server.keys import key_source
from affiant.server.keys.master_key import MasterKey
from affiant.storage.postgres import PostgresStore
from affiant.storage.sqlite import SqliteStore, copies
from affiant.storage.sqlite.store import FILE_NAME

KEY = MasterKey.from_bytes(bytes(32))
URL = "postgresql://affiant:canary-cafe@db.example/affiant"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but those of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AFFIANT_DATABASE", raising=False)


def test_sqlite_in_the_data_folder_is_the_default() -> None:
    chosen = load()
    assert isinstance(open_store(chosen, KEY), SqliteStore)
    assert not has_data(chosen)
    assert shown_place(chosen) == str(Path("affiant-data").absolute())


@pytest.mark.parametrize("by", ["option", "environment", "file"])
def test_postgres_by_its_url(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if by == "environment":
        monkeypatch.setenv("AFFIANT_DATABASE", URL)
    if by == "file":
        Path("affiant.toml").write_text(f'database = "{URL}"\n')
    chosen = load(database=URL if by == "option" else None, data=Path("keys"))
    assert isinstance(open_store(chosen, KEY), PostgresStore)
    assert chosen.data == Path("keys")
    assert has_data(chosen)
    assert shown_place(chosen) == "postgresql://db.example/affiant"
    assert "canary" not in repr(chosen) + str(chosen)


def test_sqlite_by_a_url_is_a_folder() -> None:
    chosen = load(database="sqlite:///var/lib/affiant")
    assert (chosen.data, chosen.database) == (Path("/var/lib/affiant"), None)
    with pytest.raises(ConfigError, match="not both"):
        load(database="sqlite:///var/lib/affiant", data=Path("other"))


@pytest.mark.parametrize("url", ["mysql://u:canary-cafe@h/d", "canary-cafe", "postgresql:/canary-cafe"])
def test_invalid_database_url_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="postgresql://") as refused:
        load(database=url)
    assert "canary" not in str(refused.value)


async def _nothing(*_: object) -> None:
    pass


def test_a_database_without_its_master_key_is_not_touched() -> None:
    """A new key would chain and seal data that the right key could neither verify nor open."""
    folder = Path("affiant-data")
    with_new_store(load(), _nothing)
    key = folder / key_source.FILE_NAME
    kept = key.rename("kept")
    with pytest.raises(ConfigError, match=r"master\.key is missing.*put it back"):
        with_store(load(), _nothing)
    assert not key.exists()
    key_source.make(folder)
    with pytest.raises(ConfigError, match="another master key"):
        with_store(load(), _nothing)
    kept.rename(key)
    with_store(load(), _nothing)


@pytest.mark.parametrize("is_another", [False, True])
def test_a_backup_is_restored_to_its_master_key_alone(*, is_another: bool) -> None:
    """Nothing is moved if the key is missing or another one."""
    with_new_store(load(), _nothing)
    copies.backup(Path("affiant-data", FILE_NAME), Path("copy"))
    if is_another:
        with_new_store(load(data="elsewhere"), _nothing)
    done = CliRunner().invoke(db, ["restore", "copy", "--data", "elsewhere"])
    assert isinstance(done.exception, ConfigError)
    assert ("another master key" if is_another else "is missing") in str(done.exception)
    assert not list(Path("elsewhere").glob("*.before*"))
    assert Path("elsewhere", FILE_NAME).exists() == is_another
    kept = Path("elsewhere", key_source.FILE_NAME)
    kept.unlink(missing_ok=True)
    Path("affiant-data", key_source.FILE_NAME).rename(kept)
    Path("elsewhere", FILE_NAME).unlink(missing_ok=True)
    assert CliRunner().invoke(db, ["restore", "copy", "--data", "elsewhere"]).exception is None
