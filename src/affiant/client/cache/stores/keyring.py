"""Tokens in the keyring of the system: Keychain, Secret Service, KWallet or Windows Credential Manager."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from contextlib import AbstractContextManager
from pathlib import Path

from affiant.client.cache.stores.kept import folder
from affiant.client.cache.stores.locks import find, locked
from affiant.errors import LocalError
from affiant.signers.sources import open_keyring


class KeyringStore:
    """Access tokens in the keyring of the user who runs this process (``pip install affiant[keyring]``).

    A keyring forgets nothing by itself: a token that ended stays until the next one replaces it.

    Args:
        service: the name that the keyring shows for these tokens.
        locks: a folder for the locks, since keyrings have none; a private one of this user if left out.

    Raises:
        LocalError: the package keyring is not installed.
    """

    def __init__(self, service: str = "affiant", *, locks: str | Path | None = None) -> None:
        self._keyring = open_keyring()
        self._service = service
        self._locks = Path(locks) if locks is not None else None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._service!r})"

    def get(self, name: str) -> bytes | None:
        """Return the value of this name, as `TokenStore` says."""
        text = self._keyring.get_password(self._service, name)
        try:
            return b64decode(text, validate=True) if text is not None else None
        except (binascii.Error, ValueError):
            return None

    def put(self, name: str, value: bytes, ttl: float) -> None:  # noqa: ARG002 - a keyring has no ttl
        """Keep a value, as `TokenStore` says."""
        self._keyring.set_password(self._service, name, b64encode(value).decode("ascii"))

    def remove(self, name: str) -> None:
        """Drop a value, as `TokenStore` says."""
        from keyring.errors import PasswordDeleteError  # noqa: PLC0415 - an extra

        try:
            self._keyring.delete_password(self._service, name)
        except PasswordDeleteError:  # there is none
            return

    def lock(self, name: str, seconds: float) -> AbstractContextManager[object]:
        """Return a lock, as `TokenStore` says."""
        return locked(find(self._locks or _folder(), name), seconds)


def _folder() -> Path:
    if (place := folder("locks")) is None:
        raise LocalError("there is no folder for locks: set HOME, or name one with locks=")
    return Path(place)
