"""Opening the file, and bringing its schema up to date."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from affiant.errors import ConfigError, StoreError
from affiant.system.files import denied, ensure_private

BUSY_SECONDS = 5.0  # how long one process waits for another's commit before it gives up


def connect(path: Path) -> sqlite3.Connection:
    """A connection whose commits survive a power cut."""
    connection = None
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        _write_ahead(connection)
        # NORMAL would lose the last commits when the power fails, and with them used jtis: FULL, always.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise ConfigError(
            f"the database {path} cannot be opened ({error}): the file and its folder must be writable, on a local"
            " disk that has room; choose another folder with --data"
        ) from error
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to WAL; the switch does not wait for other processes as a commit does, so wait here."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def create(path: Path) -> None:
    """Make the folder (0700) and the file (0600) if they are missing."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(ensure_private(path))
    except OSError as error:
        remedy = denied(path, error, folder=path.parent) or ": choose another with --data"
        raise ConfigError(f"the data folder {path.parent} cannot be written ({error.strerror}){remedy}") from error


def migrate(connection: sqlite3.Connection) -> None:
    """Apply every numbered file that was not applied yet; of two processes at once, one does and the other waits."""
    files = sorted(
        (
            entry
            for entry in resources.files("affiant.storage.migrations.sqlite").iterdir()
            if entry.name.endswith(".sql")
        ),
        key=lambda entry: entry.name,
    )
    if _pending(connection, files):
        _apply(connection, files)


def _pending(connection: sqlite3.Connection, files: Sequence[Traversable]) -> Sequence[Traversable]:
    """Return the pending migrations. Only a read: a command that lists must not wait for a server that writes."""
    (done,) = connection.execute("PRAGMA user_version").fetchone()
    if done > len(files):
        raise ConfigError("the database was made by a newer affiant: use that version")
    return files[done:]


def _apply(connection: sqlite3.Connection, files: Sequence[Traversable]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for file in _pending(connection, files):  # again: another process may have been quicker
            for statement in filter(None, map(str.strip, file.read_text("utf-8").split(";\n"))):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={len(files)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Let no error of the engine through but as StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"the database failed: {error}") from error
