"""`affiant revoke`: ends tokens before their time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from affiant.cli.operations.issued import revocation_line
from affiant.cli.operations.road import admin_options, existing, run_admin
from affiant.cli.output import json_option, show

if TYPE_CHECKING:
    from affiant.cli.operations.road import Admin, Place

_KINDS = ("jti", "family", "key", "client", "api", "all")


@click.command()
@click.option("--jti", metavar="JTI", help="one access token")
@click.option("--family", metavar="ID", help="a line of refresh tokens, and its access tokens: affiant issued")
@click.option("--client", metavar="NAME", help="every token of a client until now; with --key, those of that key")
@click.option("--key", metavar="THUMBPRINT", help="every token that this key (or the secret of this id) obtained")
@click.option("--api", metavar="IDENTIFIER", help="every token for an API until now")
@click.option("--all", "everything", is_flag=True, help="every token until now; asks, unless --yes")
@click.option("--yes", "-y", is_flag=True, help="do not ask")
@admin_options
@json_option
def revoke(everything: bool, yes: bool, place: Place, as_json: bool, **given: str | None) -> None:
    """End tokens before their time. New ones can be had at once: see affiant client disable, and client key revoke.

    \b
    affiant revoke --client billing
    affiant revoke --client billing --key 3jWq0c1tRjVQbcwUzUbJmSkrCYbwh9BnR1sD6nCkA4I
    affiant revoke --jti 4f9d2c8a
    affiant revoke --all

    Introspection says so at once. A guard that verifies tokens by itself learns it where it reads the server's list of
    revocations; others when the token ends, within an hour.
    """
    members = _members({**given, "all": "" if everything else None})
    if everything and not yes:
        _ask(as_json=as_json)

    async def work(api: Admin) -> dict[str, Any]:
        ended: dict[str, Any] = await api.post("/revocations", members)
        return ended

    ended = run_admin(existing(place), work)
    show(ended, f"revoked  {revocation_line(ended)}", as_json=as_json)


def _members(given: dict[str, str | None]) -> dict[str, str]:
    """What is sent.

    Raises:
        UsageError: nothing is named, or more than one thing.
    """
    named = {kind: value for kind in _KINDS if (value := given.get(kind)) is not None}
    if "key" in named and "client" in named:
        return _checked({"kind": "key", "value": named.pop("key"), "client_id": named.pop("client")}, named)
    if "key" in named:
        raise click.UsageError("--key goes with --client, whose key it is")
    if not named:
        raise click.UsageError("say what: --jti, --family, --client, --client with --key, --api or --all")
    kind, value = named.popitem()
    return _checked({"kind": kind} | ({"value": value} if kind != "all" else {}), named)


def _checked(members: dict[str, str], others: dict[str, str]) -> dict[str, str]:
    if others:
        raise click.UsageError(f"one thing at a time: not --{members['kind']} and --{next(iter(others))}")
    if members.get("value") == "":
        raise click.UsageError(f"--{members['kind']} is empty")
    return members


def _ask(*, as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        raise click.UsageError("--all ends every token of every client: give --yes")
    click.confirm("Every client must get a new token. End them all?", abort=True)
