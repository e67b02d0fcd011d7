"""`affiant team`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from affiant.cli.connection.admin import segment
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.output import Listing, describe, show, show_list
from affiant.cli.registry.options import member_options, members
from affiant.server.registry import fields


@click.group()
def team() -> None:
    """A team owns services, APIs and trusts. Administrators can be limited to what their teams own.

    \b
    affiant team add payments --contact payments@example.com
    affiant client update billing --team payments
    affiant admin bootstrap payments-ops --role operator --team payments
    """


@team.command()
@click.argument("name")
@member_options(fields.TEAM)
@admin_options
def add(name: str, place: Place, **options: Any) -> None:
    """Add a team.

    Its operators may grant the scopes of the APIs that it owns. --resource and --scope let them grant scopes of other
    APIs too.

    \b
    affiant team add payments --contact payments@example.com
    affiant team add reports --resource https://orders.example --scope orders.read
    """
    made = place.post("/teams", {"name": name, **members(fields.TEAM, options)})
    show(made, _line(made))


@team.command("list")
@admin_options
def list_(place: Place) -> None:
    """List the teams."""
    show_list(place.all("/teams"), _LISTING)


@team.command("show")
@click.argument("name")
@admin_options
def show_(name: str, place: Place) -> None:
    """Show a team."""
    found = place.get(f"/teams/{segment(name)}")
    show(found, *describe(found))


@team.command()
@click.argument("name")
@member_options(fields.TEAM)
@admin_options
def update(name: str, place: Place, **options: Any) -> None:
    """Change a team.

    Options that are left out change nothing. What its services may ask for already stays theirs.

    \b
    affiant team update reports --resource https://orders.example --scope orders.read --scope orders.list
    """
    changed = place.patch(f"/teams/{segment(name)}", members(fields.TEAM, options))
    show(changed, _line(changed))


@team.command()
@click.argument("name")
@admin_options
def remove(name: str, place: Place) -> None:
    """Remove a team that owns nothing."""
    place.delete(f"/teams/{segment(name)}")
    show({"name": name, "done": "remove"}, f"removed {name}")


def _cells(found: Mapping[str, Any]) -> tuple[object, ...]:
    return found["name"], found["contact"] or "", " ".join(found["resources"]), " ".join(found["scope"])


def _line(found: Mapping[str, Any]) -> str:
    return "  ".join(filter(None, ("team", *map(str, _cells(found)))))


_LISTING = Listing(("TEAM", "CONTACT", "GRANTS AT", "SCOPE"), _cells, _line, "no teams: affiant team add NAME")
