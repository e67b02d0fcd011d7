"""Used proofs in a SQLite file, for the processes of one machine."""

from __future__ import annotations

import os
import stat
import weakref
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from affiant.errors import ConfigError, RemoteError
from affiant.resource.issuer.worker import worker
from affiant.resource.replays.threads import Threads
from affiant.system.files import denied, ensure_private
from affiant.system.values import Value

if TYPE_CHECKING:  # an API without this store never loads it
    import sqlite3

BUSY_SECONDS = 0.5  # for which one process waits for the commit of another
MOST_BYTES = 268_435_456  # two million proofs
PRUNE_EACH, PRUNED_AT_ONCE = 64, 256  # claims, and names that are forgotten then: fewer than come in, but no long pause
_TABLES = (
    "CREATE TABLE IF NOT EXISTS used (name BLOB PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS used_until ON used (until)",
    "CREATE TABLE IF NOT EXISTS floor (until REAL NOT NULL)",
    "INSERT INTO floor SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM floor)",
)
_OURS = {"used", "used_until", "floor"}
_CLAIM = "INSERT INTO used SELECT ?, ? WHERE ? > (SELECT max(until) FROM floor) ON CONFLICT DO NOTHING"
# Attack: a clock that was ahead is set back, and names are claimed again that were forgotten by then. What would be
# forgotten no later than they is not claimed at all.
_OLDEST = "SELECT until FROM used WHERE until < ? ORDER BY until LIMIT ?"
_RAISE = "UPDATE floor SET until = max(until, ?)"
_FORGET = "DELETE FROM used WHERE until <= ?"


class _Opened(Value, frozen=True):
    HIDDEN: ClassVar[frozenset[str]] = frozenset({"connection"})

    forks: int
    inode: int
    connection: sqlite3.Connection


class SqliteReplays:
    """Used proofs in a file that the processes of one machine share.

    What was claimed survives the end of a process; a power cut may take the claims of the last seconds with it.

    Args:
        path: of the file, on a local disk, in a folder that other users cannot write. It is created with mode 0600.
        most_bytes: of the file. When it is full, requests with a proof are refused with 503.

    Raises:
        ConfigError: the file cannot be created or opened, is another database, or may be written by others.
    """

    def __init__(self, path: str | os.PathLike[str], *, most_bytes: int = MOST_BYTES) -> None:
        self._path = Path(path).absolute()
        self._most_bytes = most_bytes
        self._threads = Threads(1)
        self._opened: _Opened | None = None
        self._inherited = list[_Opened]()  # SQLite: the connection of a parent process must not even be closed
        self._claims = 0
        _create(self._path)

    async def claim(self, name: bytes, *, now: float, until: float) -> bool:
        """Claim a name, as `ReplayStore` says."""
        return await self._threads.run(partial(self._claim, name, now, until))

    def _claim(self, name: bytes, now: float, until: float) -> bool:
        import sqlite3  # noqa: PLC0415 - see above

        try:
            connection = self._find()
            self._claims += 1
            if self._claims % PRUNE_EACH == 0:
                _prune(connection, now)
            return connection.execute(_CLAIM, (name, until, until)).rowcount == 1
        except (sqlite3.Error, OSError) as error:
            raise RemoteError(f"the store of used proofs {self._path} failed: {error}") from None

    def _find(self) -> sqlite3.Connection:
        """Return the connection of this process to the file that is there now: it may have been replaced."""
        inode, opened = self._path.stat().st_ino, self._opened
        if opened is not None and opened.forks != worker.forks:
            self._inherited.append(opened)
            opened = None
        if opened is not None and opened.inode != inode:
            opened.connection.close()
            opened = None
        if opened is None:
            opened = _Opened(worker.forks, inode, _connect(self._path))
            (page_bytes,) = opened.connection.execute("PRAGMA page_size").fetchone()
            opened.connection.execute(f"PRAGMA max_page_count={self._most_bytes // page_bytes}")
            weakref.finalize(self, _close, opened).atexit = False
        self._opened = opened
        return opened.connection


def _close(opened: _Opened) -> None:
    if opened.forks == worker.forks:
        opened.connection.close()


def _prune(connection: sqlite3.Connection, now: float) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if oldest := connection.execute(_OLDEST, (now, PRUNED_AT_ONCE)).fetchall():
            connection.execute(_RAISE, oldest[-1])
            connection.execute(_FORGET, oldest[-1])


def _connect(path: Path) -> sqlite3.Connection:
    import sqlite3  # noqa: PLC0415 - see above

    from affiant.system.sqlite import write_ahead  # noqa: PLC0415 - see above

    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        write_ahead(connection, seconds=10 * BUSY_SECONDS)
        connection.execute("PRAGMA synchronous=NORMAL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _create(path: Path) -> None:
    """Create the file, so that a wrong path is an error when it is written."""
    import sqlite3  # noqa: PLC0415 - see above

    try:
        descriptor = ensure_private(path)
        found = os.fstat(descriptor)
        os.close(descriptor)
    except OSError as error:
        raise ConfigError(f"{path} cannot be opened ({error.strerror}){denied(path, error)}") from error
    # Attack: another user deletes claims.
    if found.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(found.st_mode) & 0o022:
        raise ConfigError(f"{path} may be written by another user: give it to this one, and  chmod 600  it")
    try:
        with closing(_connect(path)) as connection:
            names = {
                name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite%'")
            }
            if not names <= _OURS:
                raise ConfigError(f"{path} is another database: name a file of its own")
            for statement in _TABLES:
                connection.execute(statement)
    except sqlite3.Error as error:
        raise ConfigError(f"{path} cannot be used ({error}): name a file on a local disk that has room") from error
