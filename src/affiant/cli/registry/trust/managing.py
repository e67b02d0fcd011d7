"""`affiant trust list`, `show`, `update`, `enable`, `disable` and `remove`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from affiant.cli.connection.admin import segment
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.output import Listing, describe, show, show_list, warn_left_out
from affiant.cli.registry.options import member_options, members
from affiant.cli.registry.trust.words import state, words_of
from affiant.errors import ConfigError
from affiant.server.registry.federation import fields
from affiant.server.registry.fields import By

_CHANGED = [row for row in fields.TRUST.by(By.CHANGE) if row.option is not None]


@click.command("list")
@admin_options
def list_(place: Place) -> None:
    """List the trusts."""
    show_list(place.all("/trusts"), _LISTING)


@click.command("show")
@click.argument("name")
@admin_options
def show_(name: str, place: Place) -> None:
    """Show a trust."""
    found = place.get(f"/trusts/{segment(name)}")
    show(found, *describe(words_of(found)))


@click.command()
@click.argument("name")
@member_options(_CHANGED)
@click.option("--try-keys", is_flag=True, help="fetch its keys first, and change nothing if they cannot be obtained")
@admin_options
def update(name: str, try_keys: bool, place: Place, **options: Any) -> None:
    """Change a trust and end its tokens.

    Options that are left out change nothing. New keys, or a new address of them, replace the old ones.

    \b
    affiant trust update cluster --jwks cluster.json
    affiant trust update cluster --jwks-uri https://10.0.0.1:6443/openid/v1/jwks --ca ca.pem --try-keys
    affiant trust update github --audience https://as.example --max-lifetime 600
    """
    path = f"/trusts/{segment(name)}{'?try_keys=true' if try_keys else ''}"
    changed = place.patch(path, members(_CHANGED, options))
    show(changed, _line(changed))


@click.command()
@click.argument("name")
@admin_options
def keys(name: str, place: Place) -> None:
    """Fetch the keys of a trust and show them."""
    found = place.get(f"/trusts/{segment(name)}/keys")
    warn_left_out(found["uri"] or "the uploaded set", found["left_out"])
    if found["problem"] is not None:
        raise ConfigError(found["problem"])
    lines = [f"{key['kid'] or 'no kid'}  {' '.join(key['algorithms'])}  {key['thumbprint']}" for key in found["keys"]]
    show(found, *lines, *filter(None, [found["in_use"]]))


@click.command()
@click.argument("name")
@admin_options
def disable(name: str, place: Place) -> None:
    """Refuse the tokens of a trust at once.

    The access tokens that its rules gave end too. affiant trust enable takes new ones again.
    """
    place.patch(f"/trusts/{segment(name)}", {"enabled": False})
    show({"name": name, "done": "disable"}, f"disabled {name}")


@click.command()
@click.argument("name")
@admin_options
def enable(name: str, place: Place) -> None:
    """Enable a disabled trust."""
    place.patch(f"/trusts/{segment(name)}", {"enabled": True})
    show({"name": name, "done": "enable"}, f"enabled {name}")


@click.command()
@click.argument("name")
@click.option("--with-rules", is_flag=True, help="remove its rules too")
@admin_options
def remove(name: str, with_rules: bool, place: Place) -> None:
    """Remove a trust and end its tokens.

    A trust that has rules is removed only with --with-rules.
    """
    place.delete(f"/trusts/{segment(name)}{'?with_rules=true' if with_rules else ''}")
    show({"name": name, "done": "remove"}, f"removed {name}")


COMMANDS = (list_, show_, keys, update, enable, disable, remove)


def _keys(found: Mapping[str, Any]) -> str:
    """Return where the keys come from."""
    if found["jwks"] is not None:
        return "uploaded"
    return str(found["jwks_uri"] or found["discovery_url"] or "the issuer's metadata")


def _cells(found: Mapping[str, Any]) -> tuple[object, ...]:
    return found["name"], found["preset"], state(found), found["replay"], _keys(found), found["issuer"]


def _line(found: Mapping[str, Any]) -> str:
    off = "" if found["enabled"] else "  (disabled)"
    return f"trust {found['name']}  {found['preset']}  {found['issuer']}  keys: {_keys(found)}{off}"


_LISTING = Listing(
    ("TRUST", "PRESET", "STATE", "REPLAY", "KEYS", "ISSUER"),
    _cells,
    _line,
    "no trusts: affiant trust add PLATFORM",
)
