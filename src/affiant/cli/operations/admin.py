"""`affiant admin`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from affiant.cli.connection.admin import Admin, segment
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.output import show
from affiant.cli.registry.handover import delivery, draft
from affiant.client.credentials.file import file_name
from affiant.jose import keys
from affiant.server.admin.roles import PATH, SCOPES, Role
from affiant.storage.records import NotFound

_ROLES = tuple(role.value for role in Role)
_teams_option = click.option(
    "--team", "teams", multiple=True, metavar="TEAM", help="limit its role to what this team owns; may repeat"
)


@click.group()
def admin() -> None:
    """A client of the admin API is a viewer, an operator or an owner.

    \b
    affiant admin bootstrap alice
    affiant client list --url https://as.example -c alice.affiant.json
    """


@admin.command()
@click.argument("name", default="admin")
@click.option("--role", type=click.Choice(_ROLES), default=Role.OWNER.value, show_default=True, help="what it may do")
@_teams_option
@admin_options
def bootstrap(name: str, role: str, teams: tuple[str, ...], place: Place) -> None:
    """Register the first administrator.

    It opens the admin API, registers a client that may use it, and writes the credentials file NAME.affiant.json.

    \b
    affiant admin bootstrap
    affiant admin bootstrap watcher --role viewer
    affiant admin bootstrap payments-ci --role operator --team payments

    The file grants its role to anyone who has it: an owner may do everything. At the data folder this works at any
    time.
    """
    path, made = Path(file_name(name)), keys.generate("ES256")
    draft.check_free(path)

    async def work(api: Admin) -> str:
        await _open(api)
        wanted = {
            "client_id": name,
            "token_endpoint_auth_signing_alg": made.alg,
            "jwks": {"keys": [made.public().to_jwk()]},
            "scope": [Role(role).scope],
            "resources": [api.issuer + PATH],
            **({"administers": list(teams)} if teams else {}),
        }
        await delivery.register(api, wanted, path, made)
        return api.issuer

    issuer = place.or_new().run(lambda api: delivery.to_the_end(work(api)))
    show(
        {"client_id": name, "role": role, "api": issuer + PATH, "credentials": str(path)},
        f"{role} {name}  of {issuer}{PATH}",
        f"credentials {path}  (0600: keep it secret)",
        f"next: affiant client list --url {issuer} -c {path}",
    )


@admin.command()
@click.argument("name")
@click.argument("role", type=click.Choice([*_ROLES, "none"]))
@_teams_option
@admin_options
def grant(name: str, role: str, teams: tuple[str, ...], place: Place) -> None:
    """Give a client a role, or none.

    The role replaces the one that it has, with its teams. Without --team it is not limited to teams.

    \b
    affiant admin grant deployer operator
    affiant admin grant deployer operator --team payments --team billing
    affiant admin grant deployer none
    """
    if teams and role == "none":
        raise click.UsageError("a client without a role administers no team")

    async def work(api: Admin) -> dict[str, Any]:
        await _open(api)
        return await _set_role(api, name, None if role == "none" else Role(role), teams)

    show(place.run(work), f"{name}  {role}")


@admin.command("list")
@admin_options
def list_(place: Place) -> None:
    """List the clients that have a role."""

    async def work(api: Admin) -> list[dict[str, Any]]:
        found = await api.all("/grants")
        return [row for row in found if row["resource"] == api.issuer + PATH and row["scope"]]

    found = place.run(work)
    lines = [f"{row['client_id']}  {' '.join(row['scope'])}{'' if row['enabled'] else '  (disabled)'}" for row in found]
    show(found, *(lines or ["no client has a role in the admin API: affiant admin bootstrap NAME"]))


async def _open(api: Admin) -> None:
    """Register the admin API, unless it is."""
    identifier = api.issuer + PATH
    try:
        await api.get(f"/apis/{segment(identifier)}")
    except NotFound:
        wanted = {"identifier": identifier, "name": "affiant admin", "scopes": list(SCOPES), "is_default": False}
        await api.post("/apis", wanted)


async def _set_role(api: Admin, name: str, role: Role | None, teams: Sequence[str]) -> dict[str, Any]:
    identifier, path = api.issuer + PATH, f"/clients/{segment(name)}"
    found = await api.get(path)
    others = [scope for scope in found["scope"] if scope not in SCOPES]
    resources = [resource for resource in found["resources"] if resource != identifier]
    if role is not None:
        # A client without resources may ask for the default API: with this one named, it must be named too.
        default = [each["identifier"] for each in await api.all("/apis") if each["is_default"]]
        resources = [*(resources or default if others else resources), identifier]
        others.append(role.scope)
    wanted = {"scope": others, "resources": resources, "administers": list(teams)}
    changed: dict[str, Any] = await api.patch(path, wanted)
    return changed
