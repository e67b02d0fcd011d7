"""Back up the file, check it, and restore a backup. A crash during a restore is noticed at the next start."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from affiant.errors import ConfigError
from affiant.storage.records import RESTORED_AT
from affiant.storage.sqlite.connection import connect, migrate
from affiant.system.files import create_private, denied, ensure_private

_PAGES = 1024  # copied at once; in between, others may write
_NOT_DAMAGE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
_REMEDY = ": put a backup in its place with  affiant db restore FILE"
_LOG = ("-wal", "-shm")
_SIDE_FILES = (*_LOG, ".lock")
_PUT = "INSERT INTO setting VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_TABLES = ("client", "api", "signing_key", "setting", "version", "refresh_token")


def backup(source: Path, target: Path) -> None:
    """Copy the database, whole and as of one moment, while servers use it."""
    if target.exists():
        raise ConfigError(f"{target} exists already: name another file")
    draft = target.with_name(f".{target.name}.part")
    draft.unlink(missing_ok=True)
    reading = connect(source)
    try:
        _make(draft)
        writing = sqlite3.connect(draft)
        try:
            reading.backup(writing, pages=_PAGES)
            writing.execute("PRAGMA journal_mode=DELETE")
        finally:
            writing.close()
        _settle(draft)
        os.link(draft, target)  # unlike a rename never over another file
    except (sqlite3.Error, OSError) as error:
        why = getattr(error, "strerror", None) or error  # its text names the draft
        raise ConfigError(f"no backup was made in {target}: {why}") from error
    finally:
        reading.close()
        draft.unlink(missing_ok=True)


def restore(copy: Path, target: Path, *, now: int) -> Path | None:
    """Replace the database by a backup; return the new name of the old database.

    The database keeps the time in the setting RESTORED_AT: jtis that were used after the backup are not in it.
    """
    check(copy, remedy=": name another backup")
    draft = restoring(target)
    with locked(target, alone=True):
        try:
            draft.unlink(missing_ok=True)
            os.close(create_private(draft))
            _fill(copy, draft, now)
            kept = _set_aside(target, now)
            _settle(draft)
            draft.replace(target)
            _settle(target)
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"{copy} was not put in the place of {target}: {error}") from error
    return kept


def check(path: Path, *, fast: bool = False, remedy: str = _REMEDY) -> None:
    """Raise ConfigError if the file is not a whole database of affiant.

    `fast` leaves out the audit log and the jtis, which may be large; `remedy` ends the message.
    """
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    # Order: before SQLite opens it and leaves a second file that cannot be written either.
    _check_access(path)
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            queries = [f"PRAGMA quick_check({table})" for table in _TABLES] if fast else ["PRAGMA integrity_check"]
            found = [row[0] for query in queries for row in connection.execute(query)]
            connection.execute("SELECT number FROM version").fetchone()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_DAMAGE:
            raise ConfigError(
                f"{path} cannot be read ({error}): it and its folder must be writable, on a disk that has room"
            ) from error
        raise ConfigError(f"{path} is not a whole database of affiant ({error}){remedy}") from error
    damage = [line for line in found if line != "ok"]
    if damage:
        raise ConfigError(f"{path} is damaged ({damage[0]}){remedy}")


def _check_access(path: Path) -> None:
    for place in (path, *(path.with_name(path.name + tail) for tail in _SIDE_FILES), path.parent):
        if place.exists() and not os.access(place, os.R_OK | os.W_OK):
            error = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            raise ConfigError(
                f"{place} cannot be read: it and its folder must be writable{denied(place, error, folder=path.parent)}"
            ) from error


def put_setting(path: Path, name: str, value: str) -> None:
    """Set a setting of a database that may be open, without its store; ConfigError if it cannot be written."""
    try:
        with contextlib.closing(connect(path)) as connection:
            connection.execute(_PUT, (name, value))
    except sqlite3.Error as error:
        raise ConfigError(f"{path} cannot be written: {error}") from error


def find_setting(path: Path, name: str) -> str | None:
    """A setting of a database that may be closed; None if it cannot be read."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    except sqlite3.Error:
        return None
    return str(found[0]) if found else None


def restoring(path: Path) -> Path:
    """The file that exists during a restore."""
    return path.with_name(f"{path.name}.restoring")


@contextlib.contextmanager
def locked(path: Path, *, alone: bool) -> Iterator[None]:
    """Lock a database: shared by its users, alone for a restore."""
    lock = path.with_name(f"{path.name}.lock")
    try:
        descriptor = ensure_private(lock)
    except OSError as error:
        raise ConfigError(
            f"{lock} cannot be opened: {error.strerror}{denied(lock, error, folder=path.parent)}"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            why = "it is in use: stop the server first" if alone else "a backup is being put in its place: wait for it"
            raise ConfigError(f"{path} cannot be opened now; {why}") from None
        yield
    finally:
        os.close(descriptor)


def _fill(copy: Path, draft: Path, now: int) -> None:
    reading, writing = sqlite3.connect(copy), sqlite3.connect(draft, isolation_level=None)
    try:
        reading.backup(writing)
        migrate(writing)
        writing.execute("BEGIN")
        writing.execute(_PUT, (RESTORED_AT, str(now)))
        writing.execute("UPDATE version SET number = number + 1")
        writing.execute("COMMIT")
        writing.execute("PRAGMA journal_mode=DELETE")
    finally:
        reading.close()
        writing.close()


def _set_aside(target: Path, now: int) -> Path | None:
    # While the draft exists, no process opens the database: a crash in here is noticed.
    if not target.exists():
        return None
    with contextlib.suppress(sqlite3.Error, ConfigError), contextlib.closing(connect(target)) as old:
        old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    kept = target.with_name(f"{target.name}.before-{now}")
    os.link(target, kept)
    for tail in _LOG:  # left behind, SQLite would apply them to the new file
        with contextlib.suppress(FileNotFoundError):
            target.with_name(target.name + tail).replace(kept.with_name(kept.name + tail))
    return kept


def _make(path: Path) -> None:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _settle(path: Path) -> None:
    # fsync of the file, and of the folder for its name.
    for place in (path, path.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
