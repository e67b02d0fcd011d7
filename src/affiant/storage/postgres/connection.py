"""Connections that keep their deadlines: after any failure one is closed, and the next call makes another."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from affiant.errors import ConfigError, Error, StoreError

# A request ends within 3 s, also when the network swallows everything: a look-up, or the commit with its waiting.
CALL_SECONDS = 1.5
# The same on the server's side: a node that was cut off during a commit must not block the others. Set by a statement,
# since a pooler such as PgBouncer refuses or ignores them as parameters of a new connection.
_SESSION = {
    "default_transaction_isolation": "read committed",  # the adapter locks; each statement must see the newest
    "lock_timeout": "1500",
    "statement_timeout": "2000",
    "idle_in_transaction_session_timeout": "2000",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "jit": "off",
}
# remote_apply promises more than on. Any less would lose the last commits, and used jtis with them.
_SET = (
    "SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
    " WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)"
) + "".join(f", set_config('{name}', '{value}', false)" for name, value in _SESSION.items())
# The settings to check afterwards, in another statement. Keepalives and jit are optional: some systems lack them.
_HELD = tuple(_SESSION)[:4]
_SESSION_ID = "SELECT pg_backend_pid()"
_SHOW = "SELECT name, setting FROM pg_settings WHERE name = ANY($1)"
# The errors of prepared statements behind a pooler that changes the session of a connection.
_OTHER_SESSION = (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError)
_POOLER = "connect to PostgreSQL itself, or set pool_mode=session"
LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
# Strict, so that `shown` never has a part of the password, which a stray "/" or "@" would put where the host belongs.
_URL = re.compile(
    r"postgres(?:ql)?://(?:[^:@/?#\s]*(?::[^:@/?#\s]*)?@)?(?P<host>[^@/?#\s]*)/(?P<name>[^@/?#\s]+)(?:\?[^\s#]*)?"
)
# One host of a list, with or without a port. The driver checks a port only when it connects.
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^:\[\],]*)(?::(?P<port>[0-9]{0,5}))?")
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """The URL of a database; text and repr are without user, password and parameters."""

    url: str = field(repr=False)
    shown: str

    def __str__(self) -> str:
        return self.shown


def parse_address(url: str) -> Address:
    """Parse the URL of a database. A ConfigError does not repeat it."""
    found = _URL.fullmatch(url)
    if found is None:
        raise ConfigError(
            "the database must be postgresql://USER@HOST/NAME, with every reserved character of its user and password"
            " percent-encoded"
        )
    for host in found["host"].split(","):
        part = _HOST.fullmatch(host)
        if part is None or int(part["port"] or 0) > _LAST_PORT:
            raise ConfigError(
                "the database must be postgresql://USER@HOST:PORT/NAME, with a port up to 65535 and brackets around an"
                " IPv6 address"
            )
    return Address(url, f"postgresql://{found['host']}/{found['name']}")


def translated(address: Address, error: BaseException) -> StoreError:
    """The StoreError for a failure of the engine or the network."""
    if isinstance(error, TimeoutError):
        return StoreError(f"the database {address} did not answer in time")
    if isinstance(error, _OTHER_SESSION):
        return StoreError(f"the database {address} is behind a pooler that is not in session mode: {_POOLER}")
    return StoreError(f"the database {address} failed: {str(error) or type(error).__name__}")


async def connect(address: Address) -> Any:
    """Open a connection whose commits survive a power cut. The caller keeps the deadline.

    Raises:
        ConfigError: the URL cannot be used, or the database would lose acknowledged commits.
        StoreError: it does not answer, or refuses the connection.
    """
    try:
        connection = await asyncpg.connect(address.url, server_settings={"application_name": "affiant"})
    except ValueError:  # its text may repeat a part of the URL; asyncpg.ClientConfigurationError is one
        raise ConfigError(f"the URL of the database {address} has a parameter that cannot be used") from None
    except LOST as error:
        raise translated(address, error) from error
    try:
        await connection.execute(_SET)
        _check(address, dict(await connection.fetch(_SHOW, ["synchronous_commit", "fsync", *_HELD])))
    except LOST as error:
        connection.terminate()
        raise translated(address, error) from error
    except BaseException:
        connection.terminate()
        raise
    return connection


async def check_session(address: Address, connection: Any) -> None:
    """Raise ConfigError if a pooler lends one session of the database to several connections.

    Locks, settings and notifications would be lost between two statements, without any error.
    """
    other = await connect(address)
    try:
        if await connection.fetchval(_SESSION_ID) == await other.fetchval(_SESSION_ID):
            raise ConfigError(f"the database {address} is behind a pooler that is not in session mode: {_POOLER}")
    finally:
        other.terminate()


def _check(address: Address, found: dict[str, str]) -> None:
    kept, fsync = found["synchronous_commit"], found["fsync"]
    if kept not in ("on", "remote_apply") or fsync != "on":
        raise ConfigError(
            f"the database {address} does not keep what it acknowledges (synchronous_commit={kept},"
            f" fsync={fsync}): after a power cut an assertion could be used twice"
        )
    lost = [f"{name}={found[name]}" for name in _HELD if found[name] != _SESSION[name]]
    if lost:
        raise ConfigError(
            f"the database {address} does not keep the settings of a session ({', '.join(lost)}): {_POOLER}"
        )


class Pool:
    """At most `size` connections, each made when a call needs one. A call waits for a free one within its deadline."""

    def __init__(self, address: Address, size: int) -> None:
        self._address = address
        self._turns = asyncio.Semaphore(size)
        self._free: list[Any] = []
        self._is_open = False

    def open(self) -> None:
        self._is_open = True

    @contextlib.asynccontextmanager
    async def take(self, seconds: float = CALL_SECONDS) -> AsyncIterator[Any]:
        """Lend a connection for so many seconds, waiting and connecting included.

        After a StoreError, a commit that was in flight may have happened or not.
        """
        try:
            async with asyncio.timeout(seconds), self._turns, self._connection() as connection:
                yield connection
        except LOST as error:
            raise translated(self._address, error) from error

    @contextlib.asynccontextmanager
    async def change(self) -> AsyncIterator[Any]:
        """Run a transaction; an Error undoes it. After a StoreError it may have been committed or not."""
        # Not asyncpg's own transaction, which waits for its ROLLBACK even after the deadline.
        async with self.take() as connection:
            await connection.execute("BEGIN")
            try:
                yield connection
            except Error:
                await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

    async def fetch(self, query: str, *values: Any) -> Sequence[Any]:
        async with self.take() as connection:
            rows: Sequence[Any] = await connection.fetch(query, *values)
        return rows

    page = fetch

    def hang_up(self) -> None:
        """Drop the idle connections: if one has died unnoticed, so have they."""
        while self._free:
            self._free.pop().terminate()

    async def close(self) -> None:
        """Close the connections, once all have been returned."""
        self._is_open = False
        free, self._free = self._free, []
        for connection in free:
            with contextlib.suppress(*LOST):
                await connection.close(timeout=CALL_SECONDS)

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        if not self._is_open:
            raise StoreError("the database is not open")
        connection = None
        while self._free and (connection is None or connection.is_closed()):
            connection = self._free.pop()
        if connection is None or connection.is_closed():
            connection = await connect(self._address)
        try:
            yield connection
        except Error:  # our own refusal: the connection is in order
            self._free.append(connection)
            raise
        except BaseException:
            # A transaction may be open, or an answer on its way: only a new connection has a known state.
            connection.terminate()
            self.hang_up()
            raise
        self._free.append(connection)
