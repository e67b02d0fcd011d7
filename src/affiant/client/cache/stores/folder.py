"""Tokens in files that only their user can read."""

from __future__ import annotations

import os
import secrets
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from affiant.client.cache.stores.kept import read_own
from affiant.client.cache.stores.locks import find, locked
from affiant.errors import LocalError

_DIGITS = 64  # of a name
_LEFT_SECONDS = 60.0  # after its end, or after a process that wrote it was killed, a file is removed


class FileTokenStore:
    """Access tokens in a folder, for the processes of one user on one machine.

    The tokens are not encrypted: anyone who can read the user's files, or a backup of them, has them until they end.
    EncryptedFileStore encrypts them. Files that belong to another user, or that others may read, are ignored.

    Args:
        folder: created with mode 0700 when the first token is kept, its files with mode 0600.
    """

    def __init__(self, folder: str | Path) -> None:
        if not str(folder):
            raise LocalError("folder= is empty: name the folder for the tokens")
        self.folder: Path = Path(folder)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r})"

    def get(self, name: str) -> bytes | None:
        """Return the value of this name, as `TokenStore` says."""
        try:
            return read_own(self.folder / name)
        except (OSError, ValueError):
            return None

    def put(self, name: str, value: bytes, ttl: float) -> None:
        """Keep a value, as `TokenStore` says."""
        path = self.folder / name
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{name}.{secrets.token_hex(8)}")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
                file.write(value)
            end = time.time() + ttl
            os.utime(draft, (end, end))  # when `_sweep` may remove it
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        self._sweep()

    def remove(self, name: str) -> None:
        """Drop a value, as `TokenStore` says."""
        (self.folder / name).unlink(missing_ok=True)

    def lock(self, name: str, seconds: float) -> AbstractContextManager[object]:
        """Return a lock, as `TokenStore` says."""
        return locked(find(self.folder, name), seconds)

    def _sweep(self) -> None:
        """Remove what ended, and what a process that was killed left behind."""
        before = time.time() - _LEFT_SECONDS
        with suppress(OSError), os.scandir(self.folder) as found:
            for entry in found:
                with suppress(OSError):
                    if _is_ours(entry.name) and entry.stat(follow_symlinks=False).st_mtime < before:
                        Path(entry).unlink()


def _is_ours(name: str) -> bool:
    """Whether this is the name of a token, or of a draft of one: the folder may have other files, too."""
    digest, _, rest = name.removeprefix(".").partition(".")
    is_hex = len(digest) == _DIGITS and not digest.strip("0123456789abcdef")
    return is_hex and bool(rest) == name.startswith(".")
