"""`affiant issued` and `affiant grants`: what was issued, what was ended, and who may ask for what."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click

from affiant.cli.connection.place import Admin, Place, admin_options, existing, run_admin, segment
from affiant.cli.output import Listing, json_option, show, show_list
from affiant.system.text import printable


@click.group()
def issued() -> None:
    """What the server has issued: tokens, and those that were ended before their time. To end one: affiant revoke.

    \b
    affiant issued refresh-tokens --client billing
    affiant issued find 4f9d2c8a
    affiant issued revocations
    """


@issued.command("refresh-tokens")
@click.option("--client", "client_id", metavar="NAME", help="of this client only")
@admin_options
@json_option
def refresh_tokens(client_id: str | None, place: Place, as_json: bool) -> None:
    """List the refresh tokens that can still be used, by their family: what `affiant revoke --family` ends."""
    found = _all(place, "/refresh-tokens", client_id=client_id)
    _show(found, _refresh_token, "no refresh tokens", as_json=as_json)


@issued.command()
@click.argument("jti")
@admin_options
@json_option
def find(jti: str, place: Place, as_json: bool) -> None:
    """Find an access token of the last hour by its jti: whose it is, and whether it was revoked."""

    async def work(api: Admin) -> dict[str, Any]:
        found: dict[str, Any] = await api.get(f"/tokens/{segment(jti)}")
        return found

    found = run_admin(existing(place), work)
    told = {**found, "issued_at": _instant(found["issued_at"])}
    text = "\n".join(printable(f"{name:<12}{value}") for name, value in told.items() if value is not None)
    show(found, text, as_json=as_json)


@issued.command()
@admin_options
@json_option
def revocations(place: Place, as_json: bool) -> None:
    """List what was ended before its time, as long as any such token would still be good; the newest first."""
    _show(_all(place, "/revocations"), revocation_line, "no revocations", as_json=as_json)


@click.command()
@click.option("--client", "client_id", metavar="NAME", help="of this client only")
@click.option("--api", "resource", metavar="IDENTIFIER", help="for this API only")
@admin_options
@json_option
def grants(client_id: str | None, resource: str | None, place: Place, as_json: bool) -> None:
    """List who may ask for what: each client with each API, and the scopes that it can get there.

    \b
    affiant grants --api https://orders.example
    """
    rows = _all(place, "/grants")
    found = [row for row in rows if client_id in (None, row["client_id"]) and resource in (None, row["resource"])]
    show_list(found, _GRANTS, as_json=as_json)


def revocation_line(row: dict[str, Any]) -> str:
    """A revocation in one line."""
    return f"{_instant(row['at'])}  {row['kind']} {row['value']}".rstrip()


def _all(place: Place, path: str, **query: Any) -> list[dict[str, Any]]:
    async def work(api: Admin) -> list[dict[str, Any]]:
        return await api.all(path, **query)

    return run_admin(existing(place), work)


def _show(found: list[dict[str, Any]], line: Callable[[dict[str, Any]], str], nothing: str, *, as_json: bool) -> None:
    show(found, "\n".join(printable(line(row)) for row in found) or nothing, as_json=as_json)


def _grant(row: dict[str, Any]) -> str:
    scope = " ".join(row["scope"]) or "(no scope)"
    return f"{row['client_id']}  {row['resource']}  {scope}" + ("" if row["enabled"] else "  (disabled)")


def _grant_cells(row: dict[str, Any]) -> tuple[object, ...]:
    state = "enabled" if row["enabled"] else "disabled"
    return row["client_id"], state, row["resource"], " ".join(row["scope"]) or "(no scope)"


_GRANTS = Listing(("CLIENT", "STATE", "API", "SCOPE"), _grant_cells, _grant, "no client may ask for anything there")


def _refresh_token(row: dict[str, Any]) -> str:
    ends = min(row["idle_expires_at"], row["expires_at"])
    scope, resource = " ".join(row["scope"]), " ".join(row["resource"])
    return f"{row['family']}  {row['client_id']}  {resource}  {scope}  ends {_instant(ends)} if it is not used"


def _instant(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%SZ}"
