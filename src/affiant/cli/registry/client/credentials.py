"""`affiant client key` and `affiant client secret`: an operator leads a service from one credential to the next."""

from __future__ import annotations

import shlex
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from affiant.cli.connection.place import Admin, Place, admin_options, run_admin, segment
from affiant.cli.output import Listing, json_option, show, show_list
from affiant.cli.registry import public_keys
from affiant.cli.registry.client.registration import client
from affiant.cli.registry.handover import delivery
from affiant.cli.tokens.key import COLUMNS, cells, line
from affiant.client import keys as client_keys
from affiant.client.credentials import Credentials
from affiant.errors import ConfigError

_FILE = click.Path(path_type=Path, dir_okay=False, readable=False)
_LONGEST = 366 * 86_400


@client.group("key")
def key() -> None:
    """The public keys of a service, led from one to the next by an operator.

    A service that can reach the server does it by itself, and its private key never leaves it: affiant key rotate.
    """


@client.group("secret")
def secret() -> None:
    """The secrets of a service, led from one to the next: a new one, both good for a while, the old one ended."""


@key.command("list")
@click.argument("name")
@admin_options
@json_option
def list_keys(name: str, place: Place, as_json: bool) -> None:
    """List the keys of a service: what each may do, when it was used last, and whether it can go."""

    async def work(api: Admin) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await api.get(f"/clients/{segment(name)}/keys")
        return found

    found = run_admin(place, work)
    show_list(found, Listing(COLUMNS, cells, line, f"{name} has no keys here"), as_json=as_json)


@key.command("add")
@click.argument("name")
@click.option("--public-key", type=_FILE, required=True, help="its next public key, PEM or JWK")
@click.option("--not-before", type=click.IntRange(0), metavar="SECONDS", help="good from this instant on, since 1970")
@admin_options
@json_option
def add_key(name: str, public_key: Path, not_before: int | None, place: Place, as_json: bool) -> None:
    """Add the next key of a service; those before stay good until  affiant client key complete.

    \b
    affiant client key add partner --public-key next.pem
    affiant client key list partner
    affiant client key complete partner OLD_KID
    """
    found = public_keys.read_key(public_key)
    wanted = {"jwk": found.to_jwk(), **({"not_before": not_before} if not_before is not None else {})}
    _post(place, name, "keys", wanted, f"added {found.kid}", as_json=as_json)


@key.command("complete")
@click.argument("name")
@click.argument("kid")
@click.option(
    "--overlap", type=click.IntRange(0, _LONGEST), default=0, metavar="SECONDS", help="how long it stays good"
)
@admin_options
@json_option
def complete_key(name: str, kid: str, overlap: int, place: Place, as_json: bool) -> None:
    """End the old key KID. The tokens that it obtained live until they expire.

    Whether the service uses the next key already,  affiant client key list  says.
    """
    until = f"stays good for {overlap} s" if overlap else "is ended"
    wanted = {"kid": kid, "overlap": overlap}
    _post(place, name, "keys/complete", wanted, f"the old key {kid} {until}", as_json=as_json)


@key.command("cancel")
@click.argument("name")
@click.argument("kid")
@admin_options
@json_option
def cancel_key(name: str, kid: str, place: Place, as_json: bool) -> None:
    """Take the new key KID back, and keep the old one."""
    _post(place, name, "keys/cancel", {"kid": kid}, f"cancelled {kid}", as_json=as_json)


@key.command("revoke")
@click.argument("name")
@click.argument("kid")
@admin_options
@json_option
def revoke_key(name: str, kid: str, place: Place, as_json: bool) -> None:
    """End the key KID, and every token that it obtained: somebody else may have it. It never comes back."""
    _post(place, name, "keys/revoke", {"kid": kid}, f"revoked {kid}, and the tokens that it obtained", as_json=as_json)


@secret.command("new")
@click.argument("name")
@click.option("--into", type=_FILE, help="write it into this credentials file of the service, and do not show it")
@click.option(
    "--old-expires-in", type=click.IntRange(1, _LONGEST), metavar="SECONDS", help="end the old one then, by itself"
)
@admin_options
@json_option
def new_secret(name: str, into: Path | None, old_expires_in: int | None, place: Place, as_json: bool) -> None:
    """Give a service its next secret, shown this once; the old one stays good until  affiant client secret complete.

    \b
    affiant client secret new legacy
    affiant client secret new legacy --into legacy.affiant.json
    affiant client secret complete legacy
    """
    wanted = {"old_expires_at": int(time.time()) + old_expires_in} if old_expires_in is not None else {}

    with ExitStack() as stack:
        # Before it is made: a secret that cannot be written down would be lost.
        target = stack.enter_context(client_keys.alone(into)) if into is not None else None

        async def work(api: Admin) -> dict[str, Any]:
            if target is None:
                made: dict[str, Any] = await api.post(f"/clients/{segment(name)}/secrets", wanted)
                return made
            _check_whose(target[1], name, api.issuer)
            return await delivery.replace_secret(api, *target, wanted)

        made = run_admin(place, lambda api: delivery.to_the_end(work(api)))
    text = made.pop("client_secret")
    told = f"client_secret {text}  (shown this once)" if into is None else f"credentials {into}  (0600: keep it secret)"
    shown = {"client_secret": text} if into is None else {"credentials": str(into)}
    ended = f"next: affiant client secret complete {shlex.quote(name)}"
    show({**made, **shown}, f"{told}\n{ended}", as_json=as_json)


def _end_secret(verb: str, summary: str, told: str) -> None:
    @click.argument("name")
    @admin_options
    @json_option
    def command(name: str, place: Place, as_json: bool) -> None:
        _post(place, name, f"secrets/{verb}", None, told, as_json=as_json)

    command.__doc__ = summary
    secret.command(verb)(command)


_end_secret(
    "complete", "End the old secret. The tokens that it obtained live until they expire.", "the old one is ended"
)
_end_secret("cancel", "End the new secret, and keep the old one.", "the new secret is ended, the old one kept")


@secret.command("revoke")
@click.argument("name")
@click.argument("id")
@admin_options
@json_option
def revoke_secret(name: str, id: str, place: Place, as_json: bool) -> None:  # noqa: A002 - its name
    """End the secret ID, and every token that it obtained: somebody else may have it. See affiant client show."""
    _post(place, name, "secrets/revoke", {"id": id}, f"revoked {id}, and the tokens that it obtained", as_json=as_json)


def _post(place: Place, name: str, what: str, members: dict[str, Any] | None, told: str, *, as_json: bool) -> None:
    async def work(api: Admin) -> dict[str, Any]:
        changed: dict[str, Any] = await api.post(f"/clients/{segment(name)}/{what}", members)
        return changed

    show(run_admin(place, work), told, as_json=as_json)


def _check_whose(standing: Credentials, name: str, issuer: str) -> None:
    if (standing.client_id, standing.issuer) != (name, issuer) or standing.client_secret is None:
        raise ConfigError(f"the file is for {standing.client_id} at {standing.issuer}, or has no secret: name another")
