"""`affiant key`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from affiant.cli.arguments import FILE, FOLDER
from affiant.cli.output import instant, is_json, json_option, key_line, show, warn_left_out
from affiant.cli.tokens.key_files import commands
from affiant.cli.tokens.options import credentials_option
from affiant.client.credentials import rotation, search
from affiant.client.credentials.file import ENVIRONMENT, SUFFIX, Credentials, file_name, put_private
from affiant.client.credentials.rotation import DEFAULT_OVERLAP, KeyRing
from affiant.errors import ConfigError, LocalError
from affiant.jose import keys
from affiant.jose.algorithms import ASYMMETRIC
from affiant.jose.key_set import KeySet
from affiant.jose.keys import PrivateKey
from affiant.jose.strict_json import parse_object
from affiant.oauth import metadata, names
from affiant.server.registry import kinds
from affiant.system.network import http_client

_OVERLAP = click.IntRange(0, 30 * 86_400)


@click.group()
def key() -> None:
    """A service proves its identity with them. The keys that the server signs tokens with: affiant signing-key."""


@key.command()
@click.argument("client_ids", metavar="NAME...", nargs=-1, required=True)
@click.option("--alg", type=click.Choice(ASYMMETRIC), default="ES256", metavar="ALG", help="(default: ES256)")
@click.option(
    "--to",
    "folder",
    type=FOLDER,
    default=Path(),
    metavar="DIR",
    help="folder for the files, made if it is missing (default: this one)",
)
@click.option("--issuer", metavar="URL", help="the server: also write NAME.affiant.json, which names the key file")
@json_option()
def new(client_ids: tuple[str, ...], alg: str, folder: Path, issuer: str | None) -> None:
    """Make key pairs.

    NAME.key is the private key (mode 0600), NAME.pem the public one.

    \b
    affiant key new shop cart mailer --to keys --issuer https://as.example
    affiant apply registry.toml        with  public_keys = ["keys/shop.pem"]
    affiant token -c keys/shop.affiant.json

    Nothing is sent. The operator who registers the public key decides what its service may ask for. Existing files are
    kept: after an interruption, run it again, and it makes the missing ones.
    """
    _check(client_ids, issuer)
    if there := _all_there(client_ids, folder, issuer):
        raise ConfigError(f"{' and '.join(map(str, there))} exist already: move them away, or choose another name")
    _make_folder(folder)
    made = [_make(name, alg, folder, issuer) for name in client_ids]
    show(made, *(line for one in made for line in _lines(one)))


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
        done = rotation.rotate(_path(credentials), http, overlap=overlap, report=note)
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
        kid = rotation.cancel(_path(credentials), http, kid)
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


key.add_command(commands.show_key)
key.add_command(commands.convert)
key.add_command(commands.thumbprint)


def _act(credentials: Path | None, **asked: str) -> None:
    found = search.find(credentials)
    with http_client() as http:
        known = KeyRing(found.issuer, found.client_id, http).ask(rotation.signer(found), **asked)
    show(known, *map(key_line, known))


def _path(named: Path | None) -> Path:
    """Return the credentials file, which is to be written: variables of the environment cannot be."""
    if named is not None:
        return named
    search.find()  # says what is wrong
    file = search.find_file()
    if file is None:
        raise LocalError(f"name the credentials file with --credentials FILE, or in {ENVIRONMENT}")
    return file


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


def _lines(made: dict[str, Any]) -> list[str]:
    lines = [
        f"{made['client_id']}  {made['kid']}  {made['alg']}",
        f"  private {made['private_key']}  (0600: keep it secret)",
        f"  public  {made['public_key']}",
    ]
    return [*lines, f"  credentials {made['credentials']}"] if made["credentials"] else lines


def _check(client_ids: tuple[str, ...], issuer: str | None) -> None:
    if len(set(client_ids)) < len(client_ids):
        raise click.UsageError("one name is given twice")
    for name in client_ids:
        if not kinds.is_client_id(name):
            raise click.UsageError(f"{name!r} cannot be the name of a client; for a folder, use --to DIR")
    if issuer is not None:
        try:
            metadata.check_issuer(issuer)
        except ValueError as error:
            raise ConfigError(f"{issuer!r} cannot be an issuer: {error}") from None


def _files(name: str, folder: Path, issuer: str | None) -> list[Path]:
    stem = file_name(name).removesuffix(SUFFIX)
    wanted = [folder / f"{stem}.key", folder / f"{stem}.pem"]
    return wanted if issuer is None else [*wanted, folder / file_name(name)]


def _all_there(client_ids: tuple[str, ...], folder: Path, issuer: str | None) -> list[Path]:
    """Return the files of all these services if none is missing."""
    wanted = [path for name in client_ids for path in _files(name, folder, issuer)]
    return wanted if all(path.exists() for path in wanted) else []


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder {folder} cannot be made: {error.strerror}") from error


def _make(name: str, alg: str, folder: Path, issuer: str | None) -> dict[str, Any]:
    """Make the missing files of one service."""
    private, public, *files = _files(name, folder, issuer)
    file = files[0] if files else None
    if not private.exists():
        if public.exists():
            raise ConfigError(f"{public} exists, and its private key {private} does not: move it away")
        put_private(private, _private_pem(keys.generate(alg)))
    made = _read(private, alg)
    if not public.exists():
        put_private(public, _public_pem(made), mode=0o644)
    if issuer is not None and file is not None and not file.exists():
        found = Credentials(
            issuer, name, names.PRIVATE_KEY_JWT, alg=made.alg, kid=made.kid, key=made.to_jwk(), key_file=private.name
        )
        found.write(file)
    paths = {"private_key": str(private), "public_key": str(public), "credentials": str(file) if file else None}
    return {"client_id": name, "kid": made.kid, "alg": made.alg, **paths}


def _read(private: Path, alg: str) -> PrivateKey:
    try:
        return keys.parse_private_pem(private.read_bytes(), alg=alg)
    except OSError as error:
        raise ConfigError(f"{private} cannot be read: {error.strerror}") from error
    except ConfigError as error:
        raise ConfigError(f"{private}: {error}") from error


def _private_pem(made: PrivateKey) -> str:
    return made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def _public_pem(made: PrivateKey) -> str:
    return made.public().key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
