"""The README, line by line: every command and every snippet, in a new folder, with the ports of this run."""

import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.loopback import free_port
from tests.process import Child, Launch, run

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = [(match[1], match[2]) for match in re.finditer(r"^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)]
SECTION = {title: body for title, _, body in (part.partition("\n") for part in README.split("\n## ")[1:])}
SERVER, API = "8377", "8000"
LINES = 6
_OF_SHELL = re.compile(r"[$`|&;<>*?~#(){}]")  # what bash would take for more than words


class Reader:
    """A reader who types what the README says."""

    def __init__(self, folder: Path, launch: Launch, ports: dict[str, str]) -> None:
        self._folder = folder
        self._launch = launch
        self._ports = ports
        self.running: list[Child] = []
        # What `make` makes in the checkout; the README's first command goes into it.
        (folder / ".venv").symlink_to(sys.prefix)

    def types(self, line: str, *, warned: str = "") -> str:
        """Run a line of the shell; what it printed. It may warn with these words, and with no others."""
        done = self._run(self.adapted(line))
        if done is None:
            return ""
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        assert not done.stderr or (warned and done.stderr.startswith(warned)), (line, done.stderr)
        return done.stdout

    def says(self, line: str) -> str:
        """Run a line of the shell; all that it printed, also where it failed."""
        done = self._run(self.adapted(line))
        return done.stdout.replace("\r", "") + done.stderr if done is not None else ""

    def _run(self, line: str) -> subprocess.CompletedProcess[str] | None:
        """Run a line of the shell, or start it and wait until it listens; a command alone is a fork, which is sooner."""
        if line.startswith("affiant ") and not _OF_SHELL.search(line):
            return run(self._folder, *shlex.split(line)[1:])
        shell = ("bash", "-c", f"source .venv/bin/activate && {line.removesuffix('&')}")
        if not line.endswith("&"):
            return subprocess.run(shell, cwd=self._folder, capture_output=True, text=True, check=False, timeout=60)
        self.running.append(self._launch(*shell, AFFIANT_PORT=self._ports[SERVER]))
        port = int(self._ports[API] if "uvicorn" in line else self._ports[SERVER])
        self.running[-1].until(lambda: _is_open(port))
        return None

    def writes(self, snippet: str) -> None:
        """Save a snippet under the name in its first line."""
        name = re.match(r"# (\w+\.py)\n", snippet)
        assert name is not None, snippet
        (self._folder / name[1]).write_text(self.adapted(snippet), "utf-8")

    def adapted(self, text: str) -> str:
        for documented, free in self._ports.items():
            text = text.replace(documented, free)
        return text


def _is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _blocks(section: str, language: str) -> list[str]:
    return [body for kind, body in BLOCKS if kind == language and body in SECTION[section]]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block[1].splitlines()[0])
def test_short(block: tuple[str, str]) -> None:
    """Each in at most six lines; a name, imports' blank lines and the like do not count."""
    lines = [line for line in block[1].splitlines() if line and not line.startswith("#")]
    assert len(lines) <= LINES


def test_line_by_line(tmp_path: Path, launch: Launch) -> None:
    reader = Reader(tmp_path, launch, {SERVER: str(free_port()), API: str(free_port())})
    (commands,) = _blocks("Run the server", "console")
    printed = [reader.types(line) for line in commands.splitlines()]
    assert printed[-1].startswith("ey")
    (federation,) = _blocks("Without any secret", "console")
    # Without a network the keys of GitHub cannot be fetched, and the command says so.
    warned = "warning: the keys of trust github cannot be obtained"
    assert "the job:" in [reader.types(line, warned=warned) for line in federation.splitlines()][-1]
    (start_api,) = _blocks("Guard an API", "console")
    (billing,) = _blocks("Get a token", "python")
    reader.writes(billing)
    (why,) = _blocks("Find out why", "console")
    expected = ["{'orders': 3, 'for': 'billing'}\n", "{'orders': 3}\n"]
    served = [block for block in _blocks("Guard an API", "python") if block.startswith("# orders.py")]
    for orders, answer in zip(served, expected, strict=True):
        reader.writes(orders)
        reader.types(start_api.strip())
        assert reader.types("python billing.py") == answer
        reader.running.pop().stop()
    told = [reader.types(line) for line in why.splitlines()]
    assert "accepted" in told[0]
    assert "the chain is intact" in told[2]


def test_every_make_target_exists() -> None:
    """`make demo` and `make test` run as they stand: the first is tests/e2e's own, the second is running this."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"`make (\w+)`", README)) | set(re.findall(r"^make (\w+)$", README, re.MULTILINE))
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
