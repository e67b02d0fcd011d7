"""`affiant helper pip`: answers as the command `keyring`, which pip, uv and others run."""

from __future__ import annotations

import click

from affiant.cli.tokens.helper.holder import Holder, holder_options

_MISSING = 3  # the exit code of what is not found


@click.command()
@click.argument("action")
@click.argument("place")
@click.argument("wanted", metavar="[NAME]", required=False)
@click.option("--mode", type=click.Choice(("password", "creds")), default="password", help="creds: the user name, too")
@holder_options
def pip(holder: Holder, action: str, place: str, wanted: str | None, mode: str) -> None:
    """Answer pip, as the command `keyring`.

    ACTION is get. uv and other programs that run `keyring` are answered, too.

    Put this as a program `keyring` into a folder that is on the PATH before others, and not into that of pip:

    \b
    #!/bin/sh
    exec affiant helper pip -c /etc/billing.affiant.json --host index.example "$@"

    \b
    pip install --keyring-provider subprocess --index-url https://billing@index.example/simple PACKAGE
    """
    if action != "get" or not holder.serves(place):
        raise click.exceptions.Exit(_MISSING)
    name = wanted or holder.username
    click.echo("\n".join([*([name] if mode == "creds" else ()), holder.token().value]))
