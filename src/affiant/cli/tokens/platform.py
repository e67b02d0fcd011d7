"""The options that name a platform instead of a credentials file, and the mask for tokens in the log of a job."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from affiant.client.credentials.file import Credentials

_OPTIONS = (
    click.option(
        "--from",
        "platform",
        metavar="PLATFORM",
        help="use the token of this platform, and no credentials: github, gitlab, kubernetes, aws, google, azure,"
        " buildkite, circleci, spiffe, file:PATH, env:NAME",
    ),
    click.option("--issuer", metavar="URL", help="with --from: the authorization server"),
    click.option("--audience", help="with --from: for which the platform issues its token (default: the issuer)"),
    click.option("--client-id", metavar="ID", help="with --from: the client, if the server wants it named"),
    click.option(
        "--carrier",
        type=click.Choice(["assertion", "client_assertion"]),
        help="with --from: the parameter that has the platform's token (default: assertion)",
    ),
)


def platform_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options. The command gets what they describe as its `credentials`."""

    @wraps(command)
    def run(
        *,
        credentials: Path | None,
        platform: str | None,
        issuer: str | None,
        audience: str | None,
        client_id: str | None,
        carrier: str | None,
        **options: Any,
    ) -> None:
        given = {"--issuer": issuer, "--audience": audience, "--client-id": client_id, "--carrier": carrier}
        if platform is None:
            for name in (name for name, value in given.items() if value is not None):
                raise click.UsageError(f"{name} goes with --from")
            command(credentials=credentials, **options)
            return
        if credentials is not None:
            raise click.UsageError("--from replaces --credentials: give one of them")
        if issuer is None:
            raise click.UsageError("--from needs --issuer URL, the authorization server")
        command(credentials=_describe(platform, issuer, audience, client_id, carrier or "assertion"), **options)

    for option in reversed(_OPTIONS):
        option(run)
    return run


def _describe(platform: str, issuer: str, audience: str | None, client_id: str | None, carrier: str) -> Credentials:
    from affiant.client.credentials import workload

    return workload.describe(platform, issuer, client_id=client_id, audience=audience, carrier=carrier)


def mask(*secrets: str | None) -> None:
    """Let GitHub's runner hide these in the log of the job, before anything prints them.

    The runner reads its commands on both streams, and standard output may be a variable of a script.
    """
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    for secret in filter(None, secrets):
        click.echo(f"::add-mask::{secret.replace('%', '%25')}", err=True)
