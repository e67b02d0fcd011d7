"""`affiant key new`: key pairs for services that a file registers, and for partners."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from affiant.cli.output import json_option, show
from affiant.cli.tokens.key import key
from affiant.client.credentials import SUFFIX, Credentials, file_name, put_private
from affiant.errors import ConfigError
from affiant.jose import keys
from affiant.jose.algorithms import ASYMMETRIC
from affiant.oauth import metadata, names
from affiant.server.registry import rules

if TYPE_CHECKING:
    from affiant.jose.keys import PrivateKey


@key.command("new")
@click.argument("client_ids", metavar="NAME...", nargs=-1, required=True)
@click.option("--alg", type=click.Choice(ASYMMETRIC), default="ES256", metavar="ALG", help="(default: ES256)")
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path(),
    metavar="DIR",
    help="folder for the files (default: this one)",
)
@click.option("--issuer", metavar="URL", help="the server: write NAME.affiant.json, too, which names the key file")
@json_option
def new(client_ids: tuple[str, ...], alg: str, folder: Path, issuer: str | None, as_json: bool) -> None:
    """Make key pairs: NAME.key is the private key (mode 0600), NAME.pem the public one.

    \b
    affiant key new shop cart mailer --to keys --issuer https://as.example
    affiant apply registry.toml        with  public_keys = ["keys/shop.pem"]
    affiant token -c keys/shop.affiant.json

    Nothing is sent: whoever registers the public key decides what its service may ask for. What is there stays: run it
    again after it was stopped, and it makes what is missing.
    """
    _check(client_ids, issuer)
    made = [_make(name, alg, folder, issuer) for name in client_ids]
    lines = [
        f"{one['client_id']}  {one['kid']}  {one['alg']}\n  private {one['private_key']}  (0600: keep it secret)\n"
        f"  public  {one['public_key']}" + (f"\n  credentials {one['credentials']}" if issuer else "")
        for one in made
    ]
    show(made, "\n".join(lines), as_json=as_json)


def _check(client_ids: tuple[str, ...], issuer: str | None) -> None:
    for name in client_ids:
        if not rules.is_client_id(name):
            raise click.UsageError(f"{name!r} is not a name that a client may have; the folder is given with --to DIR")
    if issuer is not None:
        try:
            metadata.check_issuer(issuer)
        except ValueError as error:
            raise ConfigError(f"{issuer!r} cannot be an issuer: {error}") from None


def _make(name: str, alg: str, folder: Path, issuer: str | None) -> dict[str, Any]:
    """Make what is missing of the files of one service.

    Raises:
        ConfigError: all of them exist, or one cannot be read or written.
    """
    stem = file_name(name).removesuffix(SUFFIX)
    private, public = folder / f"{stem}.key", folder / f"{stem}.pem"
    file = folder / file_name(name) if issuer is not None else None
    wanted = [path for path in (private, public, file) if path is not None]
    if all(path.exists() for path in wanted):
        raise ConfigError(f"{' and '.join(map(str, wanted))} exist already: move them away, or choose another name")
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
