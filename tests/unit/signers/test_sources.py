"""Where the text of a key is: a file, a variable, the keyring."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

from affiant import Service
from affiant.errors import ConfigError, LocalError
from affiant.jose import keys
from affiant.signers import sources
from affiant.signers.local import load_signer

KEY = keys.generate("ES256")
TEXT = json.dumps(KEY.to_jwk())
CANARY = "canary-5f1d0c6e7a934b21"


class FileKeyring(KeyringBackend):
    """A keyring whose secrets are in a file."""

    priority = 1.0

    def __init__(self, path: Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.path = path
        self.failure: Exception | None = None

    def get_password(self, service: str, username: str) -> str | None:
        if self.failure is not None:
            raise self.failure
        kept: dict[str, str] = json.loads(self.path.read_text()) if self.path.exists() else {}
        return kept.get(f"{service}\n{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self.path.write_text(json.dumps({f"{service}\n{username}": password}))


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[FileKeyring]:
    before, made = keyring.get_keyring(), FileKeyring(tmp_path / "keyring.json")
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


def test_a_key_in_the_keyring_is_read(ring: FileKeyring) -> None:
    keyring.set_password("affiant", "team/billing", TEXT)
    assert load_signer("keyring:affiant/team/billing").kid == KEY.kid
    with pytest.raises(LocalError, match="nothing for affiant/other: run  keyring set affiant other"):
        load_signer("keyring:affiant/other")


@pytest.mark.parametrize("failure", [KeyringLocked(CANARY), OSError(CANARY), RuntimeError(CANARY)])
def test_a_keyring_that_fails_is_an_error_that_shows_nothing(ring: FileKeyring, failure: Exception) -> None:
    """Each keyring has its own errors, as that of the bus that it is asked by."""
    ring.failure = failure
    with pytest.raises(LocalError, match=rf"cannot be used \({type(failure).__name__}\)") as caught:
        load_signer("keyring:affiant/team/billing")
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(LocalError, match=r"pip install 'affiant\[keyring\]'"):
        load_signer("keyring:affiant/billing")


@pytest.mark.parametrize("spelt", ["{}", "file:{}", " {}\n", '"{}"'])
def test_a_key_in_a_file_is_read(tmp_path: Path, spelt: str) -> None:
    path = tmp_path / "key.json"
    path.write_text(TEXT)
    path.chmod(0o600)
    assert load_signer(spelt.format(path)).kid == KEY.kid


@pytest.mark.attack(283)
@pytest.mark.parametrize("scheme", ["", "file:"])
def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path, scheme: str) -> None:
    path = tmp_path / "key.json"
    path.write_text(TEXT)
    for mode in (0o640, 0o604, 0o666):
        path.chmod(mode)
        with pytest.raises(LocalError, match=f"chmod 600 {path}"):
            load_signer(f"{scheme}{path}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others: run as root")
def test_a_key_file_of_root_is_read_by_its_group() -> None:
    """As Kubernetes mounts a Secret with fsGroup, and systemd a credential with an ACL; not by other users."""
    program = (
        "import os, sys; from affiant.signers.local import load_signer\n"
        "os.setgroups([int(sys.argv[2])]); os.setresgid(*[65534] * 3); os.setresuid(*[65534] * 3)\n"
        "try: print(load_signer('file:' + sys.argv[1]).kid)\n"
        "except Exception as error: print(error)"
    )
    with tempfile.TemporaryDirectory(prefix="affiant-key-") as name:  # the folder of pytest is closed
        path = Path(name, "key.json")
        path.parent.chmod(0o755)
        path.write_text(TEXT)
        os.chown(path, 0, 4321)
        path.chmod(0o440)
        for group, said in (("4321", KEY.kid), ("1234", "Permission denied")):
            words = [sys.executable, "-c", program, str(path), group]
            assert said in subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_a_key_in_a_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLING_KEY", TEXT)
    assert load_signer("env:BILLING_KEY").kid == KEY.kid


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("env:NONE_SUCH", "variable NONE_SUCH, which is not set"),
        ("env:EMPTY", "variable EMPTY, which is empty"),
        ("env:PATH_OF_ONE", "write  file:PATH"),
        (f"env:{CANARY}", "no name of a variable"),
        ("keyring:affiant", "SERVICE/USER"),
        ("keyring:/x", "SERVICE/USER"),
        (f"file:/nowhere/{CANARY}", "no file that can be read"),
        (f"/nowhere/{CANARY}", "no file that can be read"),
        (
            f"secret:{CANARY}",
            "begins with secret:, which names no place of keys: known are env:, file:, keyring:, awskms:",
        ),
        (f"file:{CANARY}\0", "not a name"),
        ("file:", "key= is empty"),
        ("", "key= is empty"),
        (".", "Is a directory"),
    ],
)
def test_what_names_no_key_is_told_at_once_and_not_shown(
    source: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMPTY", " ")
    monkeypatch.setenv("PATH_OF_ONE", f"/run/{CANARY}")
    with pytest.raises(LocalError, match=said) as caught:
        Service("https://as.example", "billing", key=source)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("spelt", ['"{}"', " {}\n", "'{}' "])
def test_names_of_places_are_taken_as_env_files_spell_them(
    spelt: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    monkeypatch.setenv("VAULT_TOKEN", CANARY)
    monkeypatch.setenv("BILLING_KEY", TEXT)
    assert repr(load_signer(spelt.format("vault:transit/billing"))) == "Checked('vault:transit/billing')"
    assert load_signer(spelt.format("env:BILLING_KEY")).kid == KEY.kid
    path = tmp_path / "key"
    path.write_text(TEXT)
    path.chmod(0o600)
    assert load_signer(spelt.format(f"file:{path}")).kid == KEY.kid


@pytest.mark.parametrize("kid", ["a\x1b[31m", "a\nb", "", "k" * 257, 7])
def test_a_kid_that_no_server_could_have_is_refused(kid: Any) -> None:
    for key in (KEY.to_jwk(), KEY, "vault:transit/billing"):
        with pytest.raises(ConfigError, match="kid must be a string of 1 to 256 printable characters"):
            load_signer(key, kid=kid)


def test_a_keyring_that_waits_for_a_person_is_not_waited_for_for_ever(
    ring: FileKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "KEYRING_SECONDS", 0.1)
    end = threading.Event()
    monkeypatch.setattr(ring, "get_password", lambda *_: end.wait(30))
    with pytest.raises(LocalError, match=r"the keyring did not answer within 0\.1 s: unlock it, or name a file"):
        load_signer("keyring:affiant/billing")
    end.set()
