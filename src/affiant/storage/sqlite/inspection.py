"""Facts about a database file, for a diagnosis: nothing is created, migrated or repaired."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import NamedTuple

from affiant.errors import ConfigError
from affiant.storage import migrations
from affiant.storage.sqlite import copies

_SMALL = 1 << 28  # bytes; a larger file is checked without the audit log and the jtis


class Facts(NamedTuple):
    """Of one file; sizes in bytes. `schema` is the number of its last migration, `known` that of this version."""

    size: int
    log_size: int  # of the write-ahead log
    schema: int
    known: int


def inspect(path: Path) -> Facts:
    """Check the file and return the facts; ConfigError if it is damaged or cannot be read by this user."""
    size = path.stat().st_size
    copies.check(path, fast=size > _SMALL)
    log = path.with_name(f"{path.name}-wal")
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            (schema,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    log_size = log.stat().st_size if log.exists() else 0
    return Facts(size, log_size, schema, len(migrations.files("sqlite")))
