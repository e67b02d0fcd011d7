"""Tokens that are encrypted before a store gets them: AES-GCM of the package cryptography, bound to their name."""

from __future__ import annotations

import binascii
import os
import secrets
from base64 import b64decode
from contextlib import AbstractContextManager
from pathlib import Path

from affiant.client.cache.stores.folder import FileTokenStore
from affiant.client.cache.stores.store import TokenStore
from affiant.client.token import NotPickled
from affiant.errors import ConfigError, LocalError
from affiant.signers.sources import read_keyring
from affiant.system.files import read_secret

_KEY_BYTES, _NONCE_BYTES = 32, 12
_VERSION = b"affiant token 1\n"  # another use of the same key would have another prefix
_MAKE = "make one with  openssl rand -base64 32"


class EncryptedStore(NotPickled):
    """Encrypts what another store keeps, so that the other store sees names and lengths, and no token.

    A value that was changed, or kept under another name, or encrypted with another key is ignored.

    Args:
        store: keeps the encrypted values.
        key: 32 random bytes, or their base64 (``openssl rand -base64 32``), or where that text is: ``env:VARIABLE``,
            ``file:PATH`` (of this user alone) or ``keyring:SERVICE/USER``.

    Raises:
        LocalError: there is no such key.
    """

    def __init__(self, store: TokenStore, *, key: str | bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - few programs have a store

        self._store = store
        self._cipher = AESGCM(_read_key(key))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._store!r})"

    def get(self, name: str) -> bytes | None:
        """Return the decrypted value of this name, as `TokenStore` says."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as above

        sealed = self._store.get(name)
        if sealed is None or len(sealed) <= _NONCE_BYTES:
            return None
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _VERSION + name.encode())
        except InvalidTag:
            return None

    def put(self, name: str, value: bytes, ttl: float) -> None:
        """Encrypt and keep a value, as `TokenStore` says."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        self._store.put(name, nonce + self._cipher.encrypt(nonce, value, _VERSION + name.encode()), ttl)

    def remove(self, name: str) -> None:
        """Drop a value, as `TokenStore` says."""
        self._store.remove(name)

    def lock(self, name: str, seconds: float) -> AbstractContextManager[object]:
        """Return the lock of the other store."""
        return self._store.lock(name, seconds)


class EncryptedFileStore(EncryptedStore):
    """Access tokens in encrypted files, for the processes of one machine.

    Args:
        folder: created with mode 0700 when the first token is kept, its files with mode 0600.
        key: as of EncryptedStore.

    Raises:
        LocalError: there is no such key.
    """

    def __init__(self, folder: str | Path, *, key: str | bytes) -> None:
        super().__init__(FileTokenStore(folder), key=key)


def _read_key(key: str | bytes) -> bytes:
    if isinstance(key, bytes) and len(key) == _KEY_BYTES:
        return key
    text, place = (key, "key=") if isinstance(key, bytes) else _find(key)
    try:
        found = b64decode(text.strip().translate(bytes.maketrans(b"-_", b"+/")), validate=True)
    except binascii.Error:
        found = b""
    if len(found) != _KEY_BYTES:  # no message shows it
        raise LocalError(f"{place} must have the base64 of 32 random bytes: {_MAKE}")
    return found


def _find(key: object) -> tuple[bytes, str]:
    """Return the text of the key, and its place for messages."""
    if not isinstance(key, str):
        raise LocalError(f"key= is the base64 of 32 random bytes, or where that is, not {type(key).__name__}: {_MAKE}")
    scheme, colon, name = key.partition(":")
    if not colon:
        return key.encode(), "key="
    if scheme == "env":
        return os.environ.get(name, "").encode(), f"the variable {name}"
    if scheme == "file":
        try:
            return read_secret(Path(name), what="the key", variable="env:VARIABLE"), name
        except ConfigError as error:
            raise LocalError(str(error)) from None
    if scheme == "keyring":
        return read_keyring(name).encode(), f"{key} of the keyring"
    raise LocalError("key= is base64, or where that is: env:VARIABLE, file:PATH or keyring:SERVICE/USER")
