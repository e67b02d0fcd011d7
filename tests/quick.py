"""`make quick`: the tests of a change, within a minute.

The change is everything since this branch left its upstream, committed or not. Its tests are the test files it touches,
those in the unit folder that mirrors a changed module, those that import a changed module themselves, and CORE. The slow
suites are left to `make test`.

No database server is started. As a pytest plugin (`-p tests.quick`), skip every test after the deadline.
"""

import argparse
import ast
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from tests.postgres import ENVIRONMENT, NONE

REPO = Path(__file__).resolve().parent.parent
CORE = (
    "tests/test_house.py",
    "tests/test_prose.py",
    "tests/unit/test_values.py",
    "tests/unit/jose/test_compact.py",
    "tests/unit/oauth/test_assertion.py",
    "tests/unit/oauth/test_access_token.py",
    "tests/rfc/test_rfc7523.py",
)
PAGES, PAGES_TEST = ("docs/", "reference/", "README.md"), "tests/test_reference.py"
SLOW = ("chaos", "conformance", "differential", "e2e", "fuzz", "interop", "oracle", "races", "vectors", "zoo")

SECONDS = 40  # from the first test on: the minute has room for collecting them, and for the last one's end
DEADLINE = pytest.StashKey[float]()
TOO_LATE = "make quick is out of time"


@dataclass(frozen=True)
class Selection:
    """Test files to run, the nearest to the change first, and those left out because their suite is slow."""

    run: tuple[str, ...]
    slow: tuple[str, ...]


def select(changed: Iterable[str], root: Path = REPO) -> Selection:
    """Choose test files for changed files; all are paths from the repository's root."""
    changed = sorted(changed)
    tests = [path.relative_to(root).as_posix() for path in sorted(root.glob("tests/**/test_*.py"))]
    modules = {module_name(path) for path in changed}
    imported = {test: imports(test, root) for test in tests}
    found = [test for test in tests if test in changed or any(_is_fixture_of(test, path) for path in changed)]
    found += [test for path in changed for test in _mirror(path, root)]
    found += sorted((test for test in tests if modules & imported[test]), key=lambda test: len(imported[test]))
    found += [test for test in CORE if test in tests]
    slow = tuple(test for test in dict.fromkeys(found) if test.split("/")[1] in SLOW)
    return Selection(tuple(test for test in dict.fromkeys(found) if test not in slow), slow)


def module_name(path: str) -> str:
    """Return the name by which a file is imported: affiant.jose.jwk for src/affiant/jose/jwk.py."""
    return path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(test: str, root: Path) -> set[str]:
    """Return the names a test imports, itself or through modules of the tests and the re-exports of packages."""
    found, todo = set[str](), [test]
    while todo:
        path = todo.pop()
        importer = module_name(path)
        for name in _names(root / path):
            if name not in found and (importer.startswith("tests.") or name.startswith(f"{importer}.")):
                found.add(name)
                place = name.replace(".", "/")
                todo += [file for file in (f"{place}.py", f"src/{place}/__init__.py") if (root / file).is_file()]
    return found


@cache
def _names(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def _is_fixture_of(test: str, path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return name == "conftest.py" and folder != "tests" and test.startswith(f"{folder}/")


def _mirror(path: str, root: Path) -> list[str]:
    """Return the tests in the unit folder of this module, or in the nearest one above that has tests."""
    if path.startswith(PAGES):
        return [PAGES_TEST]
    if not path.startswith("src/affiant/"):
        return []
    unit = root / "tests" / "unit"
    folder = unit.joinpath(*Path(path).parts[2:-1])
    while not (found := sorted(folder.glob("test_*.py"))) and folder != unit:
        folder = folder.parent
    own = f"test_{Path(path).name}"
    return [test.relative_to(root).as_posix() for test in sorted(found, key=lambda test: test.name != own)]


def merge_base() -> str:
    """Return the commit where HEAD left its upstream branch, or main where it has none; HEAD where there is neither."""
    for branch in ("@{upstream}", "origin/main", "main"):
        words = ["git", "merge-base", "HEAD", branch]
        found = subprocess.run(words, cwd=REPO, capture_output=True, text=True, check=False)
        if found.returncode == 0:
            return found.stdout.strip()
    return "HEAD"


def changed_files(base: str) -> set[str]:
    """Return the files that differ from this commit, those that git does not track yet included."""
    found = _git("diff", "--name-only", "--no-renames", "-z", base, "--")
    return found | _git("ls-files", "--others", "--exclude-standard", "-z")


def _git(*words: str) -> set[str]:
    done = subprocess.run(["git", *words], cwd=REPO, capture_output=True, text=True, check=True)
    return set(filter(None, done.stdout.split("\0")))


def main() -> int:
    """Select, say what is selected, and run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.quick", description="Run the tests of a change.")
    parser.add_argument("--base", default="", help="compare with this commit instead of the upstream's")
    options, more = parser.parse_known_args()
    base = options.base or merge_base()
    changed = changed_files(base)
    selection = select(changed)
    print(
        f"· {len(changed)} files changed since {base[:12]}: {len(selection.run)} test files", *selection.run, sep="\n  "
    )
    if selection.slow:
        print("· left to make test, for their suites are slow:", *selection.slow, sep="\n  ")
    processes = ("--numprocesses=auto", "--maxprocesses=4", "--dist=loadfile", "--no-loadscope-reorder")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.quick", *processes, *more, *selection.run]
    environment = {**os.environ, ENVIRONMENT: NONE}
    return subprocess.run(command, cwd=REPO, env=environment, check=False).returncode


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take another time limit."""
    parser.addoption("--quick-seconds", type=float, default=SECONDS, help="begin no test after so many seconds")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the clock."""
    session.config.stash[DEADLINE] = time.monotonic() + session.config.getoption("--quick-seconds")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what would begin after the deadline."""
    if time.monotonic() > item.config.stash[DEADLINE]:
        pytest.skip(TOO_LATE)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the files that had no time."""
    skipped = terminalreporter.stats.get("skipped", [])
    late = {report.nodeid.partition("::")[0] for report in skipped if TOO_LATE in str(report.longrepr)}
    if late:
        terminalreporter.write_line(f"· no time was left for {len(late)} test files, or for the rest of them:")
        for name in sorted(late):
            terminalreporter.write_line(f"  {name}")


if __name__ == "__main__":
    sys.exit(main())
