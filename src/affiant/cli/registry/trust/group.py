"""`affiant trust`."""

from __future__ import annotations

import click

from affiant.cli.registry.trust.adding import add
from affiant.cli.registry.trust.managing import COMMANDS
from affiant.cli.registry.trust.refused import refused
from affiant.cli.registry.trust.trial import test


@click.group()
def trust() -> None:
    """A trust accepts them in place of credentials. Its rules say for which service each speaks.

    \b
    affiant trust add github acme/app --repository-id 123 --branch main --client deploy
    affiant trust test job.jwt
    """


for command in (add, test, refused, *COMMANDS):
    trust.add_command(command)
