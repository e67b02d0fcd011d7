"""`affiant client key` and `affiant client secret`: an operator rotates the credentials of a service."""

from __future__ import annotations

import shlex
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from affiant.cli.arguments import FILE
from affiant.cli.connection.admin import Admin, segment
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.output import key_listing, show, show_list
from affiant.cli.registry import public_keys
from affiant.cli.registry.handover import delivery
from affiant.client.credentials import rotation
from affiant.client.credentials.file import Credentials
from affiant.errors import ConfigError

_LONGEST = 366 * 86_400


@click.group("key")
def key() -> None:
    """Manage a service's public keys.

    A service that can reach the server rotates its key by itself, and its private key never leaves it: affiant key
    rotate.
    """


@click.group("secret")
def secret() -> None:
    """Manage a service's secrets.

    Make a new one, use both for a while, then end the old one.
    """


@key.command("list")
@click.argument("name")
@admin_options
def list_keys(name: str, place: Place) -> None:
    """List the keys and their use.

    For each key: its state, when it was used last, and whether it can go.
    """
    show_list(place.get(f"/clients/{segment(name)}/keys"), key_listing(f"{name} has no keys here"))


@key.command("add")
@click.argument("name")
@click.option("--public-key", type=FILE, required=True, help="its next public key, PEM or JWK")
@click.option("--not-before", type=click.IntRange(0), metavar="SECONDS", help="valid from this instant on, since 1970")
@admin_options
def add_key(name: str, public_key: Path, not_before: int | None, place: Place) -> None:
    """Add the next key.

    Earlier keys stay valid until  affiant client key complete.

    \b
    affiant client key add partner --public-key next.pem
    affiant client key list partner
    affiant client key complete partner OLD_KID
    """
    found = public_keys.read_key(public_key)
    wanted = {"jwk": found.to_jwk(), **({"not_before": not_before} if not_before is not None else {})}
    _post(place, name, "keys", wanted, f"added {found.kid}")


@key.command("complete")
@click.argument("name")
@click.argument("kid")
@click.option(
    "--overlap", type=click.IntRange(0, _LONGEST), default=0, metavar="SECONDS", help="how long it stays valid"
)
@admin_options
def complete_key(name: str, kid: str, overlap: int, place: Place) -> None:
    """Retire the old key.

    The tokens that it obtained live until they expire. Whether the service uses the next key already is in
    affiant client key list.
    """
    until = f"stays valid for {overlap} s" if overlap else "is ended"
    _post(place, name, "keys/complete", {"kid": kid, "overlap": overlap}, f"the old key {kid} {until}")


@key.command("cancel")
@click.argument("name")
@click.argument("kid")
@admin_options
def cancel_key(name: str, kid: str, place: Place) -> None:
    """Cancel the new key and keep the old one."""
    _post(place, name, "keys/cancel", {"kid": kid}, f"cancelled {kid}")


@key.command("revoke")
@click.argument("name")
@click.argument("kid")
@admin_options
def revoke_key(name: str, kid: str, place: Place) -> None:
    """Revoke a leaked key and its tokens.

    The key can never be used again.
    """
    _post(place, name, "keys/revoke", {"kid": kid}, f"revoked {kid}, and the tokens that it obtained")


@secret.command("new")
@click.argument("name")
@click.option("--into", type=FILE, help="write it into this credentials file of the service, and do not show it")
@click.option(
    "--old-expires-in", type=click.IntRange(1, _LONGEST), metavar="SECONDS", help="end the old one then, by itself"
)
@admin_options
def new_secret(name: str, into: Path | None, old_expires_in: int | None, place: Place) -> None:
    """Make the next secret.

    It is shown once. The old one stays valid until  affiant client secret complete.

    \b
    affiant client secret new legacy
    affiant client secret new legacy --into legacy.affiant.json
    affiant client secret complete legacy
    """
    wanted = {"old_expires_at": int(time.time()) + old_expires_in} if old_expires_in is not None else {}

    with ExitStack() as stack:
        # Order: open the file first, since a secret that cannot be written would be lost.
        target = stack.enter_context(rotation.alone(into)) if into is not None else None

        async def work(api: Admin) -> dict[str, Any]:
            if target is None:
                made: dict[str, Any] = await api.post(f"/clients/{segment(name)}/secrets", wanted)
                return made
            _check_owner(target[1], name, api.issuer)
            return await delivery.replace_secret(api, *target, wanted)

        made = place.run(lambda api: delivery.to_the_end(work(api)))
    text = made.pop("client_secret")
    line, kept = f"client_secret {text}  (shown this once)", {"client_secret": text}
    if into is not None:
        line, kept = f"credentials {into}  (0600: keep it secret)", {"credentials": str(into)}
    show({**made, **kept}, line, f"next: affiant client secret complete {shlex.quote(name)}")


@secret.command("complete")
@click.argument("name")
@admin_options
def complete_secret(name: str, place: Place) -> None:
    """Retire the old secret.

    The tokens that it obtained live until they expire.
    """
    _post(place, name, "secrets/complete", None, "the old one is ended")


@secret.command("cancel")
@click.argument("name")
@admin_options
def cancel_secret(name: str, place: Place) -> None:
    """Cancel the new secret and keep the old one."""
    _post(place, name, "secrets/cancel", None, "the new secret is ended, the old one kept")


@secret.command("revoke")
@click.argument("name")
@click.argument("id")
@admin_options
def revoke_secret(name: str, id: str, place: Place) -> None:  # noqa: A002 - its name
    """Revoke a leaked secret and its tokens.

    Its id is in affiant client show.
    """
    _post(place, name, "secrets/revoke", {"id": id}, f"revoked {id}, and the tokens that it obtained")


def _post(place: Place, name: str, what: str, members: dict[str, Any] | None, line: str) -> None:
    show(place.post(f"/clients/{segment(name)}/{what}", members), line)


def _check_owner(found: Credentials, name: str, issuer: str) -> None:
    if (found.client_id, found.issuer) != (name, issuer) or found.client_secret is None:
        raise ConfigError(f"the file is for {found.client_id} at {found.issuer}, or has no secret: name another")
