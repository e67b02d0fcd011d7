"""`affiant helper docker`, which is also the program docker-credential-affiant.

The protocol: github.com/docker/docker-credential-helpers.
"""

from __future__ import annotations

import json
import sys

from affiant.cli import NOT_INSTALLED

try:
    import click
except ModuleNotFoundError:  # this is a program of its own
    sys.exit(NOT_INSTALLED)

from affiant import __version__
from affiant.cli.tokens.helper.holder import Holder, holder_options, read_question
from affiant.errors import ConfigError

_NOT_FOUND = "credentials not found in native keychain"  # docker knows these words
_MISSING = 3  # the exit code of what is not found


@click.command()
@click.argument("action")
@holder_options
def docker(holder: Holder, action: str) -> None:
    """Answer docker, as its credential helper.

    ACTION is what docker adds: get, list, store or erase.

    Docker finds it as docker-credential-affiant, with the credentials file in AFFIANT_CREDENTIALS and for the host of
    its resource, or as a program of your own on the PATH, such as docker-credential-billing:

    \b
    #!/bin/sh
    exec affiant helper docker -c /etc/billing.affiant.json --host registry.example "$@"

    \b
    ~/.docker/config.json:  {"credHelpers": {"registry.example": "billing"}}
    """
    if action == "version":
        click.echo(f"docker-credential-affiant {__version__}")
        return
    if action == "list":
        click.echo(json.dumps({_name(host): holder.username for host in sorted(holder.hosts)}))
        return
    asked = read_question().strip()
    if action == "store":
        raise ConfigError("docker login is not needed: affiant gets a token whenever docker asks for one")
    if action not in ("get", "erase"):
        raise click.UsageError("ACTION is get, list, store or erase")
    if not holder.serves(asked):
        click.echo(_NOT_FOUND)
        raise click.exceptions.Exit(_MISSING)
    if action == "get":
        click.echo(json.dumps({"ServerURL": asked, "Username": holder.username, "Secret": holder.token().value}))
    else:
        holder.forget(holder.token().value)


def _name(host: tuple[str, int]) -> str:
    name, port = host
    return name if port == 443 else f"{name}:{port}"  # noqa: PLR2004 - that of https


def main() -> None:
    """Run `affiant helper docker` with the words that docker passes."""
    from affiant.cli.main import main as affiant

    affiant(["helper", "docker", *sys.argv[1:]])
