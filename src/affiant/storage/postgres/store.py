"""All ports on one PostgreSQL database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import asyncpg

from affiant.errors import ConfigError, StoreError
from affiant.storage.postgres.address import Address, parse_address
from affiant.storage.postgres.connection import CALL_SECONDS, Lines, check_session, connect
from affiant.storage.postgres.keys import PostgresInitialAccessTokens, PostgresKeyUses
from affiant.storage.postgres.ledger import PostgresAuditLog, PostgresLedger
from affiant.storage.postgres.refresh import PostgresRefreshTokens, PostgresRevocations
from affiant.storage.postgres.registry import PostgresApis, PostgresClients, PostgresSettings, PostgresSigningKeys
from affiant.storage.postgres.schema import IS_MADE, MIGRATION_SECONDS, migrate
from affiant.storage.postgres.watch import Watch

READERS = 4  # connections for look-ups and changes; one more commits, and one listens


class PostgresStore:
    """The store in this database, for the event loop that opens it. Any number of nodes may open it at once."""

    def __init__(self, url: str, *, audit_key: bytes = b"", clock: Callable[[], float] = time.time) -> None:
        self._address = parse_address(url)
        self._lines = Lines(self._address, READERS)
        self._commits = Lines(self._address, 1)
        self._watch = Watch(self._address, on_loss=self._hang_up, clock=clock)
        self.clients = PostgresClients(self._lines, self._watch, audit_key)
        self.apis = PostgresApis(self._lines, self._watch, audit_key)
        self.signing_keys = PostgresSigningKeys(self._lines, self._watch, audit_key)
        self.initial_access_tokens = PostgresInitialAccessTokens(self._lines, self._watch, audit_key)
        self.key_uses = PostgresKeyUses(self._lines, self._watch)
        self.settings = PostgresSettings(self._lines, self._watch)
        self.refresh_tokens = PostgresRefreshTokens(self._lines)
        self.revocations = PostgresRevocations(self._lines)
        self.audit_log = PostgresAuditLog(self._lines)
        self.ledger = PostgresLedger(self._lines, self._commits, self._watch, audit_key)

    async def open(self) -> None:
        """See Store."""
        connection = await _connect(self._address)
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await check_session(self._address, connection)
            async with asyncio.timeout(MIGRATION_SECONDS):
                await migrate(connection, self._address)
            await self._watch.open()
            for part in (self._lines, self._commits, self.ledger):
                part.open()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, StoreError) as error:
            raise ConfigError(f"the database {self._address} cannot be used: {error}") from error
        finally:
            connection.terminate()

    async def close(self) -> None:
        await self.ledger.close()
        await self._watch.close()
        await self._lines.close()
        await self._commits.close()

    async def version(self) -> int:
        return await self._watch.version()

    def _hang_up(self) -> None:
        self._lines.hang_up()
        self._commits.hang_up()


async def is_made(url: str) -> bool:
    """Whether a store was ever opened in this database."""
    address = parse_address(url)
    connection = await _connect(address)
    try:
        return bool(await connection.fetchval(IS_MADE))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
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
