"""SQLite: the default store. One file, WAL, synchronous=FULL, one writer that commits in groups."""

from affiant.storage.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
