"""`affiant client`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from affiant.cli.connection.place import Admin, Place, admin_options, run_admin, segment
from affiant.cli.output import Listing, instant, json_option, render_members, show, show_list
from affiant.cli.registry import public_keys
from affiant.cli.registry.handover import partner, several
from affiant.cli.registry.options import member_options, members
from affiant.errors import ConfigError
from affiant.jose.key_set import KeySet
from affiant.jose.keys import PublicKey
from affiant.oauth import names
from affiant.server.registry import fields
from affiant.server.registry.fields import By
from affiant.server.registry.profiles import GUIDE

_NEW = fields.CLIENT.by(By.NEW)
_ONLY_WHERE_THERE_IS_ONE = ("client_secret", "jwks_left_out")
_FILE = click.Path(path_type=Path, dir_okay=False, readable=False)
_LAST = 10**11  # seconds since 1970 up to which an instant has a date


def keys_option(command: Any) -> Any:
    """--public-key, --jwks and --certificate."""
    for option, help_ in (
        ("--certificate", "for self_signed_tls_client_auth: its certificate, PEM"),
        ("--jwks", "its public keys, as a JWK Set"),
        ("--public-key", "its public key, PEM or JWK"),
    ):
        command = click.option(option, type=_FILE, help=help_)(command)
    return command


@click.group()
def client() -> None:
    """The services that may ask for tokens."""


@client.command()
@click.argument("client_names", metavar="NAME...", nargs=-1, required=True)
@member_options(_NEW)
@keys_option
@admin_options
@json_option
def new(client_names: tuple[str, ...], place: Place, as_json: bool, **options: Any) -> None:
    """Register services, and write for each its credentials file NAME.affiant.json.

    \b
    affiant client new billing --scope orders.read
    affiant client new shop cart mailer --scope orders.read
    affiant client new partner --public-key partner.pem --scope orders.read
    affiant client new hosted --jwks-uri https://billing.example/jwks.json
    affiant client new legacy --auth client_secret_basic
    affiant client new smart --public-key smart.pem --audience legacy --access-token-lifetime 300
    affiant client new meshed --auth tls_client_auth --tls-san-dns meshed.example
    affiant client new spiffe://example/billing --public-key billing.pem

    NAME is the client_id: 1 to 256 of A-Z a-z 0-9 . _ ~ - : / @ + = , ! ? &. The name of the file has most of them
    percent-encoded. A key is made on this machine, and only its public half is sent. For a service whose public key
    is given, no file is written: what its owner must know is printed. A run that was stopped is finished by the same
    command.
    """
    wanted = members(_NEW, options)
    usual = names.CLIENT_SECRET_JWT if wanted.get("profile") == GUIDE else names.PRIVATE_KEY_JWT
    method, alg = wanted.pop("token_endpoint_auth_method", usual), wanted.pop("token_endpoint_auth_signing_alg", None)
    given, jwks_uri = given_keys(alg, options), wanted.get("jwks_uri")
    _check_several(client_names, given, wanted)
    wanted |= {"token_endpoint_auth_method": method, **jwks_of(given)}
    # A client that authenticates by TLS has the key of its certificate already; all else that it needs is in the file.
    has_file = not (given or jwks_uri) or method in names.BY_TLS
    needs_key = method == names.PRIVATE_KEY_JWT and given is None and jwks_uri is None
    writes = "key" if needs_key else "file" if has_file else "nothing"
    wanted_clients = [several.build(name, wanted, alg=alg, writes=writes) for name in client_names]
    done = several.register_all(place, wanted_clients)
    data = [{n: v for n, v in one.items() if v or n not in _ONLY_WHERE_THERE_IS_ONE} for one in done]
    show(data[0] if len(data) == 1 else data, "\n".join(map(_told, done)), as_json=as_json)


def _check_several(
    client_names: tuple[str, ...], given: tuple[PublicKey, ...] | None, wanted: Mapping[str, Any]
) -> None:
    """Pass several clients that have nothing in common which only one can have."""
    own = [name for name in wanted if name in ("jwks_uri", "client_name") or name.startswith("tls_client_auth_")]
    if len(client_names) > 1 and (given or own):
        what = ", ".join(own) or "a public key"
        raise click.UsageError(f"{what} belongs to one client: register {', '.join(client_names)} one by one")
    if len(set(client_names)) < len(client_names):
        raise click.UsageError("one name is given twice")


@client.command("list")
@admin_options
@json_option
def list_(place: Place, as_json: bool) -> None:
    """List the services, and when each was last used."""

    async def work(api: Admin) -> list[Any]:
        return await api.all("/clients")

    found = run_admin(place, work)
    show_list(found, _LISTING, as_json=as_json)


@client.command("show")
@click.argument("name")
@admin_options
@json_option
def show_(name: str, place: Place, as_json: bool) -> None:
    """Show a service: what it is registered for, and its public keys. Never a secret."""

    async def work(api: Admin) -> Any:
        return await api.get(f"/clients/{segment(name)}")

    found = run_admin(place, work)
    show(found, render_members(found), as_json=as_json)


def _line(found: Mapping[str, Any]) -> str:
    words = (found["client_id"], found["token_endpoint_auth_method"], " ".join(found["scope"]), _used(found))
    return "  ".join(words) + ("" if found["enabled"] else "  (disabled)")


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


def _used(found: Mapping[str, Any]) -> str:
    at, uses = found.get("last_used_at"), found.get("uses")
    if at is None or not 0 <= at < _LAST:
        return "never used" if uses == 0 else ""
    return f"used {uses} time{'s' * (uses != 1)}, last {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"


def _change(verb: str, summary: str) -> click.Command:
    @click.argument("name")
    @admin_options
    @json_option
    def command(name: str, place: Place, as_json: bool) -> None:
        async def work(api: Admin) -> None:
            path = f"/clients/{segment(name)}"
            if verb == "remove":
                await api.delete(path)
            else:
                await api.patch(path, {"enabled": verb == "enable"})

        run_admin(place, work)
        show({"client_id": name, "done": verb}, f"{verb}d {name}", as_json=as_json)

    command.__doc__ = summary
    return client.command(verb)(command)


_change("disable", "Refuse a service from now on; its access tokens end at once.")
_change("enable", "Let a disabled service in again.")
_change("remove", "Forget a service and its keys; its tokens end at once.")


def given_keys(alg: str | None, options: Mapping[str, Any]) -> tuple[PublicKey, ...] | None:
    """Return the keys that --public-key, --jwks or --certificate names; None if none of them is given."""
    named = [option for option in ("public_key", "jwks", "certificate") if options[option] is not None]
    if not named:
        return None
    if len(named) > 1:
        raise ConfigError("give one of --public-key, --jwks and --certificate")
    path = options[named[0]]
    if named == ["jwks"]:
        return public_keys.read_set(path)
    is_certificate = named == ["certificate"]
    return (public_keys.read_certificate(path) if is_certificate else public_keys.read_key(path, alg=alg),)


def jwks_of(public: tuple[PublicKey, ...] | None) -> dict[str, Any]:
    """The member for these keys; none where they are None."""
    return {"jwks": KeySet(public).to_jwks()} if public is not None else {}


def _told(registered: dict[str, Any]) -> str:
    lines = [f"client {registered['client_id']}  {registered['token_endpoint_auth_method']}"]
    if "finished" in registered:
        lines.append(f"finished: {registered['finished']}")
    if registered.get("client_secret"):
        lines.append(f"client_secret {registered['client_secret']}  (shown this once)")
    if (path := registered["credentials"]) is not None:
        is_tls = registered["token_endpoint_auth_method"] in names.BY_TLS
        first = 'add "certificate" and "certificate_key", whole paths of PEM files, to it; then  ' if is_tls else ""
        lines += [f"credentials {path}  (0600: keep it secret)", f"next: {first}affiant token --credentials {path}"]
    else:
        lines.append(partner.render(registered["hand_over"]))
    return "\n".join(lines)
