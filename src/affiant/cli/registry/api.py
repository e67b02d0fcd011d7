"""`affiant api`."""

from __future__ import annotations

from typing import Any

import click

from affiant.cli.arguments import nearest
from affiant.cli.connection.admin import Admin, segment
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.output import Listing, describe, show, show_list
from affiant.cli.registry.options import member_options, members
from affiant.errors import ConfigError
from affiant.oauth import names
from affiant.server.registry import fields
from affiant.storage.records import NotFound

_RARE = (
    "warning: few libraries verify {alg}, and some cannot read a key set at /jwks that has such a key, so that APIs"
    " with another algorithm are affected too (docs/reference/signing-keys.md)"
)
_UNTYPED = (
    "warning: tokens of typ JWT are not RFC 9068 access tokens: a verifier cannot tell them from other JWTs of this"
    " issuer by their typ, and the guard of affiant refuses them. Use it only for a verifier that does not know at+jwt"
)


@click.group()
def api() -> None:
    """A token is for one API or several: they are its aud."""


@api.command()
@click.argument("name")
@click.option("--identifier", required=True, metavar="URL", help="what the token's aud will be")
@member_options(fields.API)
@admin_options
def new(name: str, identifier: str, place: Place, **options: Any) -> None:
    """Register an API.

    The first one is the default, for tokens that name none.

    \b
    affiant api new orders --identifier https://orders.example --scope orders.read --scope orders.write
    affiant api new ledger --identifier https://ledger.example --scope ledger.read --signing-alg PS256

    --signing-alg is for an API whose gateway or library does not verify what the server signs with (affiant
    signing-key list). A token has one signature: no token is for two APIs that have chosen differently.
    """
    made = place.or_new().post("/apis", {"name": name, "identifier": identifier, **members(fields.API, options)})
    _warn(options)
    show(made, f"api {name}: {made['identifier']}{_marks(made)}")


@api.command()
@click.argument("name")
@member_options(fields.API)
@click.option("--default", "is_default", is_flag=True, help="tokens that name no API are for it")
@admin_options
def update(name: str, is_default: bool, place: Place, **options: Any) -> None:
    """Change an API.

    NAME is its name or its identifier. Options that are left out change nothing.

    \b
    affiant api update orders --scope orders.read --scope orders.write
    affiant api update ledger --signing-alg PS256
    affiant api update ledger --signing-alg default
    affiant api update ledger --access-token-lifetime 300
    affiant api update slurm --token-typ JWT

    Tokens that were signed before stay valid. First let the API accept the new algorithm (the `algorithms` of its
    guard).
    """
    wanted = members(fields.API, options)
    if is_default:
        wanted["is_default"] = True

    async def work(admin: Admin) -> dict[str, Any]:
        found = _named(await admin.all("/apis"), name)
        changed: dict[str, Any] = await admin.patch(f"/apis/{segment(found['identifier'])}", wanted)
        return changed

    changed = place.run(work)
    _warn(options)
    show(changed, f"api {changed['name']}: {changed['identifier']}{_marks(changed)}")


@api.command("list")
@admin_options
def list_(place: Place) -> None:
    """List the APIs."""
    show_list(place.all("/apis"), _LISTING)


@api.command("show")
@click.argument("name")
@admin_options
def show_(name: str, place: Place) -> None:
    """Show an API.

    NAME is its name or its identifier.
    """
    found = _named(place.all("/apis"), name)
    show(found, *describe(found))


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
        click.echo(_UNTYPED, err=True)
    if (alg := options["signing_alg"] or "").startswith("ML-DSA"):
        click.echo(_RARE.format(alg=alg), err=True)


def _named(apis: list[Any], name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [api for api in apis if name in (api["name"], api["identifier"])]
    if not found:
        close = nearest(name, (known for api in apis for known in (api["name"], api["identifier"])))
        meant = f"did you mean {close}? See" if close else "see"
        raise NotFound(f"there is no API {name}: {meant}  affiant api list")
    if len(found) > 1:
        raise ConfigError(f"{len(found)} APIs are named {name}: give its identifier")
    return found[0]
