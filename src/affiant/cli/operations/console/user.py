"""`affiant console user`."""

from __future__ import annotations

from typing import Any

import click

from affiant.cli.connection.admin import segment
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.operations.console.words import user_line
from affiant.cli.output import describe, show
from affiant.cli.registry.options import member_options, members
from affiant.server.admin.routes.users.documents import USER
from affiant.server.registry.fields import By

_CHANGED = USER.by(By.CHANGE)


@click.group()
def user() -> None:
    """Change or remove a user.

    \b
    affiant console user update alice --role operator
    affiant console user disable alice
    """


@user.command("show")
@click.argument("name")
@admin_options
def show_(name: str, place: Place) -> None:
    """Show a user."""
    found = place.get(_path(name))
    show(found, *describe(found))


@user.command()
@click.argument("name")
@member_options(_CHANGED)
@admin_options
def update(name: str, place: Place, **options: Any) -> None:
    """Change the role or the teams of a user.

    Options that are left out change nothing. --team replaces all teams; --team "" takes every limit away.
    """
    changed = place.patch(_path(name), members(_CHANGED, options))
    show(changed, user_line(changed))


@user.command()
@click.argument("name")
@admin_options
def disable(name: str, place: Place) -> None:
    """Disable a user and end its sessions."""
    place.patch(_path(name), {"enabled": False})
    show({"name": name, "done": "disable"}, f"disabled {name}: its sessions have ended")


@user.command()
@click.argument("name")
@admin_options
def enable(name: str, place: Place) -> None:
    """Enable a user again."""
    place.patch(_path(name), {"enabled": True})
    show({"name": name, "done": "enable"}, f"enabled {name}")


@user.command()
@click.argument("name")
@admin_options
def remove(name: str, place: Place) -> None:
    """Remove a user with its passkeys and sessions."""
    place.delete(_path(name))
    show({"name": name, "done": "remove"}, f"removed {name}: its sessions have ended")


def _path(name: str) -> str:
    return f"/users/{segment(name)}"
