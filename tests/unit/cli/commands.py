"""Every command of the command line."""

from collections.abc import Iterator

import click

from affiant.cli.main import affiant


def _below(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _below(found, (*words, name))


# By their words; groups too.
COMMANDS = dict(_below(affiant, ()))
GROUPS = {words: command for words, command in COMMANDS.items() if isinstance(command, click.Group)}
LEAVES = {words: command for words, command in COMMANDS.items() if words not in GROUPS}
