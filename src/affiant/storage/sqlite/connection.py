"""Open the file, bring its schema up to date, and read from it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from affiant.errors import ConfigError, StoreError
from affiant.storage import migrations
from affiant.system.files import denied, ensure_private
from affiant.system.sqlite import write_ahead

_File = tuple[str, str]
_OLDEST = "INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)"
BUSY_SECONDS = 5.0  # how long one process waits for another's commit before it gives up


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection whose commits survive a power cut; ConfigError if it cannot be opened for several processes."""
    connection = None
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        write_ahead(connection, seconds=BUSY_SECONDS)
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


def create(path: Path) -> None:
    """Create the folder (0700) and the file (0600) if they are missing."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(ensure_private(path))
    except OSError as error:
        remedy = denied(path, error, folder=path.parent) if path.parent.is_dir() else ""
        remedy = remedy or ": choose another with --data, or make it as root, with this user as its owner and mode 0700"
        raise ConfigError(f"the data folder {path.parent} cannot be written ({error.strerror}){remedy}") from error


def migrate(connection: sqlite3.Connection) -> None:
    """Apply every numbered file that was not applied yet; of two processes at once, one does and the other waits."""
    files = migrations.files("sqlite")
    if _pending(connection, files):
        _apply(connection, files)


def _pending(connection: sqlite3.Connection, files: Sequence[_File]) -> Sequence[_File]:
    # Only a read: a command that lists must not wait for a server that writes.
    (done,) = connection.execute("PRAGMA user_version").fetchone()
    if done > len(files) and not migrations.may_use(len(files), _oldest(connection)):
        raise ConfigError("the database was made by a newer affiant: use that version")
    return files[done:]


def _oldest(connection: sqlite3.Connection) -> str | None:
    """Return what the newer code wrote; None also where nothing was, not even a table of settings."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'setting'").fetchone():
        return None
    row = connection.execute("SELECT value FROM setting WHERE name = ?", (migrations.OLDEST_KEY,)).fetchone()
    return row[0] if row else None


def _apply(connection: sqlite3.Connection, files: Sequence[_File]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        pending = _pending(connection, files)  # again: another process may have been quicker
        for _, text in pending:
            for statement in filter(None, map(str.strip, text.split(";\n"))):
                connection.execute(statement)
        if pending:
            connection.execute(f"PRAGMA user_version={len(files)}")
            connection.execute(_OLDEST, (migrations.OLDEST_KEY, str(migrations.OLDEST)))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn an error of the engine into StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"the database failed: {error}") from error


class Reads:
    """The reads of a process: quick ones on the event loop, pages in a thread, each on a connection of its own.

    Each is one statement outside of a transaction. So no snapshot outlives a page, and a long list never blocks the
    checkpoint of the write-ahead log.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened = contextlib.ExitStack()
        self._reader: sqlite3.Connection | None = None
        self._pages: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None

    def open(self) -> None:
        self._reader = self._opened.enter_context(contextlib.closing(connect(self._path)))
        with translated():
            migrate(self._reader)
        self._pages = self._opened.enter_context(contextlib.closing(connect(self._path)))
        self._pages.execute("PRAGMA query_only=ON")
        self._thread = ThreadPoolExecutor(1, "affiant-pages")
        self._opened.callback(self._thread.shutdown, cancel_futures=True)

    def close(self) -> None:
        """Finish the current page, and start no other."""
        self._opened.close()
        self._reader = self._pages = self._thread = None

    async def fetch(self, query: str, *values: Any) -> list[Any]:
        return _fetch(self._reader, query, values)

    async def page(self, query: str, *values: Any) -> list[Any]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, _fetch, self._pages, query, values)


def _fetch(connection: sqlite3.Connection | None, query: str, values: Sequence[Any]) -> list[Any]:
    if connection is None:
        raise StoreError("the database is not open")
    with translated():
        return connection.execute(query.replace("$", "?"), numbered(values)).fetchall()


def numbered(values: Sequence[Any]) -> dict[str, Any]:
    """Return values for ``?1``, ``?2`` and so on: these are names to Python, and 3.14 refuses a sequence for them."""
    return {str(number): value for number, value in enumerate(values, 1)}
