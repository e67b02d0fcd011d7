"""`python -m reference.release 0.2.0`: write the version, its section of the changelog, and the pages that name it.

It commits nothing, and may run again when more fragments have come. CONTRIBUTING.md says what follows.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from reference import changelog

_VERSION = re.compile(r'^__version__ = "[^"]*"$', re.MULTILINE)
_CHART = re.compile(r'^((?:version|appVersion): "?)[0-9][^"\s]*("?)$', re.MULTILINE)
_WHEEL = re.compile(r"(?<=/affiant-)[0-9][0-9.]*(?=-py3)")


def main(words: list[str], repo: Path = changelog.REPO) -> str:
    """Write version and changelog, and return what was done."""
    done = changelog.main(words, repo)
    _replace(repo / "src" / "affiant" / "system" / "version.py", _VERSION, f'__version__ = "{words[0]}"', times=1)
    for chart in (repo / "deploy").rglob("Chart.yaml"):
        _replace(chart, _CHART, rf"\g<1>{words[0]}\g<2>", times=2)
    for page in (repo / "docs").rglob("deploy.md"):
        _replace(page, _WHEEL, words[0], times=1)
    return f"{done}; the version is {words[0]}"


def _replace(file: Path, pattern: re.Pattern[str], new: str, *, times: int) -> None:
    text, count = pattern.subn(new, file.read_text("utf-8"))
    if count != times:
        raise ValueError(f"{file} has a version in {count} lines, not in {times}")
    file.write_text(text, "utf-8")


if __name__ == "__main__":
    sys.stdout.write(f"{main(sys.argv[1:])}\n")
    # A new process: this one has the version of before.
    sys.exit(subprocess.run([sys.executable, "-m", "reference"], cwd=changelog.REPO, check=False).returncode)
