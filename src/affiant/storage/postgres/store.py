"""All ports on one PostgreSQL database: the steps of storage/registry, the uses of clients' keys, and the ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from affiant.errors import ConfigError, StoreError
from affiant.storage import ports
from affiant.storage.commit import tell
from affiant.storage.entries import AuditRow
from affiant.storage.history.sizes import Sizes, estimate_claims
from affiant.storage.postgres.audit import PostgresAuditLog
from affiant.storage.postgres.connection import CALL_SECONDS, LOST, Address, Pool, check_session, connect, parse_address
from affiant.storage.postgres.counts import LOCK_COUNTS, PostgresCounts
from affiant.storage.postgres.ledger import LOCK_HEAD, Commits, PostgresLedger, append
from affiant.storage.postgres.schema import IS_MADE, MIGRATION_SECONDS, migrate
from affiant.storage.postgres.watch import CHANNEL, Watch
from affiant.storage.records import KeyUse
from affiant.storage.registry import Append, Forget, Get, Result, Rows, Step, Steps, changes_version
from affiant.storage.sql import SqlCursors, SqlKeyUses, SqlStore, SqlTables, is_text, select, write

READERS = 4  # connections for look-ups and changes; one more commits, and one listens

# Order: the first lock of every change, before the head of the audit log. So changes follow one another, and what one
# has read stays true until its commit.
_LOCK = "SELECT FROM version FOR UPDATE"
# Announced by the commit, and so never before the change can be seen.
_CHANGED = (
    "WITH changed AS (UPDATE version SET number = number + 1 RETURNING number)"
    " SELECT number, pg_notify($1, number::text) FROM changed"
)
# In the order of the primary key: two nodes that add at once never wait for each other in a circle.
_USE = (
    "INSERT INTO key_use SELECT client_id, credential, sum(count)::bigint, min(first_at), max(last_at)"
    " FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])"
    " AS use (client_id, credential, count, first_at, last_at) GROUP BY 1, 2 ORDER BY 1, 2"
    " ON CONFLICT (client_id, credential) DO UPDATE SET count = key_use.count + excluded.count,"
    " first_at = least(key_use.first_at, excluded.first_at), last_at = greatest(key_use.last_at, excluded.last_at)"
)


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
        self.listeners: list[Callable[[Sequence[bytes]], None]] = []
        committed = partial(tell, self.listeners)
        self._ledger = PostgresLedger(pool, self._watch, Commits(self._commits, audit_key, committed))
        super().__init__(PostgresTables(pool, self._watch, audit_key, committed), pool)
        self.audit_log: ports.AuditLog = PostgresAuditLog(pool)
        self.key_uses: ports.KeyUses = PostgresKeyUses(pool)
        self.counts: ports.Counts = PostgresCounts(pool, self._watch)
        self.cursors: ports.Cursors = SqlCursors(pool, pool.fetch, lambda: self.clock_offset)
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

    async def sizes(self) -> Sizes:
        claims, head = await estimate_claims(self._pool), await self.audit_log.head()
        rows = await self._pool.fetch("SELECT pg_database_size(current_database())")
        return Sizes(claims, int(rows[0][0]), head.given)

    @property
    def waiting(self) -> int:
        return self._ledger.waiting

    @property
    def clock_offset(self) -> float:
        return self._watch.clock_offset

    def _hang_up(self) -> None:
        self._pool.hang_up()
        self._commits.hang_up()


class PostgresTables(SqlTables):
    def __init__(
        self, pool: Pool, watch: Watch, audit_key: bytes, committed: Callable[[Sequence[AuditRow]], None]
    ) -> None:
        super().__init__(pool)
        self._pool = pool
        self._watch = watch
        self._audit_key = audit_key
        self._committed = committed

    async def change(self, steps: Callable[[], Steps[Result]]) -> Result:
        number = None
        async with self._pool.change() as connection:
            await connection.execute(_LOCK)
            result, has_changed, records = await self._drive(connection, steps())
            if has_changed:
                number, _ = await connection.fetchrow(_CHANGED, CHANNEL)
        if number is not None:
            self._watch.note(number)
        if records:
            self._committed(records)
        return result

    async def _drive(self, connection: Any, steps: Steps[Result]) -> tuple[Result, bool, list[AuditRow]]:
        answer, has_changed, records = None, False, list[AuditRow]()
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                return end.value, has_changed, records
            answer = await self._perform(connection, step, records)
            has_changed |= changes_version(step)

    async def _perform(self, connection: Any, step: Step, records: list[AuditRow]) -> Any:
        if isinstance(step, Get | Rows):
            query, values = select(step)
            known = all(map(is_text, values))
            found = [step.table.decode(row[0]) for row in await connection.fetch(query, *values)] if known else []
            return found if isinstance(step, Rows) else next(iter(found), None)
        if isinstance(step, Forget | Append):
            # A group that is being committed may rotate a refresh token, which would bring it back.
            await connection.execute(LOCK_HEAD)
        if isinstance(step, Forget):
            await connection.execute(LOCK_COUNTS)
        if isinstance(step, Append):
            _, _, rows = await append(connection, step.entries, self._audit_key)
            records += rows
            return None
        for statement, values in write(step):
            await connection.execute(statement, *values)
        return None


class PostgresKeyUses(SqlKeyUses):
    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self._pool = pool

    async def add(self, uses: Sequence[KeyUse]) -> None:
        rows = [(use.client_id, use.credential, use.count, use.first_at, use.last_at) for use in uses]
        if rows:
            async with self._pool.change() as connection:
                await connection.execute(_USE, *map(list, zip(*rows, strict=True)))


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
