"""The units of deploy/systemd: right for systemd, hardened, and as the server needs them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[3]
UNITS = REPO / "deploy" / "systemd"
TOOL = shutil.which("systemd-analyze")
MOST_EXPOSED = 13  # tenths of `systemd-analyze security`: 0 is locked up, 100 is open
needs_tool = pytest.mark.skipif(TOOL is None, reason="systemd-analyze is not installed")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with a program that exists."""
    text = (UNITS / "affiant.service").read_text("utf-8")
    assert "ExecStart=/opt/affiant/bin/affiant serve\n" in text
    (tmp_path / "affiant.service").write_text(text.replace("/opt/affiant/bin/affiant", "/bin/true"), "utf-8")
    shutil.copy(UNITS / "affiant.socket", tmp_path)
    return tmp_path


def _analyze(*words: str) -> str:
    done = subprocess.run([str(TOOL), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_tool
def test_units_are_right(units: Path) -> None:
    said = _analyze("verify", "--man=no", str(units / "affiant.service"), str(units / "affiant.socket"))
    assert not said.strip()


@needs_tool
def test_service_is_hardened(units: Path) -> None:
    said = _analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(units / "affiant.service"))
    assert re.search(r"Overall exposure level for affiant.service: [01]\.\d OK", said)


def test_time_limits_are_those_of_the_server() -> None:
    from affiant.cli.server.listening.table import RESERVE, Caps
    from affiant.cli.server.supervision.master import LEAVE_SECONDS, START_SECONDS

    text = (UNITS / "affiant.service").read_text("utf-8")
    found = dict(re.findall(r"^(\w+)=(\d+)", text, re.MULTILINE))
    assert int(found["TimeoutStopSec"]) > LEAVE_SECONDS
    assert int(found["TimeoutStartSec"]) * 60 >= START_SECONDS
    assert int(found["LimitNOFILE"]) >= Caps().total + RESERVE
