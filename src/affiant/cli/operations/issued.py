"""`affiant issued`."""

from __future__ import annotations

from typing import Any

import click

from affiant.cli.connection.admin import segment
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.output import instant, show


@click.group()
def issued() -> None:
    """Revoked tokens are listed too. To end a token: affiant revoke.

    \b
    affiant issued refresh-tokens --client billing
    affiant issued find 4f9d2c8a
    affiant issued revocations
    """


@issued.command("refresh-tokens")
@click.option("--client", "client_id", metavar="NAME", help="of this client only")
@admin_options
def refresh_tokens(client_id: str | None, place: Place) -> None:
    """List the valid refresh tokens.

    Each has the family that `affiant revoke --family` ends.
    """
    found = place.all("/refresh-tokens", client_id=client_id)
    show(found, *(map(_refresh_token, found) if found else ["no refresh tokens"]))


@issued.command()
@click.argument("jti")
@admin_options
def find(jti: str, place: Place) -> None:
    """Find an access token by its jti.

    It knows the tokens of the last hour: the client of each, and whether it was revoked.
    """
    found = place.get(f"/tokens/{segment(jti)}")
    members = {**found, "issued_at": instant(found["issued_at"])}
    show(found, *(f"{name:<12}{value}" for name, value in members.items() if value is not None))


@issued.command()
@admin_options
def revocations(place: Place) -> None:
    """List what was revoked, newest first.

    A revocation is listed until every token that it ends has expired.
    """
    found = place.all("/revocations")
    show(found, *(map(revocation_line, found) if found else ["no revocations"]))


def revocation_line(row: dict[str, Any]) -> str:
    return f"{instant(row['at'])}  {row['kind']} {row['value']}".rstrip()


def _refresh_token(row: dict[str, Any]) -> str:
    ends = min(row["idle_expires_at"], row["expires_at"])
    scope, resource = " ".join(row["scope"]), " ".join(row["resource"])
    return f"{row['family']}  {row['client_id']}  {resource}  {scope}  expires {instant(ends)} unless used"
