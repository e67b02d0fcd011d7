"""The work of a token, of a check by the guard and of a cached token stays what it was; `make counts` says more."""

import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent


def test_the_bytecodes_of_the_roads_are_as_expected() -> None:
    command = [sys.executable, "-m", "bench.counts", "--bytecodes"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
