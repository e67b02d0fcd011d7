"""`.ci/run`: the second try of failed tests cannot hide any other failure."""

import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
# Stands for make: notes its target, and fails where the test wants it to.
MAKE = '#!/bin/sh\necho "make $*" >>log\ncase " $FAILS " in *" $1 "*) exit 1;; esac\n'
PYTEST = '#!/bin/sh\necho "again $*" >>log\ncase " $FAILS " in *" again "*) exit 1;; esac\n'


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("fails", "passes", "runs"),
    [
        ("", True, ["make lint", "make docs", "make tests", "make interop", "make counts"]),
        ("lint", False, ["make lint"]),
        ("lint tests", False, ["make lint"]),
        ("docs", False, ["make lint", "make docs"]),
        ("tests", True, ["make lint", "make docs", "make tests", "again", "make interop", "make counts"]),
        ("interop", False, ["make lint", "make docs", "make tests", "make interop"]),
        ("counts", False, ["make lint", "make docs", "make tests", "make interop", "make counts"]),
        ("tests again", False, ["make lint", "make docs", "make tests", "again"]),
    ],
)
def test_only_failed_tests_have_a_second_try(tmp_path: Path, *, fails: str, passes: bool, runs: list[str]) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(REPO / ".ci" / "run", tmp_path / ".ci" / "run")
    _program(tmp_path / "bin" / "make", MAKE)
    _program(tmp_path / "bin" / "apt-get", "#!/bin/sh\nexit 1\n")
    _program(tmp_path / ".venv" / "bin" / "python", PYTEST)
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "PYTHON": "python3", "FAILS": fails}
    done = subprocess.run([tmp_path / ".ci" / "run"], env=environment, capture_output=True, check=False, timeout=60)
    assert (done.returncode == 0) == passes
    log = (tmp_path / "log").read_text().splitlines()
    assert [line[: len(run)] for line, run in zip(log, runs, strict=True)] == runs
