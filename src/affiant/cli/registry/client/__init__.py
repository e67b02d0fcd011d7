"""`affiant client`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from affiant.cli.connection.admin import segment
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.output import Listing, describe, instant, show, show_list
from affiant.cli.registry.client.check import check
from affiant.cli.registry.client.credentials import key, secret
from affiant.cli.registry.client.registration import new, update

_LAST = 10**11  # seconds since 1970 up to which an instant has a date


@click.group()
def client() -> None:
    """A service is a client of the server.

    \b
    affiant client new billing --scope orders.read
    affiant client list
    """


for _command in (new, update, check, key, secret):
    client.add_command(_command)


@client.command("list")
@admin_options
def list_(place: Place) -> None:
    """List the services and their last use."""
    show_list(place.all("/clients"), _LISTING)


@client.command("show")
@click.argument("name")
@admin_options
def show_(name: str, place: Place) -> None:
    """Show a service and its public keys.

    It never shows a secret.
    """
    found = place.get(f"/clients/{segment(name)}")
    show(found, *describe(found))


@client.command()
@click.argument("name")
@admin_options
def disable(name: str, place: Place) -> None:
    """Refuse a service and end its tokens.

    Until it is enabled again.
    """
    place.patch(f"/clients/{segment(name)}", {"enabled": False})
    _show_done(name, "disable")


@client.command()
@click.argument("name")
@admin_options
def enable(name: str, place: Place) -> None:
    """Enable a disabled service."""
    place.patch(f"/clients/{segment(name)}", {"enabled": True})
    _show_done(name, "enable")


@client.command()
@click.argument("name")
@admin_options
def remove(name: str, place: Place) -> None:
    """Remove a service and end its tokens."""
    place.delete(f"/clients/{segment(name)}")
    _show_done(name, "remove")


def _show_done(name: str, verb: str) -> None:
    show({"client_id": name, "done": verb}, f"{verb}d {name}")


def _line(found: Mapping[str, Any]) -> str:
    words = (found["client_id"], found["token_endpoint_auth_method"], " ".join(found["scope"]), _used(found))
    return "  ".join(words) + ("" if found["enabled"] else "  (disabled)")


def _used(found: Mapping[str, Any]) -> str:
    at, uses = found.get("last_used_at"), found.get("uses")
    if at is None or not 0 <= at < _LAST:
        return "never used" if uses == 0 else ""
    return f"used {uses} time{'s' * (uses != 1)}, last {instant(at)}"


def _cells(found: Mapping[str, Any]) -> tuple[object, ...]:
    at, uses = found.get("last_used_at"), found.get("uses")
    last = instant(at) if at is not None else "never" if uses == 0 else ""
    state = "enabled" if found["enabled"] else "disabled"
    method, scope = found["token_endpoint_auth_method"], " ".join(found["scope"])
    return found["client_id"], found.get("client_name") or "", state, method, last, uses or "", scope


_LISTING = Listing(
    ("CLIENT", "NAME", "STATE", "AUTHENTICATION", "LAST USED", "USES", "SCOPE"),
    _cells,
    _line,
    "no clients: affiant client new NAME",
)
