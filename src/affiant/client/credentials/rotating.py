"""A credential that came from a file, which another program may rotate."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from affiant.client.credentials import own_key, search
from affiant.client.credentials.file import Credentials
from affiant.client.protocol.auth import ClientAuth
from affiant.errors import LocalError
from affiant.signers import sources
from affiant.system import forks


class Rotating:
    """Reads the credential again after the server refused it.

    Args:
        load: returns the authentication; None if the file is of another client now.
        mark: returns a value that differs for another credential; it must be cheap, and may raise LocalError.
    """

    def __init__(self, load: Callable[[], ClientAuth | None], mark: Callable[[], object]) -> None:
        self.lock: forks.Lock = forks.Lock()
        self._load = load
        self._mark = mark
        self._seen = mark()

    def find_new(self) -> ClientAuth | None:
        """Return another authentication than the last one, or None."""
        try:
            seen = self._mark()
            found = self._load() if seen != self._seen else None
        except LocalError:  # report the server's refusal, not a file that is being replaced
            return None
        if found is not None:
            self._seen = seen
        return found


def follow_key(key: Any, load: Callable[[], ClientAuth]) -> Rotating | None:
    """Return what reads this key again, or None if it is in no file."""
    return Rotating(load, partial(sources.find_mark, key)) if sources.is_file(key) else None


def follow_credentials(path: str | Path | None, first: Credentials, make: Callable[..., ClientAuth]) -> Rotating:
    """Return what reads the credentials of this service again; those of another client are not used."""

    def load() -> ClientAuth | None:
        found = search.find(path)
        if (found.issuer, found.client_id) != (first.issuer, first.client_id):
            return None
        return make(own_key.locate(found), found.client_secret, found.auth_method, found.alg, found.kid)

    def mark() -> object:
        found = search.find(path)
        return found, found.key_mark

    return Rotating(load, mark)
