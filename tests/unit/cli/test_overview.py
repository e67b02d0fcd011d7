"""`affiant --help`: every command, in a group, with a summary that fits."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from affiant.cli.main import COMMANDS, GROUPS, affiant, main


def test_every_command_is_in_one_group() -> None:
    listed = [name for summaries in GROUPS.values() for name in summaries]
    assert sorted(listed) == sorted(COMMANDS)


def test_no_summary_is_cut() -> None:
    shown = CliRunner().invoke(affiant, ["--help"], terminal_width=80).output
    for group, summaries in GROUPS.items():
        assert f"{group}:\n" in shown
        for name, summary in summaries.items():
            assert len(summary) <= 45
            assert any(line.split(maxsplit=1) == [name, summary] for line in shown.splitlines()), name


@pytest.mark.parametrize("command", [[], ["client"], ["client", "new"]])
def test_help_is_a_command_too(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["help", *command])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(" ".join(["Usage: affiant", *command]))
