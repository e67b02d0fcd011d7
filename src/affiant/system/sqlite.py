"""SQLite files that several processes write."""

from __future__ import annotations

import sqlite3
import time


def write_ahead(connection: sqlite3.Connection, *, seconds: float) -> None:
    """Switch the file to a write-ahead log; raise sqlite3.Error after so many seconds.

    Unlike a commit, this switch does not wait for other processes by itself.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return
