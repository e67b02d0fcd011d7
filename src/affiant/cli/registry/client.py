"""`affiant client`."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from affiant.cli.data import find_issuer, store_options, with_store
from affiant.cli.output import json_option, show
from affiant.client.credentials import Credentials
from affiant.errors import ConfigError
from affiant.jose import keys
from affiant.jose.key_set import KeySet
from affiant.oauth import names
from affiant.server.client_auth.ladder import METHODS
from affiant.server.registry import client_keys, rules
from affiant.server.registry.directory import GUIDE
from affiant.storage.records import NotFound

if TYPE_CHECKING:
    from affiant.jose.keys import PrivateKey, PublicKey
    from affiant.server.keys.master_key import MasterKey
    from affiant.server.registry.rules import Registered
    from affiant.server.settings import Settings
    from affiant.storage.ports import Store
    from affiant.storage.records import Client

_FILE = click.Path(path_type=Path, dir_okay=False, readable=False)


def keys_option(command: Any) -> Any:
    """--public-key and --jwks."""
    jwks = click.option("--jwks", type=_FILE, help="its public keys, as a JWK Set")
    return click.option("--public-key", type=_FILE, help="its public key, PEM or JWK")(jwks(command))


def dpop_option(command: Any) -> Any:
    """--dpop."""
    return click.option(
        "--dpop", type=click.Choice(rules.DPOP_POLICIES), help="whether its tokens must be bound to a key"
    )(command)


@click.group()
def client() -> None:
    """The services that may ask for tokens."""


@client.command()
@click.argument("name")
@click.option(
    "--auth", "auth_method", type=click.Choice(METHODS), help="how it authenticates (default: private_key_jwt)"
)
@click.option("--alg", help="what it signs with (default: ES256, or HS256 for client_secret_jwt)")
@click.option("--scope", "scopes", multiple=True, metavar="S", help="a scope it may ask for; may repeat")
@click.option("--resource", "resources", multiple=True, metavar="URL", help="an API it may ask for; may repeat")
@click.option("--grant", "grants", multiple=True, metavar="G", help="a grant it may use; may repeat")
@click.option("--introspect", "introspects", multiple=True, metavar="URL", help="an API whose tokens it may introspect")
@dpop_option
@click.option("--profile", type=click.Choice([GUIDE]), help="a compatibility profile")
@keys_option
@store_options
@json_option
def new(name: str, public_key: Path | None, jwks: Path | None, chosen: Settings, as_json: bool, **options: Any) -> None:
    """Register a service, and write its credentials file NAME.affiant.json.

    \b
    affiant client new billing --scope orders.read
    affiant client new partner --public-key partner.pem --scope orders.read
    affiant client new legacy --auth client_secret_basic
    """
    method = options["auth_method"] or (names.CLIENT_SECRET_JWT if options["profile"] else names.PRIVATE_KEY_JWT)
    made, public = _keys(method, options["alg"], public_key, jwks)
    path = Path(f"{name}.affiant.json")
    writes = made is not None or not public
    if writes and path.exists():
        raise ConfigError(f"{path} exists already: move it away, or choose another name")

    async def work(store: Store, key: MasterKey) -> tuple[Registered, str]:
        built = rules.build_client(
            name,
            auth_method=method,
            master_key=key,
            now=int(time.time()),
            alg=options["alg"] or (made.alg if made else None),
            keys=public,
            scopes=options["scopes"],
            resources=options["resources"],
            grant_types=options["grants"],
            introspects=options["introspects"],
            profile=options["profile"],
            dpop=options["dpop"] or "optional",
        )
        await store.clients.add(built.client)
        return built, await find_issuer(store, chosen)

    built, issuer = with_store(chosen, work)
    if writes:
        _credentials(built, issuer, made).write(path)
    data_out = {**shown(built.client), "credentials": str(path) if writes else None}
    if built.client_secret:
        data_out["client_secret"] = built.client_secret
    show(data_out, _told(built, path if writes else None), as_json=as_json)


@client.command("list")
@store_options
@json_option
def list_(chosen: Settings, as_json: bool) -> None:
    """List the services."""

    async def work(store: Store, _: MasterKey) -> list[Client]:
        return await store.clients.list()

    found = with_store(chosen, work)
    lines = [
        f"{c.client_id}  {c.token_endpoint_auth_method}  {' '.join(c.scope)}{'' if c.enabled else '  (disabled)'}"
        for c in found
    ]
    text = "\n".join(lines) or "no clients: affiant client new NAME"
    show([shown(c) for c in found], text, as_json=as_json)


@client.command("show")
@click.argument("name")
@store_options
@json_option
def show_(name: str, chosen: Settings, as_json: bool) -> None:
    """Show a service: what it is registered for, and its public keys. Never a secret."""

    async def work(store: Store, _: MasterKey) -> Client:
        found = await store.clients.find(name)
        if found is None:
            raise NotFound(f"there is no client named {name}: see  affiant client list")
        return found

    found = shown(with_store(chosen, work))
    text = "\n".join(f"{member:<33}{_plain(value)}" for member, value in found.items() if value not in (None, [], ""))
    show(found, text, as_json=as_json)


def _change(verb: str, summary: str) -> click.Command:
    @click.argument("name")
    @store_options
    @json_option
    def command(name: str, chosen: Settings, as_json: bool) -> None:
        async def work(store: Store, _: MasterKey) -> None:
            if verb == "remove":
                await store.clients.remove(name)
            else:
                await store.clients.update(name, lambda standing: replace(standing, enabled=verb == "enable"))

        with_store(chosen, work)
        show({"client_id": name, "done": verb}, f"{verb}d {name}", as_json=as_json)

    command.__doc__ = summary
    return client.command(verb)(command)


_change("disable", "Refuse a service from now on; its tokens end when they expire.")
_change("enable", "Let a disabled service in again.")
_change("remove", "Forget a service, its keys and its refresh tokens.")


def _keys(
    method: str, alg: str | None, public_key: Path | None, jwks: Path | None
) -> tuple[PrivateKey | None, tuple[PublicKey, ...]]:
    given = public_keys(alg, public_key, jwks)
    if given is not None:
        return None, given
    if method != names.PRIVATE_KEY_JWT:
        return None, ()
    made = keys.generate(alg or "ES256")
    return made, (made.public(),)


def public_keys(alg: str | None, public_key: Path | None, jwks: Path | None) -> tuple[PublicKey, ...] | None:
    """The keys in the file that was named, or None where none was.

    Raises:
        ConfigError: both were named, or the file holds no key that is accepted.
    """
    if public_key is not None and jwks is not None:
        raise ConfigError("give either --public-key or --jwks, not both")
    if jwks is not None:
        return KeySet.parse_strictly(_json(_read(jwks), jwks)).keys
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


def _credentials(built: Registered, issuer: str, made: PrivateKey | None) -> Credentials:
    registered = built.client
    return Credentials(
        issuer=issuer,
        client_id=registered.client_id,
        auth_method=registered.token_endpoint_auth_method,
        alg=registered.token_endpoint_auth_signing_alg,
        kid=made.kid if made else None,
        key=made.to_jwk() if made else None,
        client_secret=built.client_secret,
        scope=" ".join(registered.scope) or None,
        resource=registered.resources[0] if len(registered.resources) == 1 else None,
    )


def shown(registered: Client) -> dict[str, Any]:
    """What is shown of a client: never a secret."""
    now = time.time()
    public = [(json.loads(key.jwk), client_keys.state(key, now)) for key in registered.keys]
    return {
        "client_id": registered.client_id,
        "token_endpoint_auth_method": registered.token_endpoint_auth_method,
        "token_endpoint_auth_signing_alg": registered.token_endpoint_auth_signing_alg,
        "grant_types": list(registered.grant_types),
        "scope": list(registered.scope),
        "resources": list(registered.resources),
        "introspects": list(registered.introspects),
        "dpop_bound_access_tokens": registered.dpop_bound_access_tokens,
        "profile": registered.profile,
        "audience_policy": registered.audience_policy,
        "typ_policy": registered.typ_policy,
        "lifetime_policy": registered.lifetime_policy,
        "jti_policy": registered.jti_policy,
        "observe": list(registered.observe),
        "enabled": registered.enabled,
        "created_at": registered.created_at,
        "keys": [
            {**{member: jwk.get(member) for member in ("kid", "kty", "crv", "alg")}, "state": state}
            for jwk, state in public
        ],
    }


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(" ".join(map(str, filter(None, v.values()))) if isinstance(v, dict) else str(v) for v in value)
    return str(value)


def _told(built: Registered, path: Path | None) -> str:
    lines = [f"client {built.client.client_id}  {built.client.token_endpoint_auth_method}"]
    if built.client_secret:
        lines.append(f"client_secret {built.client_secret}  (shown this once)")
    if path is not None:
        lines += [f"credentials {path}  (0600: keep it secret)", f"next: affiant token --credentials {path}"]
    return "\n".join(lines)
