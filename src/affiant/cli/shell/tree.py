"""Every command of `affiant`, with those below it."""

from __future__ import annotations

from collections.abc import Iterator

import click

from affiant.errors import ConfigError

Found = tuple[click.Context, click.Command]


def commands(root: click.Command) -> Iterator[Found]:
    """Yield every command that is installed, each group before its commands."""
    yield from _below(click.Context(root, info_name="affiant", **root.context_settings), root)


def children(context: click.Context, command: click.Command) -> Iterator[Found]:
    """Yield the commands of a group. One whose extra is not installed is left out."""
    if not isinstance(command, click.Group):
        return
    for name in command.list_commands(context):
        try:
            found = command.get_command(context, name)
        except ConfigError:  # as with `affiant serve` without affiant[server]
            continue
        if found is not None and not found.hidden:
            yield click.Context(found, parent=context, info_name=name), found


def summary(command: click.Command) -> str:
    """Return the first line of the help, without its full stop."""
    return (command.help or "").partition("\n")[0].removesuffix(".")


def _below(context: click.Context, command: click.Command) -> Iterator[Found]:
    yield context, command
    for child, found in children(context, command):
        yield from _below(child, found)
