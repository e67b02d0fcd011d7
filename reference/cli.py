"""docs/reference/cli.md: every command and its options."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click
from reference.markdown import code, head, table

from affiant.cli import main
from affiant.cli.shell import tree

_WRAPPED = "\b"  # before a paragraph that click leaves as it is
_TEXT = """\
`-h` and `--help` work everywhere. With `--json`, a command prints one JSON document, a failure too.

"""

COMPLETION = """\
`affiant completion bash --install` lets the Tab key complete commands and options; zsh and fish likewise.
`affiant man` prints manual pages.
"""


def build() -> str:
    """The page, in Markdown."""
    codes = " ".join((main.__doc__ or "").split("\n\n")[1].split())
    text = f"{_TEXT}{codes}\n\n{COMPLETION.rstrip()}"
    return head("Command line", text, change="src/affiant/cli") + "".join(_sections())


def commands() -> Iterator[tuple[click.Context, click.Command]]:
    """Every command, with those that have others below them before these."""
    for context, command in tree.commands(main.affiant):
        # click keeps the help option, and a test that calls a command by itself makes one without -h.
        command._help_option = None  # noqa: SLF001
        yield context, command


def _sections() -> Iterator[str]:
    for context, command in commands():
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        rows = filter(None, (parameter.get_help_record(context) for parameter in command.get_params(context)))
        shown = [row for row in rows if not row[0].endswith("--help")]
        options = table(("option", "meaning"), ((code(names), text) for names, text in shown))
        yield f"\n## {context.command_path}\n\n```\n{usage}\n```\n\n{_help(command)}\n{options}"


def _help(command: click.Command) -> str:
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return "\n\n".join(map(_paragraph, paragraphs))


def _paragraph(text: str) -> str:
    return f"```\n{text[1:].strip(chr(10))}\n```" if text.startswith(_WRAPPED) else text
