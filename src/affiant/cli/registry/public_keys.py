"""Public keys of clients, read from files: PEM, JWK, JWK Set or certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from affiant.cli.output import warn_left_out
from affiant.errors import ConfigError
from affiant.jose import keys
from affiant.jose.key_set import KeySet
from affiant.jose.keys import PublicKey
from affiant.server.registry.credentials import given


def read(path: Path, *, alg: str | None = None) -> tuple[PublicKey, ...]:
    """Return the keys in a file of any kind; raise ConfigError if it has none that is accepted."""
    found = given.parse(_read(path), path, alg=alg)
    warn_left_out(path, found.left_out)
    return found.keys


def read_key(path: Path, *, alg: str | None = None) -> PublicKey:
    """Return the key in a PEM or JWK file; `alg` is for PEM, which does not name one."""
    text = _read(path)
    if text.lstrip().startswith(b"{"):
        return keys.parse_public_jwk(given.parse_json(text, path))
    return keys.parse_public_pem(text, alg=alg)


def read_set(path: Path) -> tuple[PublicKey, ...]:
    """Return the keys of the JWK Set in a file."""
    return parse_set(given.parse_json(_read(path), path), path)


def read_certificate(path: Path) -> PublicKey:
    """Return the key of the certificate in a file, with the certificate."""
    return given.parse_certificate(_read(path), path)


def parse_set(document: Any, where: object) -> tuple[PublicKey, ...]:
    """Return the keys of a JWK Set; warn of members that are not registered."""
    found = KeySet.parse_given(document)
    warn_left_out(where, found.left_out)
    return found.keys


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
