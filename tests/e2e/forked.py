"""The command line in a process of its own, without waiting for Python and its imports each time: they are forked.

The first call starts a server that has imported what commands import; every command is a fork of it, with its own
folder, environment, output and exit code. Starting itself is for the tests that start Python: test_cli.py,
test_signals.py, and whatever takes `AFFIANT`.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from affiant.cli.main import COMMANDS, main

_EVENTS, _MARK = frozenset({"open", "os.rename", "os.link", "os.remove"}), "kept."
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [*{f"affiant.cli.{module}" for module, _ in COMMANDS.values()}, "affiant.server.admin.app"]
)


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
        fork = _FORKS.Process(target=_command, args=(str(folder), words, dict(environment), streams, killed_at))
        fork.start()
        fork.join(timeout)
        if fork.exitcode is None:
            fork.kill()
            fork.join()
            raise subprocess.TimeoutExpired(words, timeout)
        out, err = (Path(streams, name).read_text("utf-8") for name in ("out", "err"))
        return subprocess.CompletedProcess(words, fork.exitcode, out, err)


def _command(
    folder: str, words: tuple[str, ...], environment: dict[str, str], streams: str, killed_at: int | None
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["affiant", *words]
    for number, name in enumerate(("in", "out", "err")):
        os.dup2(os.open(Path(streams, name), os.O_RDWR | os.O_CREAT, 0o600), number)
    # Anew: what the server has knows what its own streams were.
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
        for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    if killed_at is not None:
        sys.addaudithook(_killer(killed_at))
    main(list(words))


def _killer(at: int) -> Callable[[str, tuple[object, ...]], None]:
    left = at

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in _EVENTS and any(_MARK in str(argument) for argument in arguments):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook
