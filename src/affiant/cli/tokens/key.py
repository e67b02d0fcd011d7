"""`affiant key`: a client's own keys."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from affiant.cli.output import instant, json_option, show, warn_left_out
from affiant.cli.tokens.options import credentials_option
from affiant.client import credentials as credentials_file
from affiant.client import keys
from affiant.client.credentials import ENVIRONMENT
from affiant.client.keys import DEFAULT_OVERLAP, KeyRing
from affiant.errors import ConfigError, LocalError
from affiant.jose.key_set import KeySet
from affiant.jose.strict_json import parse_object
from affiant.system import network
from affiant.system.text import printable

if TYPE_CHECKING:
    import httpx2

_FILE = click.Path(path_type=Path, dir_okay=False, readable=False)
_SOURCES = {"operator": "by the operator", "registration": "at registration", "client": "by the client"}
COLUMNS = ("KEY", "STATE", "ALG", "REGISTERED", "LAST USED", "USES", "CAN GO", "THUMBPRINT")


@click.group()
def key() -> None:
    """The keys that a service proves itself with: its own, at the server.

    The keys that the server signs tokens with are  affiant signing-key.
    """


@key.command("list")
@credentials_option
@json_option
def list_(credentials: Path | None, as_json: bool) -> None:
    """List the keys of the service: what each may do, when it was used last, and whether it can go."""
    _act(credentials, as_json, action="list")


@key.command()
@click.option(
    "--overlap",
    type=click.IntRange(0, 30 * 86_400),
    default=DEFAULT_OVERLAP,
    metavar="SECONDS",
    help=f"how long the old key stays good (default: {DEFAULT_OVERLAP})",
)
@credentials_option
@json_option
def rotate(overlap: int, credentials: Path | None, as_json: bool) -> None:
    """Put a new key in the place of the one in the credentials file. The private key never leaves this machine.

    \b
    affiant key rotate -c billing.affiant.json
    affiant key rotate -c billing.affiant.json --overlap 0

    Makes a key, announces it with the old one, proves it, writes the file, and retires the old one. When it is stopped,
    run it again: it goes on where it was. Processes that read the file before sign with the old key until they are
    started anew, so that one stays good for a day. --overlap 0 suits a service that reads the file each time.
    """
    steps: list[str] = []

    def tell(step: str) -> None:
        steps.append(step)
        if not as_json:
            click.echo(step)

    with _http() as http:
        done = keys.rotate(_path(credentials), http, overlap=overlap, report=tell)
    data = {"kid": done.kid, "old_kid": done.old_kid, "old_ends_at": done.old_ends_at, "steps": steps}
    until = f"good until {instant(done.old_ends_at)}" if done.old_ends_at else "gone"
    show(data, f"the old key {done.old_kid} is {until}", as_json=as_json)


@key.command()
@click.argument("kid")
@click.option("--overlap", type=click.IntRange(0, 30 * 86_400), default=0, metavar="SECONDS", help="how long it stays")
@credentials_option
@json_option
def retire(kid: str, overlap: int, credentials: Path | None, as_json: bool) -> None:
    """End another key of the service than the one in the file. The tokens that it obtained live until they expire."""
    _act(credentials, as_json, action="retire", kid=kid, overlap=str(overlap))


@key.command()
@click.argument("kid")
@credentials_option
@json_option
def revoke(kid: str, credentials: Path | None, as_json: bool) -> None:
    """End another key than the one in the file, and the tokens that it obtained: somebody else may have it."""
    _act(credentials, as_json, action="revoke", kid=kid)


@key.command()
@click.argument("kid", required=False)
@credentials_option
@json_option
def cancel(kid: str | None, credentials: Path | None, as_json: bool) -> None:
    """Take back a key that is announced: the one that a rotation has left in the file, or KID."""
    with _http() as http:
        kid = keys.cancel(_path(credentials), http, kid)
    show({"kid": kid, "state": "revoked"}, f"cancelled {kid}", as_json=as_json)


@key.command()
@click.argument("jwks", type=_FILE)
@credentials_option
@json_option
def put(jwks: Path, credentials: Path | None, as_json: bool) -> None:
    """Let the server have exactly the public keys in this file, a JWK Set, instead of fetching them from a jwks_uri.

    Keys that are not in it end; the tokens that they obtained live until they expire.
    """
    try:
        text = jwks.read_text("utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise LocalError(f"{jwks} cannot be read: {why}") from (error if isinstance(error, OSError) else None)
    given = _public(text, jwks)
    warn_left_out(jwks, given.left_out)
    _act(credentials, as_json, method="PUT", jwks=json.dumps(given.to_jwks()))


def _act(credentials: Path | None, as_json: bool, **asked: str) -> None:
    found = credentials_file.find(credentials)
    with _http() as http:
        known = KeyRing(found.issuer, found.client_id, http).ask(keys.signer(found), **asked)
    show(known, "\n".join(map(line, known)), as_json=as_json)


def _path(named: Path | None) -> Path:
    """The file to be written, which JSON in the environment is not."""
    text = credentials_file.name_of(named)
    if named is None and text in ("", ENVIRONMENT):
        raise LocalError(f"name the credentials file with --credentials FILE, or in {ENVIRONMENT}")
    return Path(text)


@contextlib.contextmanager
def _http() -> Iterator[httpx2.Client]:
    with network.http_client() as http:
        yield http


def _public(text: str, path: Path) -> KeySet:
    """Return the public keys in the file: nothing else in it leaves this machine."""
    try:
        return KeySet.parse_given(parse_object(text.encode()))
    except ValueError:
        raise LocalError(f"{path} is not JSON") from None
    except ConfigError as error:
        raise LocalError(f"{path}: {error}") from None


def line(known: dict[str, Any]) -> str:
    """A key of a client as its server shows it, in one line."""
    used = known.get("last_used_at")
    thumbprint = known.get("thumbprint")
    parts = [
        known["kid"],
        f"thumbprint {thumbprint}" if thumbprint not in (None, known["kid"]) else "",
        known.get("alg") or "-",
        known.get("state") or "-",
        _SOURCES.get(str(known.get("source")), ""),
    ]
    parts.append(f"used {known.get('use_count')} times, last {instant(used)}" if used else "never used")
    if "safe_to_complete" in known:
        parts.append(f"{'can go' if known['safe_to_complete'] else 'not yet'}: {known.get('why')}")
    return "  ".join(printable(str(part), 300) for part in parts if part)


def cells(known: dict[str, Any]) -> tuple[object, ...]:
    """A key of a client as its server shows it, by COLUMNS."""
    used, kid = known.get("last_used_at"), known["kid"]
    thumbprint = known.get("thumbprint")
    end = (
        f"{'yes' if known['safe_to_complete'] else 'not yet'}: {known.get('why')}"
        if "safe_to_complete" in known
        else ""
    )
    return (
        kid,
        known.get("state") or "-",
        known.get("alg") or "-",
        _SOURCES.get(str(known.get("source")), ""),
        instant(used) if used else "never",
        known.get("use_count") or "",
        end,
        thumbprint if thumbprint not in (None, kid) else "",
    )
