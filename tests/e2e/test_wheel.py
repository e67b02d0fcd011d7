"""The wheel, built and installed into a folder of its own: its programs, its manual pages, its mark for type checkers."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from reference.pages import MANUAL

ROOT = Path(__file__).resolve().parents[2]
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel is installed: without its dependencies, which this environment has."""
    folder = tmp_path_factory.mktemp("wheel")
    for words in (
        ("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)),
        (
            "install",
            "--no-deps",
            "--ignore-installed",
            "--prefix",
            str(folder / "usr"),
            "--find-links",
            str(folder),
            "--no-index",
            "affiant",
        ),
    ):
        done = subprocess.run([*PIP, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "usr"


def packages(prefix: Path) -> Path:
    return Path(sysconfig.get_path("purelib", vars={"base": str(prefix)}))


def test_programs_run(prefix: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(packages(prefix))}
    for words, starts in (
        (("affiant", "--version"), "affiant, version "),
        (("docker-credential-affiant", "--help"), "Usage: affiant helper docker"),
    ):
        program = prefix / "bin" / words[0]
        done = subprocess.run([program, *words[1:]], env=environment, capture_output=True, text=True, check=False)
        assert done.stdout.startswith(starts), done.stderr


def test_manual_pages_are_found(prefix: Path) -> None:
    pages = prefix / "share" / "man" / "man1"
    assert {path.name for path in pages.iterdir()} == {path.name for path in MANUAL.iterdir()}
    if shutil.which("man") is None:
        pytest.skip("man is not installed: the pages are not looked up")
    environment = {**os.environ, "MANPATH": str(prefix / "share" / "man"), "LC_ALL": "C.UTF-8"}
    found = subprocess.run(["man", "-w", "affiant-token"], env=environment, capture_output=True, text=True, check=False)
    assert found.stdout.strip() == str(pages / "affiant-token.1"), found.stderr
    shown = subprocess.run(
        ["man", "--warnings", "affiant-token"], env=environment, capture_output=True, text=True, check=False
    )
    assert "Print an access token" in shown.stdout
    assert shown.stderr == ""


def test_types_are_marked(prefix: Path) -> None:
    assert (packages(prefix) / "affiant" / "py.typed").exists()


def test_console_is_whole(prefix: Path) -> None:
    """Each template, module and style of the console is in the wheel."""
    folder = ROOT / "src" / "affiant" / "server" / "console"
    wanted = {path.relative_to(folder) for kind in ("templates", "static") for path in (folder / kind).rglob("*.*")}
    installed = packages(prefix) / "affiant" / "server" / "console"
    assert {path for path in wanted if path.suffix != ".pyc" and not (installed / path).is_file()} == set()
