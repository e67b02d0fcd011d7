"""`affiant --help`: every command, in a group, with a summary that fits."""

import re

import pytest
from click.testing import CliRunner
from tests.unit.cli.commands import COMMANDS, GROUPS

from affiant.cli import main as command_line
from affiant.cli.main import affiant, main


@pytest.mark.parametrize("command", [[], ["client"], ["client", "new"]])
def test_help_is_a_command_too(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["help", *command])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(" ".join(["Usage: affiant", *command]))


@pytest.mark.parametrize("words", GROUPS, ids=" ".join)
def test_every_summary_is_short_and_whole(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(affiant, [*words, "--help"], terminal_width=80).output
    listed = dict(
        re.findall(r"^  ([a-z-]+)  +(\S.*)$", re.sub(r"^  -.*$", "", shown, flags=re.MULTILINE), re.MULTILINE)
    )
    assert set(listed) == {found[-1] for found in COMMANDS if found and found[:-1] == words}
    assert not [(name, text) for name, text in listed.items() if text.endswith("...") or len(text) > 45]
    assert all(text[0].isupper() and text.endswith(".") for text in listed.values())


@pytest.mark.parametrize("name", command_line.COMMANDS)
def test_help_of_a_command_begins_with_its_summary(name: str) -> None:
    shown = CliRunner().invoke(affiant, [name, "--help"], terminal_width=80).output
    assert shown.split("\n\n")[1].strip() == command_line.COMMANDS[name][1]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_text_of_a_help_is_aligned(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(affiant, [*words, "--help"], terminal_width=80).output
    text = shown.partition("\n\n")[2].partition("\nOptions:")[0]
    assert not [line for line in text.splitlines() if line.startswith("   ")]
