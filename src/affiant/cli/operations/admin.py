"""`affiant admin`: who may administer this server over its admin API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from affiant.cli.connection.place import Admin, Place, admin_options, new_or_existing, run_admin, segment
from affiant.cli.output import json_option, show
from affiant.cli.registry.handover import delivery, draft
from affiant.client.credentials import file_name
from affiant.jose import keys
from affiant.server.admin.roles import PATH, SCOPES, Role
from affiant.storage.records import NotFound

_ROLES = tuple(role.value for role in Role)


@click.group()
def admin() -> None:
    """Who may administer this server over its admin API: viewers, operators, owners.

    \b
    affiant admin bootstrap alice
    affiant client list --url https://as.example -c alice.affiant.json
    """


@admin.command()
@click.argument("name", default="admin")
@click.option("--role", type=click.Choice(_ROLES), default=Role.OWNER.value, show_default=True, help="what it may do")
@admin_options
@json_option
def bootstrap(name: str, role: str, place: Place, as_json: bool) -> None:
    """Open the admin API, and register a client that may use it; writes its credentials file NAME.affiant.json.

    \b
    affiant admin bootstrap
    affiant admin bootstrap watcher --role viewer

    Whoever has the file can do what its role may: an owner everything. At the data folder this can be done at any time.
    """
    path, made = Path(file_name(name)), keys.generate("ES256")
    draft.check_free(path)

    async def work(api: Admin) -> str:
        await _open(api)
        wanted: dict[str, Any] = {
            "client_id": name,
            "token_endpoint_auth_signing_alg": made.alg,
            "jwks": {"keys": [made.public().to_jwk()]},
        }
        wanted |= {"scope": [f"admin.{role}"], "resources": [api.issuer + PATH]}
        await delivery.register(api, wanted, path, made)
        return api.issuer

    issuer = run_admin(new_or_existing(place), lambda api: delivery.to_the_end(work(api)))
    lines = [
        f"{role} {name}  of {issuer}{PATH}",
        f"credentials {path}  (0600: keep it secret)",
        f"next: affiant client list --url {issuer} -c {path}",
    ]
    data = {"client_id": name, "role": role, "api": issuer + PATH, "credentials": str(path)}
    show(data, "\n".join(lines), as_json=as_json)


@admin.command()
@click.argument("name")
@click.argument("role", type=click.Choice([*_ROLES, "none"]))
@admin_options
@json_option
def grant(name: str, role: str, place: Place, as_json: bool) -> None:
    """Give a client this role instead of the one it has; none takes it away.

    \b
    affiant admin grant deployer operator
    affiant admin grant deployer none
    """

    async def work(api: Admin) -> dict[str, Any]:
        await _open(api)
        return await _set_role(api, name, None if role == "none" else Role(role))

    changed = run_admin(place, work)
    show(changed, f"{name}  {role}", as_json=as_json)


@admin.command("list")
@admin_options
@json_option
def list_(place: Place, as_json: bool) -> None:
    """List who has a role."""

    async def work(api: Admin) -> list[dict[str, Any]]:
        found = await api.all("/grants")
        return [row for row in found if row["resource"] == api.issuer + PATH and row["scope"]]

    found = run_admin(place, work)
    lines = [f"{row['client_id']}  {' '.join(row['scope'])}{'' if row['enabled'] else '  (disabled)'}" for row in found]
    show(
        found,
        "\n".join(lines) or "no client has a part in the admin API: affiant admin bootstrap NAME",
        as_json=as_json,
    )


async def _open(api: Admin) -> None:
    """Register the admin API, unless it is."""
    identifier = api.issuer + PATH
    try:
        await api.get(f"/apis/{segment(identifier)}")
    except NotFound:
        wanted = {"identifier": identifier, "name": "affiant admin", "scopes": list(SCOPES), "is_default": False}
        await api.post("/apis", wanted)


async def _set_role(api: Admin, name: str, role: Role | None) -> dict[str, Any]:
    identifier, path = api.issuer + PATH, f"/clients/{segment(name)}"
    standing = await api.get(path)
    others = [scope for scope in standing["scope"] if scope not in SCOPES]
    resources = [resource for resource in standing["resources"] if resource != identifier]
    if role is not None:
        # A client without resources may ask for the default API: with this one named, it must be named too.
        default = [found["identifier"] for found in await api.all("/apis") if found["is_default"]]
        resources = [*(resources or default if others else resources), identifier]
        others.append(role.scope)
    changed: dict[str, Any] = await api.patch(path, {"scope": others, "resources": resources})
    return changed
