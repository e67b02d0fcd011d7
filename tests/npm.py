"""Packages of the npm registry, installed as a lock pins them, for tests that run other people's programs."""

import shutil
import subprocess
from pathlib import Path

import pytest


def install(project: Path, folder: Path, *, seconds: float) -> Path:
    """Copy the project into this folder and install what its lock pins; skip the test without npm or its registry."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not found: install Node 20 or newer for the tests with its programs")
    shutil.copytree(project, folder, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        pytest.skip(f"the npm registry did not answer within {seconds:.0f} s: nothing to test with")
    if done.returncode:
        # A lock that does not fit package.json (EUSAGE) or its hashes (EINTEGRITY) is our mistake, not the network's.
        assert "EUSAGE" not in done.stderr, done.stderr
        assert "EINTEGRITY" not in done.stderr, done.stderr
        pytest.skip(f"the npm registry cannot be reached: nothing to test with ({_code(done.stderr)})")
    return folder


def _code(stderr: str) -> str:
    codes = [line.rpartition(" ")[2] for line in stderr.splitlines() if line.startswith("npm error code ")]
    return codes[0] if codes else "npm ci failed"
