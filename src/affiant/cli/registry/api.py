"""`affiant api`."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import click

from affiant.cli.connection.place import Admin, Place, admin_options, new_or_existing, run_admin, segment
from affiant.cli.output import Listing, json_option, render_members, show, show_list
from affiant.cli.registry.choices import RARE, UNTYPED, lifetime_option, typ_option
from affiant.errors import ConfigError
from affiant.jose.algorithms import ASYMMETRIC
from affiant.oauth import names
from affiant.server.registry import rules
from affiant.storage.records import NotFound

_signing_option: Callable[[Any], Any] = click.option(
    "--signing-alg",
    type=click.Choice([rules.SERVERS_CHOICE, *ASYMMETRIC]),
    metavar="ALG",
    help="what its tokens are signed with, where that is not the server's own choice (default)",
)
_details_option: Callable[[Any], Any] = click.option(
    "--details-type",
    "details_types",
    multiple=True,
    metavar="T",
    help="a type of authorization_details it understands; may repeat",
)
_lifetime_option = lifetime_option("seconds that a token for it lives at most, or default for the server's setting")


@click.group()
def api() -> None:
    """The APIs that tokens are for."""


@api.command()
@click.argument("name")
@click.option("--identifier", required=True, metavar="URL", help="what the token's aud will be")
@click.option("--scope", "scopes", multiple=True, metavar="S", help="a scope it knows; may repeat")
@_details_option
@_signing_option
@_lifetime_option
@typ_option
@admin_options
@json_option
def new(name: str, identifier: str, place: Place, as_json: bool, **options: Any) -> None:
    """Register an API. The first one is the default, for tokens that name none.

    \b
    affiant api new orders --identifier https://orders.example --scope orders.read --scope orders.write
    affiant api new ledger --identifier https://ledger.example --scope ledger.read --signing-alg PS256

    --signing-alg is for an API whose gateway or library does not verify what the server signs with (affiant
    signing-key list). A token has one signature: no token is for two APIs that have chosen differently.
    """

    async def work(admin: Admin) -> dict[str, Any]:
        made: dict[str, Any] = await admin.post("/apis", {"name": name, "identifier": identifier, **_members(options)})
        return made

    made = run_admin(new_or_existing(place), work)
    _warn(options)
    show(made, f"api {name}: {identifier}{_marks(made)}", as_json=as_json)


@api.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, metavar="S", help="the scopes it knows, instead of those before")
@click.option("--default", "is_default", is_flag=True, help="tokens that name no API are for it")
@_details_option
@_signing_option
@_lifetime_option
@typ_option
@admin_options
@json_option
def update(name: str, place: Place, as_json: bool, **options: Any) -> None:
    """Change what an API is registered for, by its name or its identifier. What is not named stays as it is.

    \b
    affiant api update orders --scope orders.read --scope orders.write
    affiant api update ledger --signing-alg PS256
    affiant api update ledger --signing-alg default
    affiant api update ledger --access-token-lifetime 300
    affiant api update slurm --token-typ JWT

    Tokens that were signed before stay good. Let the API accept the new algorithm before (the `algorithms` of its
    guard).
    """

    async def work(admin: Admin) -> dict[str, Any]:
        standing = _named(await admin.all("/apis"), name)
        changed: dict[str, Any] = await admin.patch(f"/apis/{segment(standing['identifier'])}", _members(options))
        return changed

    changed = run_admin(place, work)
    _warn(options)
    show(changed, f"api {changed['name']}: {changed['identifier']}{_marks(changed)}", as_json=as_json)


@api.command("list")
@admin_options
@json_option
def list_(place: Place, as_json: bool) -> None:
    """List the APIs."""

    async def work(admin: Admin) -> list[Any]:
        return await admin.all("/apis")

    found = run_admin(place, work)
    show_list(found, _LISTING, as_json=as_json)


@api.command("show")
@click.argument("name")
@admin_options
@json_option
def show_(name: str, place: Place, as_json: bool) -> None:
    """Show what an API is registered for, by its name or its identifier."""

    async def work(admin: Admin) -> dict[str, Any]:
        return _named(await admin.all("/apis"), name)

    found = run_admin(place, work)
    show(found, render_members(found), as_json=as_json)


def _line(found: dict[str, Any]) -> str:
    return f"{found['name']}  {found['identifier']}  {' '.join(found['scopes'])}{_marks(found)}"


def _cells(found: dict[str, Any]) -> tuple[object, ...]:
    lives, typ = found["access_token_lifetime"], found["access_token_typ"]
    return (
        found["name"],
        found["identifier"],
        "yes" if found["is_default"] else "",
        found["signing_alg"] or "",
        f"{lives} s" if lives else "",
        typ if typ != names.ACCESS_TOKEN_TYP else "",
        " ".join(found["scopes"]),
    )


_LISTING = Listing(
    ("API", "IDENTIFIER", "DEFAULT", "SIGNED WITH", "LIFETIME", "TYP", "SCOPE"),
    _cells,
    _line,
    "no APIs: affiant api new NAME --identifier URL",
)


def _marks(found: dict[str, Any]) -> str:
    lives, typ = found["access_token_lifetime"], found["access_token_typ"]
    marks = (
        "(default)" if found["is_default"] else None,
        found["signing_alg"],
        f"{lives} s" if lives else None,
        f"typ {typ}" if typ != names.ACCESS_TOKEN_TYP else None,
    )
    return "".join(f"  {mark}" for mark in marks if mark)


def _warn(options: dict[str, Any]) -> None:
    if options["access_token_typ"] not in (None, names.ACCESS_TOKEN_TYP):
        click.echo(UNTYPED, err=True)
    if (alg := options["signing_alg"] or "").startswith("ML-DSA"):
        click.echo(RARE.format(alg=alg), err=True)


def _members(options: dict[str, Any]) -> dict[str, Any]:
    """What the options say, by the names of the admin API; what was not given is left out."""
    return {
        "authorization_details_types" if name == "details_types" else name: list(value)
        if isinstance(value, tuple)
        else value
        for name, value in options.items()
        if value or (value == 0 and value is not False)
    }


def _named(apis: list[Any], name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [api for api in apis if name in (api["name"], api["identifier"])]
    if not found:
        close = get_close_matches(name, [known for api in apis for known in (api["name"], api["identifier"])], n=1)
        meant = f"did you mean {close[0]}? See" if close else "see"
        raise NotFound(f"there is no API {name}: {meant}  affiant api list")
    if len(found) > 1:
        raise ConfigError(f"{len(found)} APIs are named {name}: say which by its identifier")
    return found[0]
