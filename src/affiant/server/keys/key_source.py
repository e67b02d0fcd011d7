"""Find the master key: in a variable, a named file, a credential of systemd, or the data folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from affiant.errors import ConfigError
from affiant.server.keys.master_key import BYTES, MasterKey, parse
from affiant.system.files import create_private, denied, read_private

ENVIRONMENT = "AFFIANT_MASTER_KEY"
SETTING = "AFFIANT_MASTER_KEY_FILE"
DIRECTORY = "CREDENTIALS_DIRECTORY"  # systemd.exec(5), of LoadCredential=
CREDENTIAL = "affiant-master-key"
FILE_NAME = "master.key"


@dataclass(frozen=True, slots=True)
class Source:
    """A place that may have the master key.

    Attributes:
        name: the variable, or what the place is.
        path: the file; None for the variable with the key itself.
        is_default: whether it is the file in the data folder, which no operator named.
    """

    name: str
    path: Path | None = None
    is_default: bool = False
    text: str = field(default="", repr=False)

    @property
    def shown(self) -> str:
        return self.name if self.path is None else f"{self.path} ({self.name})"

    @property
    def exists(self) -> bool:
        return self.path is None or self.path.exists()


def find(folder: Path, named: Path | None = None, environment: Mapping[str, str] = os.environ) -> Source:
    """Return the one source that was given, or else the file in the data folder.

    Args:
        folder: the data folder.
        named: the setting master_key_file.
        environment: of the process.

    Raises:
        ConfigError: two sources were given: a forgotten one could replace the intended one.
    """
    given = []
    if text := environment.get(ENVIRONMENT):
        given.append(Source(ENVIRONMENT, text=text))
    if named is not None:
        given.append(Source(SETTING, named))
    if mounted := environment.get(DIRECTORY):
        credential = Path(mounted) / CREDENTIAL
        given += [Source(f"credential {CREDENTIAL}", credential)] if os.path.lexists(credential) else []
    if len(given) > 1:
        shown = " and ".join(source.shown for source in given)
        raise ConfigError(f"the master key is given twice, by {shown}: leave one")
    return given[0] if given else Source("data folder", folder / FILE_NAME, is_default=True)


def load(folder: Path, named: Path | None = None, environment: Mapping[str, str] = os.environ) -> MasterKey:
    """Return the master key of the source that `find` finds."""
    return MasterKey.from_bytes(read(find(folder, named, environment)))


def read(source: Source) -> bytes:
    """Return the bytes of the master key."""
    if source.path is None:
        return parse(source.text)
    try:
        if source.path.is_fifo():
            raise ConfigError(f"the master key {source.path} is a pipe, and each process reads the key: name a file")
        return parse(read_private(source.path, what="the master key", variable=ENVIRONMENT).decode("ascii").strip())
    except FileNotFoundError:
        raise ConfigError(_missing(source)) from None
    except UnicodeDecodeError:  # not chained: it has the bytes of the secret
        raise ConfigError(f"the master key {source.path} cannot be read: not ASCII") from None


def _missing(source: Source) -> str:
    if not source.is_default:
        return f"the master key {source.shown} is missing: put it there, or name another file"
    return (
        f"the master key {source.path} is missing, and the database was made under it: put it back, or set"
        f" {ENVIRONMENT} or {SETTING}"
    )


def make(folder: Path, named: Path | None = None, environment: Mapping[str, str] = os.environ) -> bool:
    """Make the file in the data folder, unless it exists or a source is given; return whether it was made.

    Call it only where there is no database yet: records that were written under another key could not be read.
    """
    source = find(folder, named, environment)
    if not source.is_default or source.path is None or source.path.exists():
        return False
    return write_anew(source.path, secrets.token_bytes(BYTES))


def take_back(folder: Path) -> None:
    """Remove the file that `make` has just made: the database that was found has another key."""
    (folder / FILE_NAME).unlink(missing_ok=True)


def write_anew(path: Path, material: bytes) -> bool:
    """Write a key into a file that must not exist yet; return False if it does."""
    try:
        return _link(path, material.hex() + "\n")
    except OSError as error:
        raise ConfigError(f"the master key {path} cannot be written: {error.strerror}{denied(path, error)}") from error


def _link(path: Path, text: str) -> bool:
    # Race: written under another name and then linked, so that a second process sees all of it or nothing.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = create_private(draft, flags=os.O_WRONLY)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return False  # the other process was first; its key is used
    else:
        return True
    finally:
        draft.unlink()
