"""What a person at a terminal meets: one clear line, and the exit code of its class."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Server


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "affiant.cli.main", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def test_demo_ends_well(tmp_path: Path) -> None:
    """The demo walks every step."""
    done = _run(tmp_path, "demo", "--once")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every step did what it says." in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["client", "new", "x", "--scpe", "y"], 2, "--scope"),
        (["token"], 8, "AFFIANT_CREDENTIALS"),
        (["token", "-c", "nowhere.json"], 3, "nowhere.json"),
        (["client", "show", "nobody"], 3, "nobody"),
        (["client", "new", "a b"], 8, "1 to 64"),
        (["serve", "--data", "/proc/nowhere"], 3, "--data"),
        (["serve", "--issuer", "http://as.example"], 8, "https://"),
        (["serve", "--port", "99999"], 8, "port"),
        (["inspect", "no.jwt"], 8, "not a signed JWT"),
        (["client", "new", "z", "--auth", "client_secret_basic", "--alg", "ES256"], 8, "no algorithm"),
    ],
)
def test_mistakes_give_one_line(tmp_path: Path, words: list[str], code: int, says: str) -> None:
    """No mistake gives a traceback."""
    done = _run(tmp_path, *words)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    as_json = _run(tmp_path, *words, "--json")
    assert json.loads(as_json.stdout)["ok"] is False


def test_taken_port(server: Server, tmp_path: Path) -> None:
    """A port that is taken is named."""
    done = _run(tmp_path, "serve", "--port", str(server.port))
    assert done.returncode == 8
    assert f"127.0.0.1:{server.port}" in done.stderr


def test_refusal_is_told(server: Server) -> None:
    """What the server refuses is printed with its trace."""
    server.affiant("client", "new", "narrow", "--scope", "orders.read")
    done = server.run("token", "-c", "narrow.affiant.json", "--scope", "orders.write")
    assert done.returncode == 4
    assert "invalid_scope" in done.stderr
    assert "trace" in done.stderr


def test_credentials_are_private(server: Server) -> None:
    """The file is 0600; one that others may read is refused; the secret is in no listing."""
    made = server.affiant("client", "new", "closed", "--auth", "client_secret_post")
    path = server.folder / "closed.affiant.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made["client_secret"] not in json.dumps(server.affiant("client", "list"))
    path.chmod(0o644)
    assert "chmod 600" in server.run("token", "-c", str(path)).stderr


def test_client_without_server(tmp_path: Path) -> None:
    """Client and api commands need no running server."""
    assert _run(tmp_path, "api", "new", "a", "--identifier", "https://a.example").returncode == 0
    assert _run(tmp_path, "client", "new", "c").returncode == 0
    assert "c  private_key_jwt" in _run(tmp_path, "client", "list").stdout
    assert _run(tmp_path, "client", "new", "c").returncode == 8
