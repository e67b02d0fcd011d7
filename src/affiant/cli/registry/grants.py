"""`affiant grants`."""

from __future__ import annotations

from typing import Any

import click

from affiant.cli.connection.place import Place, admin_options
from affiant.cli.output import Listing, show_list


@click.command()
@click.option("--client", "client_id", metavar="NAME", help="of this client only")
@click.option("--api", "resource", metavar="IDENTIFIER", help="for this API only")
@admin_options
def grants(client_id: str | None, resource: str | None, place: Place) -> None:
    """Each client is listed with each of its APIs, and the scopes that it can get there.

    \b
    affiant grants --api https://orders.example
    """
    rows = place.all("/grants")
    found = [row for row in rows if client_id in (None, row["client_id"]) and resource in (None, row["resource"])]
    show_list(found, _LISTING)


def _line(row: dict[str, Any]) -> str:
    client_id, _, resource, scope = _cells(row)
    return f"{client_id}  {resource}  {scope}" + ("" if row["enabled"] else "  (disabled)")


def _cells(row: dict[str, Any]) -> tuple[str, str, str, str]:
    state = "enabled" if row["enabled"] else "disabled"
    return row["client_id"], state, row["resource"], " ".join(row["scope"]) or "(no scope)"


_LISTING = Listing(("CLIENT", "STATE", "API", "SCOPE"), _cells, _line, "no client may ask for anything there")
