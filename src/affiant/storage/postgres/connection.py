"""Connections that keep their deadlines: whatever goes wrong on one, it is hung up, and the next call makes another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg

from affiant.errors import ConfigError, Error, StoreError
from affiant.storage.postgres.address import Address

# A request ends within 3 s, also when the network swallows everything: a look-up, or the commit with its waiting.
CALL_SECONDS = 1.5
# The same, kept by the server: a node that was cut off in the middle of a commit must not keep the others out.
# Set by a statement, since a pooler such as PgBouncer refuses or ignores them as parameters of a new connection.
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
# remote_apply promises more than on; what promises less would lose the last commits, and with them used jtis.
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
_LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


def translated(address: Address, error: BaseException) -> StoreError:
    """What the adapter's callers are told of a failure of the engine or the network."""
    if isinstance(error, TimeoutError):
        return StoreError(f"the database {address} did not answer in time")
    if isinstance(error, _OTHER_SESSION):
        return StoreError(f"the database {address} is behind a pooler that is not in session mode: {_POOLER}")
    return StoreError(f"the database {address} failed: {str(error) or type(error).__name__}")


async def connect(address: Address) -> Any:
    """A connection whose commits survive a power cut. The caller keeps the deadline."""
    try:
        connection = await asyncpg.connect(address.url, server_settings={"application_name": "affiant"})
    except ValueError:  # its text may repeat a part of the URL; asyncpg.ClientConfigurationError is one
        raise ConfigError(f"the URL of the database {address} has a parameter that cannot be used") from None
    except _LOST as error:
        raise translated(address, error) from error
    try:
        await connection.execute(_SET)
        _check(address, dict(await connection.fetch(_SHOW, ["synchronous_commit", "fsync", *_HELD])))
    except _LOST as error:
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


class Lines:
    """A few connections, each made when it is needed, and made anew after it broke."""

    def __init__(self, address: Address, size: int) -> None:
        self._address = address
        self._turns = asyncio.Semaphore(size)
        self._free: list[Any] = []
        self._is_open = False

    def open(self) -> None:
        """Allow calls."""
        self._is_open = True

    @contextlib.asynccontextmanager
    async def take(self, seconds: float = CALL_SECONDS) -> AsyncIterator[Any]:
        """One of them, for so many seconds, waiting and connecting included."""
        try:
            async with asyncio.timeout(seconds), self._turns, self._line() as connection:
                yield connection
        except _LOST as error:
            raise translated(self._address, error) from error

    @contextlib.asynccontextmanager
    async def change(self) -> AsyncIterator[Any]:
        """A transaction on one of them; an Error undoes it."""
        # Not asyncpg's own transaction: that waits for its ROLLBACK when the deadline has passed already.
        async with self.take() as connection:
            await connection.execute("BEGIN")
            try:
                yield connection
            except Error:
                await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

    def hang_up(self) -> None:
        """Forget the connections that nobody uses: when one has died unnoticed, so have they."""
        while self._free:
            self._free.pop().terminate()

    async def close(self) -> None:
        """Hang up, once all have been given back."""
        self._is_open = False
        free, self._free = self._free, []
        for connection in free:
            with contextlib.suppress(*_LOST):
                await connection.close(timeout=CALL_SECONDS)

    @contextlib.asynccontextmanager
    async def _line(self) -> AsyncIterator[Any]:
        if not self._is_open:
            raise StoreError("the database is not open")
        connection = None
        while self._free and (connection is None or connection.is_closed()):
            connection = self._free.pop()
        if connection is None or connection.is_closed():
            connection = await connect(self._address)
        try:
            yield connection
        except Error:  # refused by us, in good order
            self._free.append(connection)
            raise
        except BaseException:
            # A transaction may be open, an answer under way: only a new connection is in a state that is known.
            connection.terminate()
            self.hang_up()
            raise
        self._free.append(connection)


def is_text(name: str) -> bool:
    """Whether PostgreSQL can hold it: what it cannot is nobody's name, and no reason to fail."""
    return "\0" not in name and not any("\ud800" <= character <= "\udfff" for character in name)
