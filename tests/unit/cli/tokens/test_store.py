"""The tokens that the command line keeps."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from affiant.cli.tokens.kept_tokens import CannotKeep, FileTokenStore, digest
from affiant.client.token import Token

NAMES = ("https://as.example", "billing", "https://orders.example", "orders.read")
NOW = 1_800_000_000.0


def _fetch(value: str, lifetime: float = 600) -> Callable[[], Token]:
    return lambda: Token(value, NOW + lifetime, "orders.read", refresh_token="refresh-canary", leeway=30)


def _never() -> Token:
    raise AssertionError("asked")


@pytest.fixture
def store(tmp_path: Path) -> FileTokenStore:
    """A store in a folder that does not exist yet."""
    return FileTokenStore(tmp_path / "tokens")


def test_token_is_kept_until_it_ends(store: FileTokenStore) -> None:
    store.token(NAMES, _fetch("a"), now=NOW)
    kept = store.token(NAMES, _never, now=NOW + 569)
    assert (kept.value, kept.expires_at, kept.scope) == ("a", NOW + 600, "orders.read")
    assert store.token(NAMES, _fetch("b", 1200), now=NOW + 570).value == "b"


@pytest.mark.attack(279)
def test_files_are_for_their_owner_only(store: FileTokenStore) -> None:
    before = os.umask(0)
    try:
        store.token(NAMES, _fetch("a"), now=NOW)
    finally:
        os.umask(before)
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in store.folder.iterdir()} == {0o600}
    assert {path.suffix for path in store.folder.iterdir()} == {"", ".lock"}


def test_refresh_token_is_not_kept(store: FileTokenStore) -> None:
    store.token(NAMES, _fetch("a"), now=NOW)
    assert not any("refresh-canary" in path.read_text() for path in store.folder.iterdir())


@pytest.mark.attack(279)
@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "\x00", '{"value": 1, "expires_at": 2e9, "scope": null, "token_type": "x", "leeway": 0}'],
)
def test_broken_file_is_ignored(store: FileTokenStore, text: str) -> None:
    store.token(NAMES, _fetch("a"), now=NOW)
    (store.folder / digest(NAMES)).write_text(text)
    assert store.token(NAMES, _fetch("b"), now=NOW).value == "b"
    assert store.token(NAMES, _never, now=NOW).value == "b"


@pytest.mark.parametrize("expires_at", ["Infinity", "NaN", "1e18"])
def test_file_that_never_ends_is_ignored(store: FileTokenStore, expires_at: str) -> None:
    store.token(NAMES, _fetch("a"), now=NOW)
    path = store.folder / digest(NAMES)
    path.write_text(path.read_text().replace(str(NOW + 600), expires_at))
    assert store.token(NAMES, _fetch("b"), now=NOW).value == "b"


def test_file_of_another_mode_is_ignored(store: FileTokenStore) -> None:
    store.token(NAMES, _fetch("a"), now=NOW)
    (store.folder / digest(NAMES)).chmod(0o644)
    assert store.token(NAMES, _fetch("b"), now=NOW).value == "b"


@pytest.mark.attack(279)
def test_link_is_not_followed(store: FileTokenStore, tmp_path: Path) -> None:
    store.token(NAMES, _fetch("a"), now=NOW)
    path, elsewhere = store.folder / digest(NAMES), tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert store.token(NAMES, _fetch("b"), now=NOW).value == "b"
    assert '"a"' in elsewhere.read_text()
    assert not path.is_symlink()


def test_failure_is_not_kept_and_leaves_no_lock(store: FileTokenStore) -> None:
    with pytest.raises(AssertionError):
        store.token(NAMES, _never, now=NOW)
    assert store.token(NAMES, _fetch("a"), now=NOW).value == "a"


def test_forgotten_token_is_fetched_again(store: FileTokenStore) -> None:
    store.token(NAMES, _fetch("a"), now=NOW)
    store.forget(NAMES, "a")
    store.forget(NAMES, "a")
    assert store.token(NAMES, _fetch("b"), now=NOW).value == "b"


def test_token_fetched_by_another_process_is_not_forgotten(store: FileTokenStore) -> None:
    store.token(NAMES, _fetch("b"), now=NOW)
    store.forget(NAMES, "a")
    assert store.token(NAMES, _never, now=NOW).value == "b"


def test_token_that_ends_too_soon_is_fetched_again(store: FileTokenStore) -> None:
    store.token(NAMES, _fetch("a"), now=NOW)
    assert store.token(NAMES, _never, now=NOW, min_ttl=600).value == "a"
    assert store.token(NAMES, _fetch("b"), now=NOW + 1, min_ttl=600).value == "b"


def test_names_do_not_run_together() -> None:
    assert len({digest(names) for names in [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc")]}) == 5


def test_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotKeep, match="tokens cannot be kept in"):
        FileTokenStore(tmp_path / "file").token(NAMES, _fetch("a"), now=NOW)


def test_processes_side_by_side_make_one_request(store: FileTokenStore, tmp_path: Path) -> None:
    program = f"""
import os, time
from pathlib import Path
from affiant.cli.tokens.kept_tokens import FileTokenStore
from affiant.client.token import Token
def fetch():
    with open({str(tmp_path / "asked")!r}, "a") as file:
        file.write("x")
    time.sleep(0.2)
    return Token("token-of-" + str(os.getpid()), {NOW} + 600, None, leeway=30)
print(FileTokenStore(Path({str(store.folder)!r})).token({NAMES!r}, fetch, now={NOW}).value)
"""
    running = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(6)]
    values = {process.communicate(timeout=30)[0] for process in running}
    assert len(values) == 1
    assert (tmp_path / "asked").read_text() == "x"


def test_a_kept_token_is_checked_once_a_minute(store: FileTokenStore) -> None:
    """Within the minute nothing is asked; a token that was revoked is replaced."""
    asked = list[str]()

    def is_revoked(token: Token) -> bool:
        asked.append(token.value)
        return len(asked) > 1

    store.token(NAMES, _fetch("a"), now=NOW, is_revoked=is_revoked)
    assert store.token(NAMES, _never, now=NOW + 59, is_revoked=is_revoked).value == "a"
    assert asked == []
    assert store.token(NAMES, _never, now=NOW + 60, is_revoked=is_revoked).value == "a"
    assert store.token(NAMES, _never, now=NOW + 119, is_revoked=is_revoked).value == "a"
    assert store.token(NAMES, _fetch("b"), now=NOW + 120, is_revoked=is_revoked).value == "b"
    assert asked == ["a", "a"]


def test_a_clock_that_was_set_back_checks_at_once(store: FileTokenStore) -> None:
    store.token(NAMES, _fetch("a"), now=NOW)
    assert store.token(NAMES, _fetch("b"), now=NOW - 3600, is_revoked=lambda _: True).value == "b"


def test_a_revoked_token_is_gone_although_no_other_comes(store: FileTokenStore) -> None:
    store.token(NAMES, _fetch("a"), now=NOW)
    with pytest.raises(AssertionError, match="asked"):
        store.token(NAMES, _never, now=NOW + 60, is_revoked=lambda _: True)
    assert not (store.folder / digest(NAMES)).exists()
