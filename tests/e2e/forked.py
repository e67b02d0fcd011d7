"""The command line in a process of its own, without waiting for Python and its imports each time: a fork (forks.py).

Every command has its own folder, environment, output and exit code. Starting itself is for the tests that start Python:
test_cli.py, test_signals.py, servers with several workers (process.py), and whatever takes `AFFIANT`.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.forks import Fork
from uvicorn.main import main as uvicorn

from affiant.cli.main import main as affiant

PROGRAMS: dict[str, Callable[[list[str]], object]] = {"affiant": affiant, "uvicorn": uvicorn}
_EVENTS, _MARK = frozenset({"open", "os.rename", "os.link", "os.remove"}), "kept."


def run(
    folder: Path,
    words: tuple[str, ...],
    environment: Mapping[str, str],
    *,
    given: str = "",
    timeout: float,
    killed_at: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """`affiant WORDS` in `folder`, with what is `given` on its standard input.

    With `killed_at`, the process kills itself before the event of that number that touches a file of credentials: an
    open, a rename, a link, a removal.

    Raises:
        subprocess.TimeoutExpired: it took longer, in seconds, and was killed.
    """
    with tempfile.TemporaryDirectory() as streams:
        Path(streams, "in").write_text(given, "utf-8")
        paths = (f"{streams}/in", f"{streams}/out", f"{streams}/err")
        fork = Fork(_command, str(folder), words, dict(environment), paths, killed_at)
        try:
            code = fork.wait(timeout)
        except subprocess.TimeoutExpired:
            fork.kill()
            fork.wait()
            raise
        out, err = (Path(path).read_text("utf-8") for path in paths[1:])
        return subprocess.CompletedProcess(words, code, out, err)


def start(folder: Path, words: tuple[str, ...], environment: Mapping[str, str], out: Path, err: Path) -> Fork:
    """A program of PROGRAMS, in a session of its own, with an empty standard input; its output is added to files."""
    return Fork(_session, str(folder), words, dict(environment), (os.devnull, str(out), str(err)))


def _session(folder: str, words: tuple[str, ...], environment: dict[str, str], paths: tuple[str, str, str]) -> None:
    os.setsid()
    _enter(folder, words, environment, paths)
    PROGRAMS[words[0]](list(words[1:]))


def _command(
    folder: str,
    words: tuple[str, ...],
    environment: dict[str, str],
    paths: tuple[str, str, str],
    killed_at: int | None,
) -> None:
    _enter(folder, ("affiant", *words), environment, paths)
    if killed_at is not None:
        sys.addaudithook(_killer(killed_at))
    affiant(list(words))


def _enter(folder: str, words: tuple[str, ...], environment: dict[str, str], paths: tuple[str, str, str]) -> None:
    """Take what a process has from its start: folder, environment, arguments, streams."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [*words]
    for number, path in enumerate(paths):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), number)
    # Anew: what the server has knows what its own streams were.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the process lives
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115


def _killer(at: int) -> Callable[[str, tuple[object, ...]], None]:
    left = at

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in _EVENTS and any(_MARK in str(argument) for argument in arguments):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook
