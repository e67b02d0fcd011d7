"""The words that the Tab key offers at each place of a command line.

A place is the command so far (`affiant client`); with ` -`, its options; with an option, the value of that option.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from affiant.cli.shell.tree import children, commands, summary

FILES, FOLDERS = "files", "folders"


@dataclass(frozen=True, slots=True)
class Offer:
    """Words with their meanings, or names of files or folders."""

    words: tuple[tuple[str, str], ...] = ()
    paths: str = ""  # FILES or FOLDERS


def build(root: click.Command) -> dict[str, Offer]:
    """Return what is offered, by place."""
    return dict(_offers(root))


def paths(root: click.Command) -> list[str]:
    """Return every command below the root by its whole name."""
    return [context.command_path for context, _ in commands(root)][1:]


def _offers(root: click.Command) -> Iterator[tuple[str, Offer]]:
    for context, command in commands(root):
        place, given = context.command_path, command.get_params(context)
        below = tuple((str(child.info_name), summary(found)) for child, found in children(context, command))
        arguments = [_values(one.type) for one in given if isinstance(one, click.Argument)]
        yield place, Offer(below) if below else next(filter(None, arguments), Offer())
        options = [one for one in given if isinstance(one, click.Option) and not one.hidden]
        meanings = [((one.get_help_record(context) or ("", ""))[1], one) for one in options]
        yield f"{place} -", Offer(tuple((name, text) for text, one in meanings for name in _names(one)))
        for option in options:
            if not option.is_flag and not option.count:
                for name in _names(option):
                    yield f"{place} {name}", _values(option.type) or Offer()


def _names(option: click.Option) -> list[str]:
    return [*option.opts, *option.secondary_opts]


def _values(kind: Any) -> Offer | None:
    if isinstance(kind, click.Choice):
        return Offer(tuple((str(choice), "") for choice in kind.choices))
    if isinstance(kind, click.Path):
        return Offer(paths=FILES if kind.file_okay else FOLDERS)
    return None
