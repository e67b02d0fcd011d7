"""`affiant key`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from affiant.cli.arguments import FILE
from affiant.cli.output import Listing, instant, is_json, json_option, show, warn_left_out
from affiant.cli.tokens.key_pair import new
from affiant.cli.tokens.options import credentials_option
from affiant.client import credentials as credentials_file
from affiant.client import keys
from affiant.client.credentials import ENVIRONMENT
from affiant.client.keys import DEFAULT_OVERLAP, KeyRing
from affiant.errors import ConfigError, LocalError
from affiant.jose.key_set import KeySet
from affiant.jose.strict_json import parse_object
from affiant.system.network import http_client
from affiant.system.text import printable

_OVERLAP = click.IntRange(0, 30 * 86_400)
_SOURCES = {"operator": "by the operator", "registration": "at registration", "client": "by the client"}
_LONGEST = 300  # characters of a member that a server sent


@click.group()
def key() -> None:
    """A service proves its identity with them. The keys that the server signs tokens with: affiant signing-key."""


key.add_command(new)


@key.command("list")
@credentials_option
@json_option()
def list_(credentials: Path | None) -> None:
    """List the keys and their use.

    For each key: its state, when it was used last, and whether it can go.
    """
    _act(credentials, action="list")


@key.command()
@click.option(
    "--overlap",
    type=_OVERLAP,
    default=DEFAULT_OVERLAP,
    metavar="SECONDS",
    help=f"how long the old key stays valid (default: {DEFAULT_OVERLAP})",
)
@credentials_option
@json_option()
def rotate(overlap: int, credentials: Path | None) -> None:
    """Replace the key in the credentials file.

    The private key never leaves this machine.

    \b
    affiant key rotate -c billing.affiant.json
    affiant key rotate -c billing.affiant.json --overlap 0

    It makes a key, announces it with the old one, proves it, writes the file, and retires the old one. If it is
    stopped, run it again: it continues where it was. Processes that read the file before sign with the old key until
    they are restarted, so the old key stays valid for a day. --overlap 0 suits a service that reads the file each time.
    """
    steps: list[str] = []

    def note(step: str) -> None:
        steps.append(step)
        if not is_json():
            click.echo(step)

    with http_client() as http:
        done = keys.rotate(_path(credentials), http, overlap=overlap, report=note)
    data = {"kid": done.kid, "old_kid": done.old_kid, "old_ends_at": done.old_ends_at, "steps": steps}
    state = f"valid until {instant(done.old_ends_at)}" if done.old_ends_at else "gone"
    show(data, f"the old key {done.old_kid} is {state}")


@key.command()
@click.argument("kid")
@click.option("--overlap", type=_OVERLAP, default=0, metavar="SECONDS", help="how long it stays valid")
@credentials_option
@json_option()
def retire(kid: str, overlap: int, credentials: Path | None) -> None:
    """Retire another key.

    Another than the one in the file. The tokens that it obtained live until they expire.
    """
    _act(credentials, action="retire", kid=kid, overlap=str(overlap))


@key.command()
@click.argument("kid")
@credentials_option
@json_option()
def revoke(kid: str, credentials: Path | None) -> None:
    """Revoke a leaked key and its tokens.

    Another key than the one in the file.
    """
    _act(credentials, action="revoke", kid=kid)


@key.command()
@click.argument("kid", required=False)
@credentials_option
@json_option()
def cancel(kid: str | None, credentials: Path | None) -> None:
    """Cancel an announced key.

    It is the one that a rotation left in the file, or KID.
    """
    with http_client() as http:
        kid = keys.cancel(_path(credentials), http, kid)
    show({"kid": kid, "state": "revoked"}, f"cancelled {kid}")


@key.command()
@click.argument("jwks", type=FILE)
@credentials_option
@json_option()
def put(jwks: Path, credentials: Path | None) -> None:
    """Replace all public keys.

    The server gets exactly the public keys of this JWK Set, instead of fetching them from a jwks_uri. Keys that are not
    in it end; the tokens that they obtained live until they expire.
    """
    given = _read_public(jwks)
    warn_left_out(jwks, given.left_out)
    _act(credentials, method="PUT", jwks=json.dumps(given.to_jwks()))


def _act(credentials: Path | None, **asked: str) -> None:
    found = credentials_file.find(credentials)
    with http_client() as http:
        known = KeyRing(found.issuer, found.client_id, http).ask(keys.signer(found), **asked)
    show(known, *map(_line, known))


def _path(named: Path | None) -> Path:
    """Return the credentials file, which is to be written: JSON in the environment cannot be."""
    text = credentials_file.name_of(named)
    if named is None and text in ("", ENVIRONMENT):
        raise LocalError(f"name the credentials file with --credentials FILE, or in {ENVIRONMENT}")
    return Path(text)


def _read_public(path: Path) -> KeySet:
    """Return the public keys in the file; nothing else in it leaves this machine."""
    try:
        return KeySet.parse_given(parse_object(path.read_bytes()))
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError:
        raise LocalError(f"{path} is not JSON") from None
    except ConfigError as error:
        raise LocalError(f"{path}: {error}") from None


def _line(known: dict[str, Any]) -> str:
    kid, state, alg, source, last, uses, end, thumbprint = _cells(known)
    used = "never used" if last == "never" else f"used {uses} times, last {last}"
    parts = (kid, f"thumbprint {thumbprint}" if thumbprint else "", alg, state, source, used)
    if end:
        end = f"{'can go' if known['safe_to_complete'] else 'not yet'}: {known.get('why')}"
    return "  ".join(printable(part, _LONGEST) for part in (*parts, end) if part)


def _cells(known: dict[str, Any]) -> tuple[str, ...]:
    used, kid, thumbprint = known.get("last_used_at"), known["kid"], known.get("thumbprint")
    end = ""
    if "safe_to_complete" in known:
        end = f"{'yes' if known['safe_to_complete'] else 'not yet'}: {known.get('why')}"
    return (
        str(kid),
        str(known.get("state") or "-"),
        str(known.get("alg") or "-"),
        _SOURCES.get(str(known.get("source")), ""),
        instant(used) if used else "never",
        str(known.get("use_count") or ""),
        end,
        str(thumbprint) if thumbprint not in (None, kid) else "",
    )


def listing(empty: str) -> Listing:
    """How the keys of a client are listed."""
    columns = ("KEY", "STATE", "ALG", "REGISTERED", "LAST USED", "USES", "CAN GO", "THUMBPRINT")
    return Listing(columns, _cells, _line, empty)
