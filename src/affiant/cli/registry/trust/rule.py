"""`affiant rule`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from affiant.cli.connection.admin import Admin, segment
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.output import Listing, describe, show, show_list
from affiant.cli.registry.options import check_scopes, member_options, members
from affiant.cli.registry.trust.words import state, words_of
from affiant.server.registry.federation import fields
from affiant.server.registry.fields import By
from affiant.storage.records import NotFound

_NEW = [row for row in fields.RULE.by(By.NEW) if row.option is not None]
_CHANGED = [row for row in fields.RULE.by(By.CHANGE) if row.option is not None]
_REQUIRED = ("trust", "client_id", "conditions")


@click.group()
def rule() -> None:
    """A rule compares the claims of a platform's token with its conditions.

    \b
    affiant rule add deploy --trust github --client deploy --when repository_id=42 --when ref=refs/heads/main
    affiant rule list --trust github
    """


@rule.command()
@click.argument("name")
@member_options(_NEW)
@admin_options
def add(name: str, place: Place, **options: Any) -> None:
    """Let tokens of a trust speak for a service.

    affiant trust add makes the trust, and a first rule with it.

    \b
    affiant rule add deploy --trust github --client deploy --when repository_id=42 --when ref=refs/heads/main
    affiant rule add nightly --trust github --client report --when repository_id=42 --when event_name=schedule
    affiant rule add orders --trust cluster --client orders --when sub=system:serviceaccount:shop:orders
    affiant rule add admins --trust ci --client admin --when /user/admin:=true --access-token-lifetime 300

    A token must meet all conditions, and have one of the values of each claim. CLAIM is a member of the token, or a
    JSON Pointer to a nested one. A text may end in * for more up to the next : or /, or in ** for any more.
    CLAIM:=VALUE is for true, false and whole numbers: the text "true" and true are different.
    """
    wanted = {"name": name, **members(_NEW, options)}
    missing = [str(fields.RULE.rows[member].option) for member in _REQUIRED if member not in wanted]
    if missing:
        raise click.UsageError(f"a rule needs {', '.join(missing)}")

    async def work(api: Admin) -> dict[str, Any]:
        made: dict[str, Any] = await api.post("/rules", wanted)
        await check_scopes(api, wanted.get("scope", ()))
        return made

    made = place.run(work)
    show(made, _line(made))


@rule.command("list")
@click.option("--trust", metavar="NAME", help="only the rules of this trust")
@click.option("--client", "client_id", metavar="CLIENT_ID", help="only the rules that name this service")
@admin_options
def list_(place: Place, trust: str | None, client_id: str | None) -> None:
    """List the rules."""
    show_list(place.all("/rules", trust=trust, client_id=client_id), _LISTING)


@rule.command("show")
@click.argument("name")
@admin_options
def show_(name: str, place: Place) -> None:
    """Show a rule."""
    found = place.get(_path(place, name))
    show(found, *describe(words_of(found)))


@rule.command()
@click.argument("name")
@member_options(_CHANGED)
@admin_options
def update(name: str, place: Place, **options: Any) -> None:
    """Change a rule and end its tokens.

    Options that are left out change nothing. --when replaces all conditions.

    \b
    affiant rule update deploy --scope orders.read --access-token-lifetime 300
    affiant rule update deploy --when repository_id=42 --when ref=refs/heads/main --when ref=refs/heads/next
    """
    wanted = members(_CHANGED, options)
    path = _path(place, name)

    async def work(api: Admin) -> dict[str, Any]:
        changed: dict[str, Any] = await api.patch(path, wanted)
        await check_scopes(api, wanted.get("scope", ()))
        return changed

    changed = place.run(work)
    show(changed, _line(changed))


@rule.command()
@click.argument("name")
@admin_options
def disable(name: str, place: Place) -> None:
    """Disable a rule and end its tokens.

    affiant rule enable lets it give new ones.
    """
    place.patch(_path(place, name), {"enabled": False})
    show({"name": name, "done": "disable"}, f"disabled {name}")


@rule.command()
@click.argument("name")
@admin_options
def enable(name: str, place: Place) -> None:
    """Enable a disabled rule."""
    place.patch(_path(place, name), {"enabled": True})
    show({"name": name, "done": "enable"}, f"enabled {name}")


@rule.command()
@click.argument("name")
@admin_options
def remove(name: str, place: Place) -> None:
    """Remove a rule and end its tokens."""
    place.delete(_path(place, name))
    show({"name": name, "done": "remove"}, f"removed {name}")


def _path(place: Place, name: str) -> str:
    """Return the path of a rule in the admin API; `name` is its own, or TRUST/NAME as in tokens and records."""
    trust, _, own = name.rpartition("/")
    path = f"/rules/{segment(own)}"
    if trust and place.get(path)["trust"] != trust:
        raise NotFound(f"the trust {trust} has no rule named {own}: see  affiant rule list")
    return path


def _cells(found: Mapping[str, Any]) -> tuple[object, ...]:
    when, scope = " ".join(fields.option_values(found["conditions"])), " ".join(found["scope"])
    return found["name"], found["trust"], found["client_id"], state(found), scope, when


def _line(found: Mapping[str, Any]) -> str:
    off = "" if found["enabled"] else "  (disabled)"
    when = " ".join(fields.option_values(found["conditions"]))
    return f"rule {found['trust']}/{found['name']}  gives {found['client_id']} to  {when}{off}"


_LISTING = Listing(
    ("RULE", "TRUST", "CLIENT", "STATE", "SCOPE", "CONDITIONS"),
    _cells,
    _line,
    "no rules: affiant rule add NAME --trust TRUST --client CLIENT_ID --when CLAIM=VALUE",
)
