"""`make quick`: which tests a change selects."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests import quick

FILES = {
    "src/affiant/jose/__init__.py": "",
    "src/affiant/jose/jwk.py": "",
    "src/affiant/client/__init__.py": "from affiant.client.identity import Service\nfrom affiant.jose import jwk",
    "src/affiant/client/identity.py": "class Service: ...",
    "src/affiant/server/token/issue.py": "",
    "tests/keys.py": "from affiant.jose import jwk",
    "tests/test_house.py": "",
    "tests/test_reference.py": "",
    "tests/unit/test_errors.py": "",
    "tests/unit/jose/test_jwk.py": "",
    "tests/unit/jose/test_pem.py": "",
    "tests/unit/server/test_settings.py": "",
    "tests/unit/server/keys/conftest.py": "",
    "tests/unit/server/keys/test_vault.py": "",
    "tests/rfc/test_keys.py": "import tests.keys",
    "tests/rfc/test_client.py": "from affiant.client import Service",
    "tests/rfc/test_token.py": "from affiant.server.token import issue",
    "tests/e2e/test_cli.py": "from tests.keys import make",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small repository."""
    folder = tmp_path_factory.mktemp("repository")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("changed", "run"),
    [
        ((), ()),
        (("tests/unit/jose/test_pem.py",), ("unit/jose/test_pem.py",)),
        (("tests/unit/server/keys/conftest.py",), ("unit/server/keys/test_vault.py",)),
        (("src/affiant/jose/jwk.py",), ("unit/jose/test_jwk.py", "unit/jose/test_pem.py", "rfc/test_keys.py")),
        (("src/affiant/server/token/issue.py",), ("unit/server/test_settings.py", "rfc/test_token.py")),
        (("src/affiant/client/identity.py",), ("unit/test_errors.py", "rfc/test_client.py")),
        (("src/affiant/errors.py",), ("unit/test_errors.py",)),
        (("tests/keys.py",), ("rfc/test_keys.py",)),
        (("docs/how-to/interop.md",), ("test_reference.py",)),
        (("pyproject.toml", "tests/conftest.py"), ()),
    ],
    ids=[
        "nothing",
        "test",
        "fixtures",
        "harness reaches",
        "folder above",
        "re-export",
        "root",
        "harness",
        "page",
        "rest",
    ],
)
def test_a_change_selects_its_tests(root: Path, changed: tuple[str, ...], run: tuple[str, ...]) -> None:
    core = ("tests/test_house.py",)
    assert quick.select(changed, root).run == (*(f"tests/{name}" for name in run), *core)


def test_a_slow_suite_is_named_and_left_out(root: Path) -> None:
    assert quick.select(["src/affiant/jose/jwk.py"], root).slow == ("tests/e2e/test_cli.py",)


def test_the_core_exists() -> None:
    assert all((quick.REPO / name).is_file() for name in (*quick.CORE, quick.PAGES_TEST))
    assert all((quick.REPO / "tests" / name).is_dir() for name in quick.SLOW)


def test_uncommitted_and_untracked_files_are_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "REPO", tmp_path)
    names = ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE")
    for name in names:
        monkeypatch.delenv(name, raising=False)

    def git(*words: str) -> None:
        identity = ("-c", "user.name=x", "-c", "user.email=x@example", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init", "--initial-branch=main")
    for number, name in enumerate(("kept", "committed", "uncommitted")):
        (tmp_path / name).write_text(str(number))
    git("add", ".")
    git("commit", "--message=base")
    git("checkout", "-b", "topic")
    (tmp_path / "committed").write_text("changed")
    git("commit", "--all", "--message=change")
    (tmp_path / "uncommitted").write_text("changed")
    (tmp_path / "é").write_text("untracked")
    assert quick.changed_files(quick.merge_base()) == {"committed", "uncommitted", "é"}


@pytest.mark.parametrize(("seconds", "outcome"), [("-1", "skipped"), ("600", "passed")])
def test_nothing_begins_after_the_deadline(tmp_path: Path, seconds: str, outcome: str) -> None:
    (tmp_path / "test_one.py").write_text("def test_one(): pass")
    words = ["-p", "tests.quick", "-p", "no:cacheprovider", "-c", os.devnull, "--quick-seconds", seconds]
    command = [sys.executable, "-m", "pytest", *words, str(tmp_path / "test_one.py")]
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=quick.REPO, env=alone, capture_output=True, text=True, timeout=60, check=False)
    assert f"1 {outcome}" in done.stdout
    assert ("no time was left" in done.stdout) == (outcome == "skipped")
