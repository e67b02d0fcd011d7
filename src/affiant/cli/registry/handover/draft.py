"""What a command leaves behind when it is killed between a commit and its file, so that the next run can finish it.

A secret is made in one place and kept in another, and no commit spans both. So a draft is written first, beside the
file to come: whose secret it is, at which server, and the key or the ids of the secrets that were asked for. It is
removed when the file is there, or when the server refused. A draft that exists belongs to a run that was stopped.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from affiant.client.credentials import put_private
from affiant.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_VERSION = 1
_MAX_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that is about to be written.

    Attributes:
        path: the file to come.
        issuer: the server that is asked.
        name: of the client, or the invitation, at that server.
        key: the private JWK that was made for it.
        ids: of the secrets that were asked for, the newest last.
        before: digest of the secret that the file had.
    """

    path: Path
    issuer: str
    name: str
    key: dict[str, Any] | None = field(default=None, repr=False)
    ids: tuple[str, ...] = ()
    before: str | None = None

    def write(self) -> None:
        """Write it, mode 0600, over the one that is there.

        Raises:
            ConfigError: its folder cannot be written.
        """
        members = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "path"}
        put_private(place(self.path), json.dumps({"unfinished": _VERSION, **members}) + "\n", put=os.replace)

    def remove(self) -> None:
        """Remove it: the file is there, or nothing was made."""
        place(self.path).unlink(missing_ok=True)


def place(path: Path) -> Path:
    """Return where the draft of this file is."""
    return path.with_name(f".{path.name}.unfinished")


def find(path: Path) -> Draft | None:
    """Return what a stopped run left for this file.

    Raises:
        ConfigError: it cannot be read, or is none.
    """
    at = place(path)
    try:
        members = json.loads(_read(at))
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
    """Return what a stopped run left for a file that is not there; where the file is there, that run had written it.

    Raises:
        ConfigError: the file exists.
    """
    left = find(path)
    if left is not None and path.exists():
        left.remove()
        left = None
    check_free(path)
    return left


def _read(at: Path) -> bytes:
    # Attack: somebody who may write into this folder leaves a draft that makes its reader rotate a client's secret.
    with os.fdopen(os.open(at, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise ValueError("not a private file of this user")
        return file.read(_MAX_BYTES)


def check_free(path: Path) -> None:
    """Pass a name that no file has, unless a stopped run is to be finished.

    Raises:
        ConfigError: the file exists.
    """
    if path.exists() and not place(path).exists():
        raise ConfigError(f"{path} exists already: move it away, or choose another name")


def digest(secret: str | None) -> str | None:
    """Return what tells one secret from another, and is none."""
    return sha256(secret.encode()).hexdigest() if secret is not None else None
