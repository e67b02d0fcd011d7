"""Public keys of clients, read from files: PEM, JWK, JWK Set or certificate."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

from affiant.cli.output import warn_left_out
from affiant.errors import ConfigError
from affiant.jose import jwk, keys
from affiant.jose.key_set import KeySet
from affiant.jose.keys import PublicKey
from affiant.oauth.binding import mtls


def read(path: Path, *, alg: str | None = None) -> tuple[PublicKey, ...]:
    """Return the keys in a file of any kind; raise ConfigError if it has none that is accepted."""
    text = _read(path)
    if b"BEGIN CERTIFICATE" in text:
        return (parse_certificate(text, path),)
    if text.lstrip().startswith(b"{") and "keys" in (document := _json(text, path)):
        return parse_set(document, path)
    return (read_key(path, alg=alg),)


def read_key(path: Path, *, alg: str | None = None) -> PublicKey:
    """Return the key in a PEM or JWK file; `alg` is for PEM, which does not name one."""
    text = _read(path)
    if text.lstrip().startswith(b"{"):
        return keys.parse_public_jwk(_json(text, path))
    return keys.parse_public_pem(text, alg=alg)


def read_set(path: Path) -> tuple[PublicKey, ...]:
    """Return the keys of the JWK Set in a file."""
    return parse_set(_json(_read(path), path), path)


def read_certificate(path: Path) -> PublicKey:
    """Return the key of the certificate in a file, with the certificate."""
    return parse_certificate(_read(path), path)


def parse_set(document: Any, where: object) -> tuple[PublicKey, ...]:
    """Return the keys of a JWK Set; warn of members that are not registered."""
    found = KeySet.parse_given(document)
    warn_left_out(where, found.left_out)
    return found.keys


def parse_certificate(text: bytes, where: object) -> PublicKey:
    """Return the key of a certificate in PEM, with the certificate."""
    try:
        certificate = mtls.parse_pem(text.decode("ascii"))
    except ValueError:
        raise ConfigError(f"{where} has no certificate in PEM (BEGIN CERTIFICATE)") from None
    members = jwk.build(certificate.content.public_key())
    return keys.parse_public_jwk({**members, "x5c": [b64encode(certificate.der).decode("ascii")]})


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
