"""`affiant helper`."""

from __future__ import annotations

import click

from affiant.cli.tokens.helper.docker import docker
from affiant.cli.tokens.helper.git import git
from affiant.cli.tokens.helper.kubectl import kubectl
from affiant.cli.tokens.helper.pip import pip


@click.group()
def helper() -> None:
    """These programs ask a helper for credentials, and it answers with an access token.

    A helper answers for the hosts that it was given, and for no others.
    """


for _command in (docker, git, kubectl, pip):
    helper.add_command(_command)
