"""`affiant --help`: every command, in a group, with a summary that fits."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from affiant.cli.main import COMMANDS, GROUPS, SUMMARIES, affiant, main


def _commands(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Yield the words of each command, and whether it has commands of its own."""
    yield words, isinstance(command, click.Group)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _commands(found, (*words, name))


ALL = dict(_commands(affiant))


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


@pytest.mark.parametrize("words", [words for words, is_group in ALL.items() if is_group and words], ids=" ".join)
def test_no_summary_of_a_group_is_cut(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(affiant, [*words, "--help"], terminal_width=80).output
    listed = re.findall(r"^  ([a-z-]+)  +(\S.*)$", shown.partition("Commands:\n")[2], re.MULTILINE)
    assert listed
    assert not [(name, summary) for name, summary in listed if summary.endswith("...") or len(summary) > 45]


def test_every_summary_is_of_a_command() -> None:
    assert set(SUMMARIES) <= set(map(" ".join, ALL))
