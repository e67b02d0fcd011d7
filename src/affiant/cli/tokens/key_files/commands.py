"""`affiant key show`, `affiant key convert` and `affiant key thumbprint`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from cryptography.hazmat.primitives.asymmetric import rsa

from affiant.cli.output import json_option, show
from affiant.cli.tokens.key_files import forms, material
from affiant.cli.tokens.key_files.material import Material
from affiant.cli.tokens.key_files.passwords import SOURCE, opener, read_password
from affiant.client.credentials.file import put_private
from affiant.jose.algorithms import ASYMMETRIC

_URI = "urn:ietf:params:oauth:jwk-thumbprint:sha-256:"  # RFC 9278

_source: Callable[[Any], Any] = click.argument("source", metavar="FILE|NAME|-")
_password: Callable[[Any], Any] = click.option(
    "--password", metavar=SOURCE, help="of an encrypted key (default: AFFIANT_KEY_PASSWORD, or asked for)"
)


@click.command("show")
@_source
@_password
@json_option()
def show_key(source: str, password: str | None) -> None:
    """Show the keys in a file, or a key in a KMS.

    Kind, alg, kid, thumbprint (RFC 7638) and the public part. Private parts are not shown. NAME is env:NAME,
    keyring:SERVICE/USER, or a key in a KMS or device.

    \b
    affiant key show billing.key
    affiant key show - < set.jwks.json
    affiant key show awskms:alias/billing
    """
    found = material.read(source, alg=None, kid=None, password=opener(password))
    show([_described(one) for one in found], *(line for one in found for line in _lines(one)))


@click.command()
@_source
@click.option("--to", "form", type=click.Choice((*forms.PRIVATE, *forms.PUBLIC)), required=True, help="the new form")
@click.option("--out", metavar="FILE|-", help="where to write it; a private key is printed with - alone")
@click.option("--alg", type=click.Choice(ASYMMETRIC), metavar="ALG", help="for a key that names none")
@click.option("--kid", help="name the key so; of a JWK Set, take the one with this kid")
@_password
@click.option("--new-password", metavar=SOURCE, help="encrypt the new file, pem or pkcs12")
@json_option()
def convert(
    source: str,
    form: str,
    out: str | None,
    alg: str | None,
    kid: str | None,
    password: str | None,
    new_password: str | None,
) -> None:
    """Write a key in another form.

    \b
    affiant key convert billing.key --to pkcs12 --out billing.p12 --new-password prompt
    affiant key convert billing.key --to public-jwks

    The new file of a private key has mode 0600. No file is replaced.
    """
    is_private = form in forms.PRIVATE
    if is_private and out is None:
        raise click.UsageError(
            "a private key is not printed unasked: write it with --out FILE, or print it with --out -"
        )
    if new_password is not None and form not in forms.ENCRYPTED:
        raise click.UsageError(f"--new-password is for {' and '.join(forms.ENCRYPTED)}: {form} is not encrypted")
    if form == "pkcs12" and new_password is None:
        raise click.UsageError(f"PKCS #12 needs a password: name it with --new-password {SOURCE}")
    read = material.read if form in forms.SETS else lambda *a, **k: [material.read_one(*a, **k)]
    found = read(source, alg=alg, kid=kid, password=opener(password))
    made = forms.build(found, form, None if new_password is None else read_password(new_password))
    if out in (None, material.STDIN):
        sys.stdout.buffer.write(made)
        return
    path = Path(str(out))
    put_private(path, made, mode=0o600 if is_private else 0o644)
    show({"file": str(path), "form": form}, f"{path}: {form}{', mode 0600' if is_private else ''}")


@click.command()
@_source
@click.option("--uri", is_flag=True, help="as a URI (RFC 9278)")
@_password
@json_option()
def thumbprint(source: str, uri: bool, password: str | None) -> None:
    """Print the thumbprint of each key (RFC 7638).

    It is the SHA-256 of the public key. A key without a kid of its own has it for one.
    """
    found = material.read(source, alg=None, kid=None, password=opener(password))
    printed = [f"{_URI if uri else ''}{one.public.thumbprint}" for one in found]
    show(printed, *printed)


def _described(one: Material) -> dict[str, Any]:
    public = one.public
    return {
        "kind": _kind(one),
        "is_private": one.private is not None,
        "alg": one.private.alg if one.private else public.alg,
        "kid": public.kid,
        "thumbprint": public.thumbprint,
        "public_jwk": public.to_jwk(),
        "public_pem": forms.public_pem(public),
    }


def _lines(one: Material) -> list[str]:
    members = _described(one)
    alg = members["alg"] or f"not named; fits {', '.join(sorted(one.public.algorithms))}"
    shown = {"kind": members["kind"], "alg": alg, "kid": members["kid"], "thumbprint": members["thumbprint"]}
    return [*(f"{name:<11} {value}" for name, value in shown.items()), *str(members["public_pem"]).splitlines()]


def _kind(one: Material) -> str:
    key = one.public.key
    size = f"{key.key_size} bits" if isinstance(key, rsa.RSAPublicKey) else one.public.crv
    return f"{one.public.kty} {size}, {'private' if one.private else 'public'}"
