"""`affiant client`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from affiant.cli.connection.place import Admin, Place, admin_options, run_admin, segment
from affiant.cli.output import Listing, instant, json_option, render_members, show, show_list, warn_left_out
from affiant.cli.registry.choices import policy_options
from affiant.cli.registry.client.certificates import certificate_options, key_of, take_subject
from affiant.cli.registry.handover import partner, several
from affiant.errors import ConfigError
from affiant.jose import keys
from affiant.jose.key_set import KeySet
from affiant.jose.keys import PublicKey
from affiant.oauth import names
from affiant.server.registry import rules
from affiant.server.registry.profiles import GUIDE, PROFILES

_BOUND = ("dpop_bound_access_tokens", "tls_client_certificate_bound_access_tokens")
_MEMBERS = {
    "dpop": "dpop_bound_access_tokens",
    "certificate_bound": "tls_client_certificate_bound_access_tokens",
    "details_types": "authorization_details_types",
}
_ONLY_WHERE_THERE_IS_ONE = ("client_secret", "jwks_left_out")
_FILE = click.Path(path_type=Path, dir_okay=False, readable=False)
_LAST = 10**11  # seconds since 1970 up to which an instant has a date


def keys_option(command: Any) -> Any:
    """--public-key, --jwks and --jwks-uri."""
    told = "where it publishes its public keys (https), instead of giving them"
    command = click.option("--jwks-uri", metavar="URL", help=told)(command)
    jwks = click.option("--jwks", type=_FILE, help="its public keys, as a JWK Set")
    return click.option("--public-key", type=_FILE, help="its public key, PEM or JWK")(jwks(command))


def name_option(command: Any) -> Any:
    """--name."""
    return click.option("--name", "client_name", metavar="TEXT", help="what people call it")(command)


def dpop_option(command: Any) -> Any:
    """--dpop."""
    return click.option(
        "--dpop", type=click.Choice(rules.DPOP_POLICIES), help="whether its tokens must be bound to a key"
    )(command)


def details_option(command: Any) -> Any:
    """--details-type."""
    told = "a type of authorization_details (RFC 9396) that it may ask for; may repeat"
    return click.option("--details-type", "details_types", multiple=True, metavar="T", help=told)(command)


@click.group()
def client() -> None:
    """The services that may ask for tokens."""


@client.command()
@click.argument("client_names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--auth",
    "auth_method",
    type=click.Choice(names.AUTH_METHODS),
    help="how it authenticates (default: private_key_jwt)",
)
@click.option("--alg", help="what it signs with (default: ES256, or HS256 for client_secret_jwt)")
@click.option("--scope", multiple=True, metavar="S", help="a scope it may ask for; may repeat")
@click.option("--resource", "resources", multiple=True, metavar="URL", help="an API it may ask for; may repeat")
@click.option("--grant", "grant_types", multiple=True, metavar="G", help="a grant it may use; may repeat")
@click.option("--introspect", "introspects", multiple=True, metavar="URL", help="an API whose tokens it may introspect")
@name_option
@details_option
@dpop_option
@certificate_options
@policy_options
@click.option("--profile", type=click.Choice(PROFILES), help="what else it is held to, or allowed")
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
    usual = names.CLIENT_SECRET_JWT if options["profile"] == GUIDE else names.PRIVATE_KEY_JWT
    method, alg = options.pop("auth_method") or usual, options.pop("alg")
    given, wanted = given_keys(alg, options), members(options)
    _check_several(client_names, given, wanted)
    wanted |= {"token_endpoint_auth_method": method, **jwks_of(given)}
    # A client that authenticates by TLS has the key of its certificate already; all else that it needs is in the file.
    has_file = not (given or options["jwks_uri"]) or method in names.BY_TLS
    writes = "key" if needs_key(method, given, options["jwks_uri"]) else "file" if has_file else "nothing"
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


def given_keys(alg: str | None, options: dict[str, Any]) -> tuple[PublicKey, ...] | None:
    """The keys that --public-key, --jwks or --certificate name, out of the options; None where none was named."""
    named = {option: options.pop(option) for option in ("public_key", "jwks", "certificate")}
    if sum(path is not None for path in named.values()) > 1:
        raise ConfigError("give one of --public-key, --jwks and --certificate")
    if named["certificate"] is not None:
        return (key_of(named["certificate"]),)
    return public_keys(alg, named["public_key"], named["jwks"])


def needs_key(method: str, given: tuple[PublicKey, ...] | None, jwks_uri: str | None) -> bool:
    """Whether a key is to be made for this client."""
    return method == names.PRIVATE_KEY_JWT and given is None and jwks_uri is None


def jwks_of(public: tuple[PublicKey, ...] | None) -> dict[str, Any]:
    """The member for these keys; none where they are None."""
    return {"jwks": KeySet(public).to_jwks()} if public is not None else {}


def members(options: dict[str, Any]) -> dict[str, Any]:
    """What the options say, by the names of the admin API; what was not given is left out."""
    subject = take_subject(options)
    options = {_MEMBERS.get(option, option): value for option, value in options.items()}
    bound = {name: value == "required" for name in _BOUND if (value := options.pop(name)) is not None}
    told = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in options.items()
        if value or value == 0  # of the seconds that a token lives: the setting of the server
    }
    return {**told, **bound, **dict([subject] if subject is not None else [])}


def public_keys(alg: str | None, public_key: Path | None, jwks: Path | None) -> tuple[PublicKey, ...] | None:
    """The keys in the file that was named, or None where none was."""
    if jwks is not None:
        given = KeySet.parse_given(_json(_read(jwks), jwks))
        warn_left_out(jwks, given.left_out)
        return given.keys
    if public_key is None:
        return None
    text = _read(public_key)
    if text.lstrip().startswith(b"{"):
        return (keys.parse_public_jwk(_json(text, public_key)),)
    return (keys.parse_public_pem(text, alg=alg),)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _json(text: bytes, path: Path) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ConfigError(f"{path} is not JSON") from None


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
