"""Messages of `affiant serve` at its start."""

from pathlib import Path

import pytest

from affiant.cli.server import serve
from affiant.server.request.audit.lines.logs import Logs
from affiant.server.settings import Settings

HUMAN = Logs("human", file=2)


@pytest.mark.parametrize(("remembered", "has_next"), [(None, True), ("https://as.example", False)])
def test_next_steps_are_for_the_first_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, remembered: str | None, has_next: bool
) -> None:
    serve._announce("https://as.example", remembered, Settings(data=tmp_path), HUMAN, pid=1)
    assert ("affiant client new billing" in capsys.readouterr().out) is has_next


@pytest.mark.parametrize(("mode", "is_told"), [(0o700, False), (0o755, False), (0o2775, True), (0o777, True)])
def test_data_folder_that_others_may_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, mode: int, is_told: bool
) -> None:
    tmp_path.chmod(mode)
    serve._warn_of_folder(Settings(data=tmp_path), HUMAN)
    assert (f"(mode {mode:04o}): run  chmod 700 {tmp_path}" in capsys.readouterr().err) is is_told
