"""`affiant token` and `affiant assertion`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from affiant.cli.output import json_option, show
from affiant.cli.tokens.kept_tokens import KeptTokens, no_cache_option
from affiant.cli.tokens.options import credentials_option, find, resource_option, scope_option
from affiant.cli.tokens.platform import mask, platform_options
from affiant.client.credentials.file import Credentials
from affiant.client.token import TokenKey

VARIABLE = "ACCESS_TOKEN"
TASK_SECONDS = 300


@click.command()
@platform_options
@credentials_option
@scope_option
@resource_option
@click.option("--header", is_flag=True, help="print the whole Authorization header")
@click.option("--env", is_flag=True, help=f"print a line for eval that exports {VARIABLE}")
@click.option(
    "--min-ttl",
    type=click.IntRange(min=0),
    default=60,
    metavar="SECONDS",
    help="lifetime that a kept token must have left (default: 60)",
)
@click.option("--task", metavar="ID", help="a token for this task alone: affiant revoke --task ID ends it")
@click.option(
    "--for",
    "lifetime",
    type=click.IntRange(1, 3600),
    metavar="SECONDS",
    help="with --task: its lifetime (default: 300)",
)
@no_cache_option
@json_option()
def token(
    credentials: Path | Credentials | None,
    scope: str | None,
    resource: str | None,
    min_ttl: int,
    no_cache: bool,
    task: str | None,
    lifetime: int | None,
    **form: bool,
) -> None:
    """It is the token kept from the last run while that is valid, else a new one.

    \b
    curl -H "Authorization: Bearer $(affiant token -c billing.affiant.json)" https://orders.example/orders
    eval "$(affiant token -c billing.affiant.json --env)"
    affiant token -c billing.affiant.json --task invoice-4711 --for 120 --scope orders.read

    Tokens are kept in $XDG_CACHE_HOME/affiant/tokens (~/.cache/affiant/tokens), readable by you alone. A kept token
    that the server revoked is replaced after a minute at most.

    A token for a task is never kept: the server makes it of the token of the service (RFC 8693).

    With --resource and without --scope, the token has every scope that the service may have there.
    """
    if all(form.values()):
        raise click.UsageError("--header and --env print two different lines: choose one")
    if lifetime is not None and task is None:
        raise click.UsageError("--for is the lifetime of a token for a task: give --task ID too")
    found = find(credentials, resource, scope)
    if task is not None:
        _show_task(found, task, lifetime or TASK_SECONDS, TokenKey(resource, scope), **form)
        return
    got = KeptTokens(found, min_ttl=min_ttl, keep=not no_cache).get(TokenKey(resource, scope))
    mask(got.value, got.refresh_token)
    data = {"access_token": got.value, "expires_at": int(got.expires_at), "scope": got.scope}
    if got.refresh_token:
        data["refresh_token"] = got.refresh_token
    show(data, _line(got.value, **form))


def _show_task(found: Credentials, task: str, lifetime: int, key: TokenKey, **form: bool) -> None:
    from affiant.client.identity import Service

    made = Service.from_credentials(found).task_token(
        task, lifetime=lifetime, scope=key.scope, resource=key.resource or found.resource
    )
    mask(made.access_token, None)
    data = {"access_token": made.access_token, "expires_in": made.expires_in, "scope": made.scope, "task": task}
    show(data, _line(made.access_token, **form))


def _line(value: str, *, header: bool, env: bool) -> str:
    if env:
        return f"export {VARIABLE}={shlex.quote(value)}"  # the server chose the value, and a shell will run the line
    return f"Authorization: Bearer {value}" if header else value


@click.command()
@credentials_option
@json_option()
def assertion(credentials: Path | None) -> None:
    """It is valid once, for a minute."""
    from affiant.client.identity import Service

    made = Service.from_credentials(find(credentials)).assertion()
    show({"client_assertion": made}, made)
