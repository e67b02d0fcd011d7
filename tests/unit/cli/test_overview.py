"""`affiant --help`: every command, in a group, with a summary that fits."""

from __future__ import annotations

from click.testing import CliRunner

from affiant.cli.main import COMMANDS, GROUPS, affiant


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
