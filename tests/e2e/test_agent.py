"""`affiant agent` as a process of its own, with a server that the test scripts."""

import grp
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.process import AFFIANT, Child, Launch, Server, run
from tests.unit.client.conftest import Answer, Foreign, foreign, key, token_answer

from affiant.cli.workload.agent import agent as agent_command
from affiant.jose.keys import PrivateKey

__all__ = ["foreign", "key"]
Agent = Callable[..., Child]
GONE = Answer(500, {})
HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"


@pytest.fixture
def agent(foreign: Foreign, key: PrivateKey, tmp_path: Path, launch: Launch) -> Agent:
    """Start an agent whose tokens live for two seconds."""
    who = {"affiant": 1, "issuer": foreign.url, "client_id": "billing", "auth_method": "private_key_jwt"}
    (tmp_path / "run").mkdir()
    (tmp_path / "billing.json").touch(0o600)
    (tmp_path / "billing.json").write_text(json.dumps({**who, "key": key.to_jwk()}))

    def start(*words: str, **environment: str) -> Child:
        return launch(*AFFIANT, "agent", "-c", "billing.json", "--to", "run/token", *words, **environment)

    return start


@pytest.fixture
def notified(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        yield systemd


def _life(foreign: Foreign, seconds: int) -> None:
    """Script tokens that live so long, each another one."""
    foreign.script["/token"] = [token_answer(f"short-{number}", seconds) for number in range(1, 60)]


def test_file_is_kept_fresh(agent: Agent, foreign: Foreign, tmp_path: Path, notified: socket.socket) -> None:
    """It is whole at any moment, and there before systemd hears of it."""
    _life(foreign, 2)
    file = tmp_path / "run" / "token"
    child = agent(NOTIFY_SOCKET=str(tmp_path / "notify"))
    assert notified.recv(1000).startswith(b"READY=1\nSTATUS=token valid until ")
    assert file.read_text().startswith("short-")
    assert file.stat().st_mode & 0o777 == 0o600
    seen = set[str]()

    def has_three() -> bool:
        seen.add(file.read_text())
        return len(seen) >= 3

    child.until(has_three)
    assert all(text.startswith("short-") and len(text) <= 8 for text in seen)
    assert child.out.startswith("affiant agent  run/token   valid until ")
    child.process.send_signal(signal.SIGTERM)
    assert child.process.wait(10) == 0
    assert [path.name for path in file.parent.iterdir()] == ["token"], "it stays, and no draft is left"
    assert "short-" not in child.out + child.err
    assert child.err == ""


def test_hangup_renews_now_and_interrupt_ends(agent: Agent, tmp_path: Path) -> None:
    """Each SIGHUP is a new token, also the one of an hour."""
    file = tmp_path / "run" / "token"
    child = agent()
    child.until(lambda: child.out != "")
    assert file.read_text() == "token-1"
    child.process.send_signal(signal.SIGHUP)
    child.until(lambda: file.read_text() == "token-2")
    child.process.send_signal(signal.SIGINT)
    assert child.process.wait(10) == 130
    assert child.err.strip() == "affiant: stopped"


def test_credentials_are_read_each_time(agent: Agent, foreign: Foreign, tmp_path: Path) -> None:
    """A rotated key needs no restart; while the file cannot be read, the token stays."""
    credentials = tmp_path / "billing.json"
    child = agent()
    child.until(lambda: child.out != "")
    text = credentials.read_text()
    credentials.write_text("half a file")
    child.process.send_signal(signal.SIGHUP)
    child.until(lambda: "billing.json is not JSON" in child.err)
    credentials.write_text(text.replace('"billing"', '"renamed"'))
    child.process.send_signal(signal.SIGHUP)
    child.until(lambda: (tmp_path / "run" / "token").read_text() == "token-2")
    assert [request.assertion["iss"] for request in foreign.sent("/token")] == ["billing", "renamed"]


def test_old_token_stays_while_the_server_is_away(agent: Agent, foreign: Foreign, tmp_path: Path) -> None:
    foreign.script["/token"] = [token_answer("first", 4), GONE]
    file = tmp_path / "run" / "token"
    child = agent()
    child.until(lambda: "no new token" in child.err)
    assert "the last token is valid until" in child.err
    assert file.read_text() == "first"
    child.until(lambda: "the server answers again" in child.err)
    assert file.read_text() == "token-1"


def test_wrong_setup_ends_it(agent: Agent, foreign: Foreign, tmp_path: Path) -> None:
    foreign.default["/token"] = Answer(401, {"error": "invalid_client"})
    assert agent().process.wait(30) == 4
    del foreign.default["/token"]
    for words, says in (
        (("--min-ttl", "4000"), "tokens of this server do not live for --min-ttl 4000 seconds"),
        (("--group", "no-such-group"), "--group names no group"),
        (("--exec", "'"), "--exec cannot be split"),
    ):
        done = run(tmp_path, "agent", "-c", "billing.json", "--to", "run/token", *words)
        assert (done.returncode, says in done.stderr) == (8, True)
    assert not (tmp_path / "run" / "token").exists()


def test_command_runs_after_each_token(agent: Agent, tmp_path: Path) -> None:
    """It sees the new file; its failure is reported, and ends nothing. The group may read the file."""
    mine = grp.getgrgid(os.getegid()).gr_name
    (tmp_path / "copy").write_text("#!/bin/sh\ncp run/token copied\nexit 3\n")
    (tmp_path / "copy").chmod(0o700)
    child = agent("--exec", "./copy", "--group", mine)
    child.until(lambda: "--exec ./copy: it ended with 3" in child.err)
    assert (tmp_path / "copied").read_text() == "token-1"
    found = (tmp_path / "run" / "token").stat()
    assert (found.st_mode & 0o777, found.st_gid) == (0o640, os.getegid())
    child.process.send_signal(signal.SIGHUP)
    child.until(lambda: (tmp_path / "copied").read_text() == "token-2")


def test_page_line_by_line(server: Server, api: str, launch: Launch, tmp_path: Path) -> None:
    """The commands of docs/how-to/agent.md, with a real server and a guarded API."""
    server.affiant("client", "new", "paged", "--scope", "orders.read", "--resource", api)
    (tmp_path / "billing.affiant.json").symlink_to(server.folder / "paged.affiant.json")
    page = (HOW_TO / "agent.md").read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)\n```$", page, re.DOTALL | re.MULTILINE)
    (made, started), (called,) = (block.split("\n") for block in blocks)
    subprocess.run(shlex.split(made), cwd=tmp_path, check=True)
    child = launch(*AFFIANT, *shlex.split(started)[1:])
    child.until(lambda: child.out.startswith("affiant agent  run/token"))
    line = called.replace("https://orders.example", api).replace("curl", "curl -sS")
    done = subprocess.run(("bash", "-c", line), cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert (json.loads(done.stdout), done.stderr) == ({"for": "paged"}, "")


@pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed: apt-get install systemd"
)
def test_unit_is_accepted_by_systemd(tmp_path: Path) -> None:
    """With a program and a user that this machine has."""
    unit = (HOW_TO / "affiant-agent.service").read_text("utf-8")
    (tmp_path / "affiant-agent.service").write_text(
        unit.replace("/usr/bin/affiant", "/bin/true").replace("User=billing", "User=daemon")
    )
    command = ("systemd-analyze", "verify", str(tmp_path / "affiant-agent.service"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    options = {word for word in shlex.split(re.findall("ExecStart=(.*)", unit)[0]) if word.startswith("-")}
    assert options <= {name for option in agent_command.params for name in option.opts}
