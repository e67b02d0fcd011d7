"""Manual pages, from the help of the commands."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from affiant.cli.shell.tree import Found, children, commands, summary

_WRAPPED = "\b"  # before a paragraph that click leaves as it is
_CODE = re.compile(r"`([^`]+)`")


def pages(root: click.Command, *, codes: str) -> dict[str, str]:
    """Return a page for each command directly below the root, and one for the root, by the names of their files.

    `codes` is the paragraph about exit codes.
    """
    first = next(commands(root))
    found = list(children(*first))
    made = {"affiant.1": _page(first, [], [name(context) for context, _ in found], codes)}
    for context, command in found:
        made[f"{name(context)}.1"] = _page((context, command), list(_below(context, command)), ["affiant"], codes)
    return made


def name(context: click.Context) -> str:
    """Return the name of a page: that of the command, with hyphens."""
    return context.command_path.replace(" ", "-")


def _below(context: click.Context, command: click.Command) -> Iterator[Found]:
    for child, found in children(context, command):
        yield child, found
        yield from _below(child, found)


def _page(found: Found, below: list[Found], see: list[str], codes: str) -> str:
    context, command = found
    lines = [
        f'.TH "{_text(name(context).upper())}" 1 "" affiant "affiant"',
        ".SH NAME",
        f"{_text(name(context))} \\- {_text(summary(command))}",
        ".SH SYNOPSIS",
        *_usage(*found),
        ".SH DESCRIPTION",
        *_description(command),
        *_listed(found),
        *_options(*found),
    ]
    for child, one in below:
        lines += [f'.SH "{_text(child.command_path.upper())}"', *_usage(child, one), *_description(one)]
        lines += [] if isinstance(one, click.Group) else _options(child, one, heading=".SS Options")
    lines += [".SH EXIT STATUS", _text(codes), ".SH SEE ALSO", ", ".join(f"\\fB{_text(one)}\\fP(1)" for one in see)]
    return "\n".join(lines) + "\n"


def _usage(context: click.Context, command: click.Command) -> list[str]:
    pieces = " ".join(command.collect_usage_pieces(context))
    return [f"\\fB{_text(context.command_path)}\\fP {_text(pieces)}"]


def _description(command: click.Command) -> list[str]:
    lines = []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith(_WRAPPED):
            lines += [".PP", ".EX", *map(_text, paragraph[1:].strip("\n").splitlines()), ".EE"]
        elif paragraph:
            lines += [".PP", _CODE.sub(r"\\fB\1\\fP", _text(" ".join(paragraph.split())))]
    return lines


def _listed(found: Found) -> list[str]:
    rows = [(str(child.info_name), summary(one)) for child, one in children(*found)]
    return [".SH COMMANDS", *_pairs(rows)] if rows else []


def _options(context: click.Context, command: click.Command, heading: str = ".SH OPTIONS") -> list[str]:
    records = filter(None, (parameter.get_help_record(context) for parameter in command.get_params(context)))
    return [heading, *_pairs([(names, text) for names, text in records if text])]


def _pairs(rows: list[tuple[str, str]]) -> list[str]:
    return [line for term, text in rows for line in (".TP", f"\\fB{_text(term)}\\fP", _text(text))]


def _text(text: str) -> str:
    """Return the text for roff: no character of it is a request or an escape."""
    safe = "".join(
        {"\\": "\\e", "-": "\\-"}.get(letter, letter) if letter.isascii() else f"\\[u{ord(letter):04X}]"
        for letter in text
    )
    return f"\\&{safe}" if safe.startswith((".", "'")) else safe
