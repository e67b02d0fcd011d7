"""`affiant key new`: key pairs for services that a file registers, and for partners."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from affiant.cli.output import json_option, show
from affiant.client.credentials import SUFFIX, Credentials, file_name, put_private
from affiant.errors import ConfigError
from affiant.jose import keys
from affiant.jose.algorithms import ASYMMETRIC
from affiant.jose.keys import PrivateKey
from affiant.oauth import metadata, names
from affiant.server.registry import kinds


@click.command()
@click.argument("client_ids", metavar="NAME...", nargs=-1, required=True)
@click.option("--alg", type=click.Choice(ASYMMETRIC), default="ES256", metavar="ALG", help="(default: ES256)")
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
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
        put_private(public, _public_pem(made))
        public.chmod(0o644)
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
