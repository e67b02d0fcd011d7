"""Bring the schema up to date."""

from __future__ import annotations

from typing import Any

from affiant.errors import ConfigError
from affiant.storage import migrations
from affiant.storage.postgres.connection import Address

# Advisory locks are plain numbers that all programs of a database share: "affi" in ASCII, and a purpose.
_AFFIANT = 0x61666669
MIGRATION_LOCK = _AFFIANT << 32 | 1
RUNNER_LOCK = _AFFIANT << 32 | 2
COUNTS_LOCK = _AFFIANT << 32 | 3

MIGRATION_SECONDS = 300  # of another node that migrates, or of this one
IS_MADE = "SELECT to_regclass('migration') IS NOT NULL"
_OLDEST = "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_TABLE = (
    "CREATE TABLE migration (number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL"
    " DEFAULT now())"
)


async def migrate(connection: Any, address: Address) -> None:
    """Apply every numbered file that was not applied yet; of several nodes at once, one does and the others wait.

    The connection keeps the lock: close it afterwards.
    """
    files = migrations.files("postgres")
    done = await _done(connection, address, len(files))
    if done is not None and done >= len(files):
        return
    await connection.execute(f"SET lock_timeout = 0; SET statement_timeout = {MIGRATION_SECONDS}000")
    # Order: before the transaction, which would not see the tables that another node created while this one waited.
    await connection.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
    done = await _done(connection, address, len(files))
    await connection.execute("BEGIN")
    if done is None:
        await connection.execute(_TABLE)
    for number, (name, text) in list(enumerate(files, 1))[done or 0 :]:
        await connection.execute(text)
        await connection.execute("INSERT INTO migration (number, name) VALUES ($1, $2)", number, name)
    await connection.execute(_OLDEST, migrations.OLDEST_KEY, str(migrations.OLDEST))
    await connection.execute("COMMIT")


async def _done(connection: Any, address: Address, known: int) -> int | None:
    if not await connection.fetchval(IS_MADE):
        return None
    done: int = await connection.fetchval("SELECT coalesce(max(number), 0) FROM migration")
    if done > known and not migrations.may_use(
        known, await connection.fetchval("SELECT value FROM setting WHERE name = $1", migrations.OLDEST_KEY)
    ):
        raise ConfigError(f"the database {address} was made by a newer affiant: use that version")
    return done
