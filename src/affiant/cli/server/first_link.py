"""Print how to sign in to the console, as long as it has no user."""

from __future__ import annotations

import sys

import click

from affiant.cli.connection.data import shown_place
from affiant.cli.output import instant
from affiant.server.settings import Settings


def hint(chosen: Settings) -> str:
    """Return how to get a link."""
    place = f"--data {shown_place(chosen)}" if chosen.database is None else "on this machine"
    return f"sign in with a link from  affiant console link {place}"


def offer(chosen: Settings) -> None:
    """Print a link for a first owner at a terminal. Other output is kept, so there print the command that makes one."""
    if not sys.stdout.isatty():
        click.echo(f"console  {hint(chosen)}")
        return
    from affiant.cli.connection import local  # it loads the admin API, which takes a third of a second
    from affiant.cli.operations.console import links

    made = local.run(chosen, lambda api: links.make(api, links.own_name() or "owner", {}))
    click.echo(f"console  {made['url']}")
    click.echo(f"         signs {made['user']} in, once, until {instant(made['expires_at'])}")
