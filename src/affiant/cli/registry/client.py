"""`affiant client`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from affiant.cli.operations.road import admin_options, new_or_existing, run_admin, segment
from affiant.cli.output import json_option, show, warn_left_out
from affiant.cli.registry import handover
from affiant.cli.registry.certificates import certificate_options, key_of, take_subject
from affiant.cli.registry.choices import policy_options
from affiant.errors import ConfigError
from affiant.jose import keys
from affiant.jose.key_set import KeySet
from affiant.oauth import names
from affiant.server.registry import rules
from affiant.server.registry.profiles import GUIDE, PROFILES

if TYPE_CHECKING:
    from affiant.cli.operations.road import Admin, Place
    from affiant.jose.keys import PublicKey

_BOUND = ("dpop_bound_access_tokens", "tls_client_certificate_bound_access_tokens")
_MEMBERS = {
    "dpop": "dpop_bound_access_tokens",
    "certificate_bound": "tls_client_certificate_bound_access_tokens",
    "details_types": "authorization_details_types",
}
_ONLY_WHERE_THERE_IS_ONE = ("client_secret", "jwks_left_out")
_SHOWN = ("kid", "kty", "crv", "alg", "state", "id", "created_at", "expires_at")  # of a key or a secret, in one line
_FILE = click.Path(path_type=Path, dir_okay=False, readable=False)


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
@click.argument("name")
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
def new(name: str, place: Place, as_json: bool, **options: Any) -> None:
    """Register a service, and write its credentials file NAME.affiant.json.

    \b
    affiant client new billing --scope orders.read
    affiant client new partner --public-key partner.pem --scope orders.read
    affiant client new hosted --jwks-uri https://billing.example/jwks.json
    affiant client new legacy --auth client_secret_basic
    affiant client new smart --public-key smart.pem --audience legacy --access-token-lifetime 300
    affiant client new meshed --auth tls_client_auth --tls-san-dns meshed.example

    A key is made on this machine, and only its public half is sent.
    """
    usual = names.CLIENT_SECRET_JWT if options["profile"] == GUIDE else names.PRIVATE_KEY_JWT
    method, alg = options.pop("auth_method") or usual, options.pop("alg")
    given, wanted = given_keys(alg, options), members(options)
    made = keys.generate(alg or "ES256") if needs_key(method, given, options["jwks_uri"]) else None
    public = (made.public(),) if made is not None else given
    path = Path(f"{name}.affiant.json")
    # Who authenticates by TLS has the key of its certificate already; all else that it needs is in the file.
    writes = made is not None or not (public or options["jwks_uri"]) or method in names.BY_TLS
    if writes and path.exists():
        raise ConfigError(f"{path} exists already: move it away, or choose another name")
    wanted |= {"client_id": name, "token_endpoint_auth_method": method, **jwks_of(public)}
    if (signs_with := alg or (made.alg if made else None)) is not None:
        wanted["token_endpoint_auth_signing_alg"] = signs_with

    async def register(api: Admin) -> dict[str, Any]:
        registered: dict[str, Any] = await api.post("/clients", wanted)
        if writes:
            await handover.keep(api, handover.credentials_of(registered, api.issuer, made), path)
        return registered

    registered = run_admin(new_or_existing(place), lambda api: handover.to_the_end(register(api)))
    told = {name: value for name, value in registered.items() if value or name not in _ONLY_WHERE_THERE_IS_ONE}
    data = {**told, "credentials": str(path) if writes else None}
    show(data, _told(registered, path if writes else None), as_json=as_json)


@client.command("list")
@admin_options
@json_option
def list_(place: Place, as_json: bool) -> None:
    """List the services."""

    async def work(api: Admin) -> list[Any]:
        return await api.all("/clients")

    found = run_admin(place, work)
    lines = [
        f"{c['client_id']}  {c['token_endpoint_auth_method']}  {' '.join(c['scope'])}"
        + ("" if c["enabled"] else "  (disabled)")
        for c in found
    ]
    text = "\n".join(lines) or "no clients: affiant client new NAME"
    show(found, text, as_json=as_json)


@client.command("show")
@click.argument("name")
@admin_options
@json_option
def show_(name: str, place: Place, as_json: bool) -> None:
    """Show a service: what it is registered for, and its public keys. Never a secret."""

    async def work(api: Admin) -> Any:
        return await api.get(f"/clients/{segment(name)}")

    found = run_admin(place, work)
    text = "\n".join(f"{member:<43}{_plain(value)}" for member, value in found.items() if value not in (None, [], ""))
    show(found, text, as_json=as_json)


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
    """The keys that --public-key, --jwks or --certificate name, out of the options; None where none was named.

    Raises:
        ConfigError: several were named, or the file holds no key that is accepted.
    """
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
    """What the options say, by the names of the admin API; what was not given is left out.

    Raises:
        ConfigError: more than one name of the certificate was given.
    """
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
    """The keys in the file that was named, or None where none was.

    Raises:
        ConfigError: the file holds no key that is accepted.
    """
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


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(
            " ".join(str(v[n]) for n in _SHOWN if v.get(n)) if isinstance(v, dict) else str(v) for v in value
        )
    return str(value)


def _told(registered: dict[str, Any], path: Path | None) -> str:
    lines = [f"client {registered['client_id']}  {registered['token_endpoint_auth_method']}"]
    if registered["client_secret"]:
        lines.append(f"client_secret {registered['client_secret']}  (shown this once)")
    if path is not None:
        lines += [f"credentials {path}  (0600: keep it secret)", f"next: affiant token --credentials {path}"]
    return "\n".join(lines)
