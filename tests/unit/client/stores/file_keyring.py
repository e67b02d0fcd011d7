"""A backend of the package keyring that keeps passwords in files: machines that run tests have no keyring."""

import os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError


class FileKeyring(KeyringBackend):
    """In the folder FILE_KEYRING."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # the package has types for its functions alone

    def _path(self, service: str, username: str) -> Path:
        folder = Path(os.environ["FILE_KEYRING"])
        folder.mkdir(exist_ok=True)
        return folder / f"{service}-{username}"

    def get_password(self, service: str, username: str) -> str | None:
        path = self._path(service, username)
        return path.read_text() if path.exists() else None

    def set_password(self, service: str, username: str, password: str) -> None:
        path = self._path(service, username)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(password)
        draft.replace(path)

    def delete_password(self, service: str, username: str) -> None:
        try:
            self._path(service, username).unlink()
        except FileNotFoundError:
            raise PasswordDeleteError from None
