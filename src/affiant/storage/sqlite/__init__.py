"""SQLite: the default store. One file, WAL, synchronous=FULL, one writer per process that commits in groups.

`store` puts it together: `connection` reads, `writer` commits, `copies` backs up and restores.
"""

from affiant.storage.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
