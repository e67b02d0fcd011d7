"""The demo ends its processes at any signal, at any time."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from affiant.cli.diagnosis import demo
from affiant.cli.diagnosis.demo import Stage


def test_a_signal_waits_until_the_process_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C at the moment of the start: the process has ended when the interrupt is raised."""
    started: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *words: Any, **options: Any) -> None:
            super().__init__(*words, **options)
            started.append(self)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    standing = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), demo._process(Stage(tmp_path, "", ""), "http.server", "0"):
        pytest.fail("it went on")
    (process,) = started
    assert process.returncode is not None
    assert signal.getsignal(signal.SIGINT) is standing
