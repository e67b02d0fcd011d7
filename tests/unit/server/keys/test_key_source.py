"""The sources of the master key: one is used; a second is refused, or is of lower priority."""

import os
from pathlib import Path

import pytest

from affiant.errors import ConfigError
from affiant.server.keys import key_source
from affiant.server.keys.master_key import MasterKey

KEYS = {name: bytes([number]) * 32 for number, name in enumerate(("variable", "named", "credential", "folder"))}


def _write(path: Path, name: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(KEYS[name].hex() + "\n")
    path.chmod(mode)
    return path


def _is(key: MasterKey, name: str) -> bool:
    return key.digest("x") == MasterKey.from_bytes(KEYS[name]).digest("x")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _write(tmp_path / "data" / key_source.FILE_NAME, "folder")
    return tmp_path / "data"


def test_each_source_comes_before_the_data_folder(folder: Path, tmp_path: Path) -> None:
    named = _write(tmp_path / "named", "named")
    mounted = _write(tmp_path / "mounted" / key_source.CREDENTIAL, "credential").parent
    variable, directory = {key_source.ENVIRONMENT: KEYS["variable"].hex()}, {key_source.DIRECTORY: str(mounted)}
    assert _is(key_source.load(folder, None, {}), "folder")
    assert _is(key_source.load(folder, None, variable), "variable")
    assert _is(key_source.load(folder, named, {}), "named")
    assert _is(key_source.load(folder, None, directory), "credential")
    assert _is(key_source.load(folder, named, {key_source.DIRECTORY: str(tmp_path)}), "named")  # another unit's


@pytest.mark.parametrize("left", ["variable", "named", "credential"])
def test_two_sources_are_refused_without_the_key(left: str, folder: Path, tmp_path: Path) -> None:
    named = _write(tmp_path / "named", "named") if left != "named" else None
    mounted = _write(tmp_path / "mounted" / key_source.CREDENTIAL, "credential").parent
    environment = {key_source.ENVIRONMENT: KEYS["variable"].hex()} if left != "variable" else {}
    environment |= {key_source.DIRECTORY: str(mounted)} if left != "credential" else {}
    with pytest.raises(ConfigError, match="given twice") as refused:
        key_source.load(folder, named, environment)
    assert KEYS["variable"].hex() not in str(refused.value)


def test_a_named_file_that_is_missing_is_never_replaced(folder: Path, tmp_path: Path) -> None:
    """A missing source is replaced neither by the file in the data folder nor by a new key."""
    gone = tmp_path / "gone"
    with pytest.raises(ConfigError, match=r"gone \(AFFIANT_MASTER_KEY_FILE\) is missing"):
        key_source.load(folder, gone, {})
    assert not key_source.make(tmp_path / "new", gone, {})
    assert not gone.exists()


def test_a_dangling_credential_is_a_source(folder: Path, tmp_path: Path) -> None:
    (tmp_path / key_source.CREDENTIAL).symlink_to(tmp_path / "gone")
    with pytest.raises(ConfigError, match="is missing"):
        key_source.load(folder, None, {key_source.DIRECTORY: str(tmp_path)})


def test_a_file_that_others_may_read_is_refused(folder: Path, tmp_path: Path) -> None:
    named = _write(tmp_path / "named", "named", 0o604)
    with pytest.raises(ConfigError, match="chmod 600"):
        key_source.load(folder, named, {})


def test_a_pipe_is_refused(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="is a pipe"):
        key_source.load(folder, tmp_path / "pipe", {})


@pytest.mark.parametrize("text", ["", "00" * 31, "é" * 64, "0" * 63 + "g"])
def test_no_message_has_what_a_file_holds(text: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "named").touch(0o600)
    (tmp_path / "named").write_text(text)
    with pytest.raises(ConfigError) as refused:
        key_source.load(folder, tmp_path / "named", {})
    assert not text or text not in str(refused.value)


def test_the_key_is_in_no_representation() -> None:
    source = key_source.find(Path("x"), None, {key_source.ENVIRONMENT: KEYS["named"].hex()})
    assert KEYS["named"].hex() not in repr(source) + source.shown + repr(MasterKey.from_bytes(KEYS["named"]))
