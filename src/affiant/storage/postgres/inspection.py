"""Facts about a database, for a diagnosis: nothing is created or migrated."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from affiant.errors import ConfigError
from affiant.storage import migrations
from affiant.storage.postgres.connection import CALL_SECONDS, LOST, connect, parse_address, translated
from affiant.storage.postgres.schema import IS_MADE

_ASK = """\
SELECT current_setting('server_version_num')::int, current_setting('max_connections')::int,
 (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int,
 coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
 inet_client_addr() IS NULL OR host(inet_client_addr()) IN ('127.0.0.1', '::1'),
 (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
 pg_database_size(current_database()), extract(epoch FROM clock_timestamp())::float8"""
_SCHEMA = "SELECT coalesce(max(number), 0) FROM migration"


class Facts(NamedTuple):
    """Of one database. `schema` is the number of its last migration (None without tables), `known` of this version."""

    version: int  # as server_version_num has it
    max_connections: int
    connections: int  # that are open now
    is_encrypted: bool
    is_local: bool
    is_superuser: bool
    size: int  # bytes
    offset: float  # seconds that this machine's clock is ahead
    schema: int | None
    known: int


async def inspect(url: str) -> Facts:
    """Connect once and return the facts.

    Raises:
        ConfigError: the database cannot be used.
        StoreError: it does not answer.
    """
    address = parse_address(url)
    try:
        async with asyncio.timeout(4 * CALL_SECONDS):
            connection = await connect(address)
            try:
                begun = time.time()
                row = await connection.fetchrow(_ASK)
                offset = (begun + time.time()) / 2 - row[7]
                schema = await connection.fetchval(_SCHEMA) if await connection.fetchval(IS_MADE) else None
            finally:
                connection.terminate()
    except LOST as error:
        raise ConfigError(str(translated(address, error))) from error
    return Facts._make([*row[:7], offset, schema, len(migrations.files("postgres"))])
