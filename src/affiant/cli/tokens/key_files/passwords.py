"""Passwords of key files: from a file, a variable or the terminal, and never from the command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from affiant.errors import ConfigError
from affiant.signers.password import VARIABLE, Password
from affiant.system.files import read_secret

PROMPT = "prompt"
SOURCE = f"file:PATH|env:NAME|{PROMPT}"


def read_password(source: str) -> bytes:
    """Return the password that a source names; it is asked for twice, since it will encrypt."""
    password = _find(source, twice=True)
    if not password:
        raise ConfigError("the password is empty: it would protect nothing")
    return password


def opener(source: str | None) -> Password:
    """Return what finds the password of an encrypted key, if the key turns out to be encrypted.

    Without a source it is in the environment, or else asked for.
    """
    if source is not None:  # also where the key needs none: what was given may be the password itself
        _check(source)
    return _Asked(source)


class _Asked(Password):
    def __init__(self, source: str | None) -> None:
        super().__init__()
        self._source = source

    def __call__(self) -> bytes | None:
        if self._source is not None:
            return _find(self._source)
        found = super().__call__()
        if found is not None:
            return found
        if not sys.stdin.isatty():
            raise ConfigError(f"the key is encrypted: name its password by --password {SOURCE}, or set {VARIABLE}")
        return _ask()


def _check(source: str) -> None:
    scheme, _, rest = source.partition(":")
    if source != PROMPT and (scheme not in ("file", "env") or not rest):
        # The message does not repeat it.
        raise click.UsageError(f"a password is named by {SOURCE}: it is never an argument itself")


def _find(source: str, *, twice: bool = False) -> bytes:
    _check(source)
    scheme, _, rest = source.partition(":")
    if source == PROMPT:
        return _ask(twice=twice)
    if scheme == "file":
        return read_secret(Path(rest), what="the password", variable=VARIABLE)
    if rest not in os.environ:
        raise ConfigError("the variable with the password is not set")
    return os.environ[rest].encode("utf-8", "surrogateescape")


def _ask(*, twice: bool = False) -> bytes:
    given: str = click.prompt("Password of the key", hide_input=True, confirmation_prompt=twice, err=True)
    return given.encode()
