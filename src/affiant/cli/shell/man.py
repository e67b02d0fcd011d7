"""`affiant man`."""

from __future__ import annotations

from pathlib import Path

import click

from affiant.cli import main
from affiant.cli.arguments import FOLDER
from affiant.cli.output import json_option, show
from affiant.cli.shell import roff
from affiant.errors import ConfigError


@click.command()
@click.argument("words", metavar="[COMMAND]...", nargs=-1)
@click.option(
    "--to",
    "folder",
    type=FOLDER,
    metavar="DIR",
    help="write every page into this folder, made if it is missing",
)
@json_option()
def man(words: tuple[str, ...], folder: Path | None) -> None:
    """Print the page of a command, in roff. The page of a group has all its commands.

    \b
    affiant man client | man -l -
    affiant man --to ~/.local/share/man/man1

    An installed wheel has these pages in share/man/man1.
    """
    if folder is not None:
        show({"folder": str(folder), "pages": sorted(write(folder))}, f"the pages are in {folder}")
        return
    made = pages()
    wanted = f"{'-'.join(['affiant', *words[:1]])}.1"
    if wanted not in made:
        if words and words[0] in main.COMMANDS:
            main.affiant.get_command(click.get_current_context(), words[0])  # says what it needs
        raise click.UsageError("there is no such command: affiant --help lists them")
    show({"name": wanted, "page": made[wanted]}, *made[wanted].splitlines())


def pages() -> dict[str, str]:
    """Return every page by the name of its file."""
    return roff.pages(main.affiant, codes=" ".join((main.__doc__ or "").split("\n\n")[1].split()))


def write(folder: Path) -> dict[str, str]:
    """Write every page, and remove those of commands that are gone."""
    made = pages()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in made.items():
            (folder / name).write_text(text, "utf-8")
        for old in folder.glob("affiant*.1"):
            if old.name not in made:
                old.unlink()
    except OSError as error:
        raise ConfigError(f"the pages cannot be written into {folder}: {error.strerror}") from error
    return made
