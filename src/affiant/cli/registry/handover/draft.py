"""Drafts of credentials files: a run that is killed between a commit and its file can be finished by the next one.

The server makes a secret and this machine keeps it, and no commit spans both. So the command first writes a draft next
to the future file: the server, the client, and the key or the ids of the secrets that it asks for. It removes the draft
when the file exists, or when the server refused. A draft that exists belongs to a run that was stopped.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from affiant.client.cache.stores.kept import read_own
from affiant.client.credentials.file import put_private
from affiant.errors import ConfigError

_VERSION = 1
_MAX_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Draft:
    """The draft of a file that is about to be written."""

    path: Path  # the future file
    issuer: str  # of the server that gets the request
    name: str  # of the client, or the invitation, at that server
    key: dict[str, Any] | None = field(default=None, repr=False)  # its private JWK
    ids: tuple[str, ...] = ()  # of the requested secrets, the newest last
    before: str | None = None  # digest of the secret that the file still has

    def write(self) -> None:
        """Write it with mode 0600, over an earlier one; raise ConfigError if that fails."""
        members = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "path"}
        put_private(place(self.path), json.dumps({"unfinished": _VERSION, **members}) + "\n", put=os.replace)

    def remove(self) -> None:
        """Remove it, once the file exists or the server certainly made nothing."""
        place(self.path).unlink(missing_ok=True)


def place(path: Path) -> Path:
    """Return the path of the draft of this file."""
    return path.with_name(f".{path.name}.unfinished")


def find(path: Path) -> Draft | None:
    """Return the draft that a stopped run left for this file; raise ConfigError if it cannot be used."""
    at = place(path)
    try:
        # Attack: with a draft of another user, this user would rotate a client's secret.
        members = json.loads(read_own(at, _MAX_BYTES))
        if members.pop("unfinished") != _VERSION:
            raise ValueError("another version")
        return Draft(path, **{**members, "ids": tuple(members["ids"])})
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{at} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"{at} was left by a command that was stopped, and cannot be used: delete it") from None


def take(path: Path) -> Draft | None:
    """Return the draft of a file that does not exist; raise ConfigError if the file exists.

    A draft next to its file is removed: the stopped run had written the file.
    """
    left = find(path)
    if left is not None and path.exists():
        left.remove()
        left = None
    check_free(path)
    return left


def check_free(path: Path) -> None:
    """Raise ConfigError if this file exists and has no draft."""
    if path.exists() and not place(path).exists():
        raise ConfigError(f"{path} exists already: move it away, or choose another name")


def digest(secret: str | None) -> str | None:
    """Return a digest that identifies a secret."""
    return sha256(secret.encode()).hexdigest() if secret is not None else None
