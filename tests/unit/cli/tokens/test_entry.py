"""The quick way to a kept token prints what the command prints, or leaves it to the command."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests import process
from tests.unit.client.conftest import Foreign

from affiant.cli import entry
from affiant.client import FileTokenStore
from affiant.client.cache.stores import kept
from affiant.client.credentials.file import Credentials
from affiant.client.token import Token
from affiant.jose.keys import PrivateKey

API, OTHER = "https://orders.example", "https://other.example"
QUICK, LEFT = True, False
NOBODY = "http://127.0.0.1:1"  # a server that nothing listens at: a command that asks it says so


@pytest.fixture
def mine(key: PrivateKey) -> Credentials:
    return Credentials(NOBODY, "billing", "private_key_jwt", kid=key.kid, key=key.to_jwk(), scope="a b", resource=API)


@pytest.fixture
def home(tmp_path: Path, mine: Credentials, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with credentials and a token for each of some requests."""
    for name in [name for name in os.environ if name.startswith("AFFIANT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    mine.write(tmp_path / "my.affiant.json")
    keep(tmp_path, mine, "of-the-file")
    keep(tmp_path, mine, "of-a", scope="a")
    keep(tmp_path, replace(mine, scope=None), "of-other", resource=OTHER)
    keep(tmp_path, mine, "of-both", scope="c", resource=OTHER)
    return tmp_path


def keep(
    home: Path,
    mine: Credentials,
    value: str,
    *,
    resource: str | None = None,
    scope: str | None = None,
    life: float = 600,
    checked: float = 0,
) -> Path:
    now = time.time()
    members = {name: getattr(mine, name) for name in mine.__dataclass_fields__}
    name = kept.digest(kept.names_of(members, mine.key_mark, resource, scope))
    token = Token(value, now + life, scope, leeway=30)
    store = FileTokenStore(home / "cache" / "affiant" / "tokens")
    store.put(name, kept.build(token, checked_at=now - checked), 3600)
    return store.folder / name


def compare(home: Path, words: list[str], way: bool) -> str:
    """Return what the quick way prints, which must be what the command prints; what it leaves is the command's."""
    quick = entry.find_line(words)
    assert (quick is not None) is way, words
    if quick is None:
        return ""
    done = process.run(home, *words, XDG_CACHE_HOME=str(home / "cache"))
    assert (done.stdout, done.stderr, done.returncode) == (quick, "", 0), words
    return quick


C = ["-c", "my.affiant.json"]
ROWS: list[tuple[list[str], bool]] = [
    ([*C], QUICK),
    (["--credentials", "my.affiant.json"], QUICK),
    ([*C, "--scope", "a"], QUICK),
    ([*C, "--scope", "a b"], QUICK),
    ([*C, "--resource", API], QUICK),
    ([*C, "--resource", API, "--scope", "a"], QUICK),
    ([*C, "--resource", OTHER], QUICK),
    ([*C, "--resource", OTHER, "--scope", "c"], QUICK),
    (["--resource", OTHER, "--scope", "c", *C], QUICK),
    ([*C, "--header"], QUICK),
    ([*C, "--env"], QUICK),
    ([*C, "--json"], QUICK),
    ([*C, "--json", "--scope", "a"], QUICK),
    ([*C, "--json", "--header"], QUICK),
    ([*C, "--min-ttl", "0"], QUICK),
    ([*C, "--min-ttl", "0500"], QUICK),
    ([*C, "--min-ttl", "5000"], LEFT),
    ([*C, "--min-ttl", "-1"], LEFT),
    ([*C, "--min-ttl", "x"], LEFT),
    ([*C, "--min-ttl", "1.0"], LEFT),
    ([*C, "--min-ttl", "\u0661"], LEFT),
    ([*C, "--min-ttl", "9" * 20], LEFT),
    ([*C, "--scope", "unknown"], LEFT),
    ([*C, "--scope", ""], LEFT),
    ([*C, "--scope"], LEFT),
    ([*C, "--scope=a"], LEFT),
    (["-cmy.affiant.json"], LEFT),
    (["--credentials=my.affiant.json"], LEFT),
    ([*C, "--scop", "a"], LEFT),
    ([*C, "--header", "--env"], LEFT),
    ([*C, *C], LEFT),
    ([*C, "--no-cache"], LEFT),
    ([*C, "-h"], LEFT),
    ([*C, "--help"], LEFT),
    ([*C, "--"], LEFT),
    ([*C, "more"], LEFT),
    ([*C, "--json", "--unknown"], LEFT),
    (["-c", "none.affiant.json"], LEFT),
    (["-c", "."], LEFT),
    (["-c", ""], LEFT),
    (["-c"], LEFT),
    (["-c", "-"], LEFT),
    ([], LEFT),
]


@pytest.mark.parametrize(("words", "way"), ROWS, ids=lambda part: " ".join(part) if isinstance(part, list) else "")
def test_both_ways_print_the_same(home: Path, words: list[str], way: bool) -> None:
    compare(home, ["token", *words], way)


@pytest.mark.parametrize("words", [[], ["call"], ["help", "token"], ["token", "token"], ["--version"], ["tok"]])
def test_other_commands_are_left(home: Path, words: list[str]) -> None:
    assert entry.find_line([*words, *C] if words else []) is None


PLACES: list[tuple[Callable[[Path], dict[str, str]], bool]] = [
    (lambda home: {"AFFIANT_CREDENTIALS": str(home / "my.affiant.json")}, QUICK),
    (lambda _: {"AFFIANT_CREDENTIALS": "./my.affiant.json"}, QUICK),
    (lambda home: {"AFFIANT_CREDENTIALS": f'"{home / "my.affiant.json"}"'}, LEFT),
    (lambda home: {"AFFIANT_CREDENTIALS": (home / "my.affiant.json").read_text()}, LEFT),
    (lambda _: {"AFFIANT_CREDENTIALS": "/none.affiant.json"}, LEFT),
    (lambda _: {"AFFIANT_CREDENTIALS": "./my.affiant.json", "AFFIANT_KEY": "x"}, LEFT),
    (lambda home: {"CREDENTIALS_DIRECTORY": str(_copy(home, "secrets/affiant").parent)}, QUICK),
    (lambda home: {"CREDENTIALS_DIRECTORY": str(_copy(home, "secrets/affiant.json").parent)}, QUICK),
    (lambda home: {"CREDENTIALS_DIRECTORY": str(home), "HOME": str(_copy(home, ".config/affiant/x.affiant.json").parents[2])}, QUICK),
    (lambda home: {"XDG_CONFIG_HOME": str(_copy(home, "config/affiant/x.affiant.json").parent.parent)}, QUICK),
    (lambda home: {"XDG_CONFIG_HOME": str(_two(home))}, LEFT),
    (lambda _: {"XDG_CONFIG_HOME": "relative"}, LEFT),
    (lambda _: {}, LEFT),
]  # fmt: skip


def _copy(home: Path, name: str) -> Path:
    (home / name).parent.mkdir(parents=True, exist_ok=True)
    (home / name).write_text((home / "my.affiant.json").read_text())
    (home / name).chmod(0o600)
    return home / name


def _two(home: Path) -> Path:
    _copy(home, "config/affiant/y.affiant.json")
    return _copy(home, "config/affiant/x.affiant.json").parent.parent


@pytest.mark.parametrize(("place", "way"), PLACES)
def test_credentials_are_found_in_the_same_places(
    home: Path, place: Callable[[Path], dict[str, str]], way: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if any(Path("/run/secrets", name).exists() for name in ("affiant", "affiant.json")):
        pytest.skip("/run/secrets has credentials")
    for name, value in place(home).items():
        monkeypatch.setenv(name, value)
    printed = compare(home, ["token"], way)
    assert printed == ("of-the-file\n" if way else "")


CHANGES: list[tuple[dict[str, Any], bool]] = [
    ({}, QUICK),
    ({"next_key": {"kty": "EC"}}, QUICK),
    ({"affiant": 2}, LEFT),
    ({"issuer": 1}, LEFT),
    ({"issuer": None}, LEFT),
    ({"client_id": ["x"]}, LEFT),
    ({"scope": "\ud800"}, LEFT),
    ({"key": "x"}, LEFT),
    ({"key": None}, LEFT),
    ({"client_secret": "x"}, LEFT),
    ({"auth_method": "tls_client_auth"}, LEFT),
    ({"certificate_key": "x.pem"}, LEFT),
    ({"certificate": "x.pem"}, LEFT),
    ({"key_file": "x.pem"}, LEFT),
    ({"unknown": "x"}, LEFT),
]


@pytest.mark.parametrize(("change", "way"), CHANGES)
def test_credentials_are_read_alike(home: Path, change: dict[str, Any], way: bool) -> None:
    path = home / "my.affiant.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    compare(home, ["token", *C], way)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '"x"', "\ufeff{}", "\x00", "[" * 100_000])
def test_what_are_no_credentials_is_left(home: Path, text: str) -> None:
    (home / "my.affiant.json").write_text(text)
    compare(home, ["token", *C], LEFT)


def test_credentials_that_others_may_read_are_left(home: Path) -> None:
    (home / "my.affiant.json").chmod(0o644)
    compare(home, ["token", *C], LEFT)


TOKENS: list[tuple[dict[str, Any], bool]] = [
    ({"life": 120}, QUICK),
    ({"life": 59}, LEFT),
    ({"life": -1}, LEFT),
    ({"life": 10**6}, LEFT),
    ({"checked": 55}, QUICK),
    ({"checked": 61}, LEFT),
    ({"checked": -100}, LEFT),
    ({"expires_at": "NaN"}, LEFT),
    ({"expires_at": None}, LEFT),
    ({"leeway": 500.0}, QUICK),
    ({"leeway": 601}, LEFT),
    ({"value": "a\x1b[31mb"}, LEFT),
    ({"value": "a'b;c"}, LEFT),
    ({"value": "\u00e9"}, LEFT),
    ({"value": 1}, LEFT),
    ({"value": ""}, LEFT),
    ({"scope": "\u00e9 \x1b"}, QUICK),
    ({"scope": 1}, LEFT),
    ({"renew_at": 1.0}, LEFT),
]


@pytest.mark.parametrize(("change", "way"), TOKENS)
def test_tokens_are_judged_alike(home: Path, mine: Credentials, change: dict[str, Any], way: bool) -> None:
    path = keep(home, mine, "of-the-file", **{name: change[name] for name in ("life", "checked") if name in change})
    content = {**json.loads(path.read_text()), **change}
    path.write_text(json.dumps(content))
    compare(home, ["token", *C, "--json"], way)


def test_a_token_of_another_mode_or_behind_a_link_is_left(home: Path, mine: Credentials) -> None:
    path = keep(home, mine, "of-the-file")
    path.chmod(0o644)
    assert entry.find_line(["token", *C]) is None
    path.chmod(0o600)
    assert entry.find_line(["token", *C]) == "of-the-file\n"
    path.rename(home / "elsewhere")
    path.symlink_to(home / "elsewhere")
    assert entry.find_line(["token", *C]) is None


def test_a_user_without_a_home_is_left(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr("affiant.client.cache.stores.kept.folder", lambda _: None)
    assert entry.find_line(["token", *C]) is None


def _program(home: Path, *words: str) -> list[str]:
    return [sys.executable, "-c", "from affiant.cli.entry import main; main()", *words]


def test_the_program_prints_it_and_loads_little(home: Path) -> None:
    """Neither click nor what it needs: a script that asks for each request waits for Python, and little more."""
    text = (
        "import sys, atexit\natexit.register(lambda: print(*sys.modules))\nfrom affiant.cli.entry import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", text, "token", *C], capture_output=True, text=True, check=True)
    token, modules = done.stdout.splitlines()
    assert token == "of-the-file"
    loaded = set(modules.split())
    assert not loaded & {"click", "typing", "dataclasses", "inspect", "pathlib", "logging", "affiant.cli.main", "ssl"}
    ours = sorted(name for name in loaded if name.startswith("affiant"))
    assert len(ours) <= 9, ours


def test_the_program_runs_every_other_command(home: Path) -> None:
    done = subprocess.run(_program(home, "--version"), capture_output=True, text=True, check=True)
    assert done.stdout.startswith("affiant, version")
    wrong = subprocess.run(_program(home, "token", "--nothing"), capture_output=True, text=True, check=False)
    assert (wrong.returncode, "affiant token --help" in wrong.stderr) == (2, True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_output_that_cannot_be_written_is_reported_alike(home: Path) -> None:
    slow = [sys.executable, "-m", "affiant.cli.main", "token", *C]
    results = []
    for command in (_program(home, "token", *C), slow):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        results.append((done.returncode, done.stderr))
    assert results[0] == results[1]
    assert "No space left" in results[0][1]


def test_a_new_token_is_found_by_the_quick_way(home: Path, mine: Credentials, foreign: Foreign) -> None:
    """The next run prints the token that the command kept."""
    replace(mine, issuer=foreign.url).write(home / "live.affiant.json")
    words = ["token", "-c", "live.affiant.json"]
    assert entry.find_line(words) is None
    done = process.run(home, *words, XDG_CACHE_HOME=str(home / "cache"))
    assert (done.returncode, done.stdout) == (0, "token-1\n")
    assert entry.find_line(words) == "token-1\n"
    assert len(foreign.sent("/token")) == 1


def test_closed_output_is_left_to_the_command(home: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m affiant.cli.entry token -c my.affiant.json >&-"],
        cwd=home, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
