"""All ports on one PostgreSQL database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from affiant.errors import ConfigError, StoreError
from affiant.storage import ports
from affiant.storage.postgres.connection import CALL_SECONDS, LOST, Address, Pool, check_session, connect, parse_address
from affiant.storage.postgres.ledger import HEAD, PostgresLedger
from affiant.storage.postgres.registry import PostgresKeyUses, PostgresTables
from affiant.storage.postgres.schema import IS_MADE, MIGRATION_SECONDS, migrate
from affiant.storage.postgres.watch import Watch
from affiant.storage.sql import SqlStore

READERS = 4  # connections for look-ups and changes; one more commits, and one listens


class PostgresStore(SqlStore):
    """The store in this database, for the event loop that opens it. Any number of nodes may open it at once.

    Args:
        url: ``postgresql://USER@HOST/NAME``; what it leaves out comes from the usual PG variables and the passfile.
        audit_key: key of the audit log's chain, the same for every node; without one, the chain shows only accidents.
        clock: seconds since the epoch, compared with the database's own.

    Raises:
        ConfigError: the URL is none.
    """

    def __init__(self, url: str, *, audit_key: bytes = b"", clock: Callable[[], float] = time.time) -> None:
        self._address = parse_address(url)
        self._pool = pool = Pool(self._address, READERS)
        self._commits = Pool(self._address, 1)
        self._watch = Watch(self._address, on_loss=self._hang_up, clock=clock)
        self._ledger = PostgresLedger(pool, self._commits, self._watch, audit_key)
        super().__init__(PostgresTables(pool, self._watch, audit_key), pool, HEAD)
        self.key_uses: ports.KeyUses = PostgresKeyUses(pool)
        self.ledger: ports.Ledger = self._ledger

    async def open(self) -> None:
        connection = await _connect(self._address)
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await check_session(self._address, connection)
            async with asyncio.timeout(MIGRATION_SECONDS):
                await migrate(connection, self._address)
            await self._watch.open()
            for part in (self._pool, self._commits, self._ledger):
                part.open()
        except (*LOST, StoreError) as error:
            raise ConfigError(f"the database {self._address} cannot be used: {error}") from error
        finally:
            connection.terminate()

    async def close(self) -> None:
        await self._ledger.close()
        await self._watch.close()
        await self._pool.close()
        await self._commits.close()

    async def version(self) -> int:
        return await self._watch.version()

    def _hang_up(self) -> None:
        self._pool.hang_up()
        self._commits.hang_up()


async def is_made(url: str) -> bool:
    """Whether a store was ever opened in this database.

    Raises:
        ConfigError: the database cannot be reached.
    """
    address = parse_address(url)
    connection = await _connect(address)
    try:
        return bool(await connection.fetchval(IS_MADE))
    except LOST as error:
        raise ConfigError(f"the database {address} cannot be used: {error}") from error
    finally:
        connection.terminate()


async def _connect(address: Address) -> Any:
    try:
        async with asyncio.timeout(CALL_SECONDS):
            return await connect(address)
    except (StoreError, TimeoutError) as error:
        is_slow = isinstance(error, TimeoutError)
        said = "does not answer" if is_slow else str(error).removeprefix(f"the database {address} ")
        ask = ": is it running, and is the address right?" if isinstance(error.__cause__, OSError) else ""
        raise ConfigError(f"the database {address} cannot be opened: it {said}{ask}") from error
