"""The credentials file: what is wrong with it is said in one line."""

import json
import os
import re
import stat
import traceback
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import affiant
from affiant import Service
from affiant.client.credentials import file as credentials
from affiant.client.credentials import search
from affiant.client.credentials.file import Credentials, put_private
from affiant.errors import ConfigError, LocalError
from affiant.jose.keys import PrivateKey

CANARY = "canary-5f1d0c6e7a934b21-canary-5f1d0c6e7a934b21"
GOOD: dict[str, Any] = {
    "affiant": 1,
    "issuer": "https://as.example",
    "client_id": "billing",
    "auth_method": "client_secret_basic",
    "client_secret": CANARY,
}


def _file(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def _without(name: str) -> str:
    return json.dumps({member: value for member, value in GOOD.items() if member != name})


def test_written_file_reads_back(tmp_path: Path, key: PrivateKey) -> None:
    path = tmp_path / "billing.json"
    made = Credentials("https://as.example", "billing", "private_key_jwt", alg="ES256", kid="k", key=key.to_jwk())
    made.write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert credentials.read(path) == made
    assert [entry.name for entry in tmp_path.iterdir()] == ["billing.json"]
    assert key.to_jwk()["d"] not in repr(made)


def test_existing_file_is_not_overwritten_by_write(tmp_path: Path) -> None:
    path = _file(tmp_path / "c.json", "precious")
    made = credentials.parse(json.dumps(GOOD), name="x")
    with pytest.raises(ConfigError, match="exists already"):
        made.write(path)
    assert path.read_text() == "precious"
    made.replace(path)
    assert credentials.read(path) == made
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.json"]


def test_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target = _file(tmp_path / "target", "precious")
    link = tmp_path / "c.json"
    link.symlink_to(target)
    credentials.parse(json.dumps(GOOD), name="x").replace(link)
    assert target.read_text() == "precious"
    assert not link.is_symlink()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CANARY, "is not JSON"),
        ("[]", "is not a credentials file"),
        (json.dumps({**GOOD, "affiant": 2}), '"affiant": 1'),
        (_without("issuer"), 'lacks "issuer"'),
        (_without("client_id"), 'lacks "client_id"'),
        (_without("auth_method"), 'lacks "auth_method"'),
        (_without("client_secret"), 'one of "key", "key_file", "signer" and "client_secret"'),
        (json.dumps({**GOOD, "key": {}}), 'one of "key", "key_file", "signer" and "client_secret"'),
        (json.dumps({**GOOD, "client_secret": [CANARY]}), '"client_secret" in .* wrong kind'),
        (json.dumps({**GOOD, "scope": "half a pair \ud800"}), '"scope" in .* wrong kind'),
    ],
)
def test_error_about_the_file_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = _file(tmp_path / "c.json", text)
    with pytest.raises(LocalError, match=words) as caught:
        credentials.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.attack(283)
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = _file(tmp_path / "c.json", json.dumps(GOOD), mode)
    with pytest.raises(LocalError, match=f"chmod 600 {path}"):
        credentials.read(path)


def test_missing_and_unreadable_files_have_different_messages(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="No such file"):
        credentials.read(tmp_path / "none")
    with pytest.raises(LocalError, match="Is a directory"):
        credentials.read(tmp_path)
    broken = tmp_path / "binary"
    broken.write_bytes(b"\xff\xfe")
    broken.chmod(0o600)
    with pytest.raises(LocalError, match="not UTF-8"):
        credentials.read(broken)


def test_environment_names_a_file_or_holds_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for named in (str(_file(tmp_path / "c.json", json.dumps(GOOD))), json.dumps(GOOD)):
        monkeypatch.setenv("AFFIANT_CREDENTIALS", named)
        assert Service.from_credentials().client_id == "billing"
    monkeypatch.delenv("AFFIANT_CREDENTIALS")
    with pytest.raises(LocalError, match="AFFIANT_CREDENTIALS"):
        Service.from_credentials()


def test_broken_text_in_the_environment_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFIANT_CREDENTIALS", '{"client_secret": "' + CANARY)
    with pytest.raises(LocalError, match="AFFIANT_CREDENTIALS is not JSON") as caught:
        Service.from_credentials()
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_secret_is_not_sent_in_a_way_that_the_file_does_not_say() -> None:
    with pytest.raises(LocalError, match="private_key_jwt"):
        Service.from_credentials(json.dumps({**GOOD, "auth_method": "private_key_jwt"}))


@pytest.mark.parametrize(
    ("client_id", "name"),
    [
        ("billing", "billing.affiant.json"),
        ("a.b_c~d-e", "a.b_c~d-e.affiant.json"),
        ("urn:app:x", "urn%3Aapp%3Ax.affiant.json"),
        ("../../etc/cron.d/x", "..%2F..%2Fetc%2Fcron.d%2Fx.affiant.json"),
        ("/etc/passwd", "%2Fetc%2Fpasswd.affiant.json"),
        ("x@y.example", "x%40y.example.affiant.json"),
    ],
)
def test_a_file_is_named_for_its_client(client_id: str, name: str) -> None:
    assert credentials.file_name(client_id) == name


@given(st.text(min_size=1, max_size=256), st.text(min_size=1, max_size=256))
def test_the_name_of_a_file_stays_in_its_folder(one: str, other: str) -> None:
    """Attack: a file for `affiant apply` names a client so that its secret is written somewhere else."""
    name = credentials.file_name(one)
    assert Path("/folder", name).resolve().parent == Path("/folder")
    assert len(name) < 200
    assert name.isascii()
    assert (credentials.file_name(other) == name) == (one == other)


@pytest.mark.parametrize(
    "bend", [str, lambda text: f"'{text}'\n", json.dumps, lambda text: b64encode(text.encode()).decode()]
)
def test_the_environment_may_bend_the_json(bend: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As env files and secret stores do."""
    members = {"affiant": 1, "issuer": "https://as.example", "client_id": "c", "auth_method": "client_secret_basic"}
    monkeypatch.setenv("AFFIANT_CREDENTIALS", bend(json.dumps({**members, "client_secret": 'a"b'})))
    assert search.find().client_secret == 'a"b'
    assert search.name_of() == "AFFIANT_CREDENTIALS"


@pytest.mark.attack
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_mode_is_set_without_the_name(tmp_path: Path, mode: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name, the mode of a private file could be changed: that of a link that the folder's owner puts there."""
    monkeypatch.delattr("os.chmod")
    put_private(tmp_path / "x", "text", mode=mode)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == mode


@pytest.mark.attack
def test_no_file_is_made_public_by_its_name() -> None:
    source = Path(affiant.__file__).parent
    assert not [path for path in source.rglob("*.py") if re.search(r"(?<!f)chmod\(|\.chmod\(", path.read_text("utf-8"))]


def test_draft_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    """It has a key or a token, and nobody else would ever look for it."""
    left, young, other = (tmp_path / name for name in (f".x.{'a' * 16}", f".x.{'b' * 16}", f".y.{'c' * 16}"))
    for path in (left, young, other):
        path.write_text(CANARY)
    for path in (left, other):
        os.utime(path, (0, 0))
    put_private(tmp_path / "x", "text")
    assert set(tmp_path.iterdir()) == {tmp_path / "x", young, other}
