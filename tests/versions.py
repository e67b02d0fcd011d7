"""`python -m tests.versions`: run a fast part of the tests on every supported Python that is found.

Each version gets an environment with what requirements.lock pins, in .venv-versions. Words are for pytest, in place of
the fast part. An interpreter is found by its name (python3.12), or where pyenv keeps it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
FAST = (
    "tests/unit/jose",
    "tests/unit/oauth",
    "tests/unit/client",
    "tests/unit/resource",
    "tests/unit/cli/registry/importing",
)
_PIP = ("-m", "pip", "-qq", "--disable-pip-version-check", "--no-input", "install")


def main(words: list[str]) -> None:
    """Test each version; exit with 1 if one failed, or none was found."""
    found = {version: python for version in SUPPORTED if (python := find(version))}
    print(f"· not found, and not tested: {', '.join(set(SUPPORTED) - found.keys()) or 'none'}", flush=True)
    failed = [version for version, python in found.items() if not _passes(version, python, words)]
    print(f"· passed: {', '.join(version for version in found if version not in failed) or 'none'}")
    sys.exit(f"· failed: {', '.join(failed)}" if failed or not found else None)


def find(version: str) -> str | None:
    """Return an interpreter of this version that works, if there is one."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    kept = sorted(root.glob(f"{version}.*/bin/python"), reverse=True)
    for python in (shutil.which(f"python{version}"), *map(str, kept)):
        if (
            python is not None
            and not subprocess.run([python, "-c", "import ensurepip"], capture_output=True, check=False).returncode
        ):
            return python
    return None


def _passes(version: str, python: str, words: list[str]) -> bool:
    print(f"· Python {version}", flush=True)
    own = _make(version, python)
    command = [own, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", *(words or FAST)]
    return not subprocess.run(command, cwd=REPO, check=False).returncode


def _make(version: str, python: str) -> str:
    """Return the interpreter of an environment with what the lock pins."""
    folder = REPO / ".venv-versions" / version
    own, stamp, lock = str(folder / "bin" / "python"), folder / "installed", REPO / "requirements.lock"
    if not stamp.exists() or stamp.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([own, *_PIP, "--require-hashes", "--requirement", str(lock)], check=True)
        stamp.touch()
    subprocess.run([own, *_PIP, "--no-deps", "--no-build-isolation", "--editable", str(REPO)], check=True)
    return own


if __name__ == "__main__":
    main(sys.argv[1:])
