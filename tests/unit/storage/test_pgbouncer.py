"""Through a PgBouncer with its defaults: a session is as safe as a direct one, and anything less is refused."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from tests import pgbouncer
from tests.stores import run

from affiant.errors import ConfigError
from affiant.storage.entries import AuditRecord, Entry, JtiClaim, Outcome
from affiant.storage.postgres import PostgresStore, connection
from affiant.storage.postgres.connection import parse_address
from affiant.storage.records import Client

pytestmark = [
    pytest.mark.skipif(pgbouncer.PROGRAM is None, reason=pgbouncer.MISSING),
]
HELD = {
    "lock_timeout": "1500ms",
    "statement_timeout": "2s",
    "idle_in_transaction_session_timeout": "2s",
    "default_transaction_isolation": "read committed",
    "synchronous_commit": "on",
}


@pytest.fixture
def pooled(database: str) -> Iterator[Callable[[str], str]]:
    """The database of the test through a pooler in this mode."""
    with ExitStack() as stack:
        yield lambda mode: stack.enter_context(pgbouncer.before(database, mode=mode))


def _claim(trace_id: str) -> Entry:
    audit = AuditRecord(at=0.0, trace_id=trace_id, endpoint="token", outcome="issued")
    return Entry(audit, claim=JtiClaim("c", bytes(32), 1))


async def test_a_session_keeps_its_settings(database: str, pooled: Callable[[str], str]) -> None:
    name = database.rsplit("/", 1)[1]
    for setting in ("synchronous_commit = off", "default_transaction_isolation = 'repeatable read'"):
        await run(database, f"ALTER DATABASE {name} SET {setting}")
    address = parse_address(pooled("session"))
    for _ in range(2):  # the second time, it is a connection to PostgreSQL that was used and reset
        line = await connection.connect(address)
        assert {setting: await line.fetchval(f"SHOW {setting}") for setting in HELD} == HELD
        await line.close()


async def test_two_nodes_work_in_session_mode(pooled: Callable[[str], str]) -> None:
    url = pooled("session")
    first, second = PostgresStore(url), PostgresStore(url)
    await first.open()
    await second.open()
    try:
        assert await first.ledger.claim(_claim("one")) is Outcome.FIRST
        assert await second.ledger.claim(_claim("two")) is Outcome.REPLAYED
        before = await second.version()
        await first.clients.add(Client("billing", "private_key_jwt", "ES256"))
        assert await second.clients.find("billing") is not None
        for _ in range(2000):  # until the announcement, or its own question, came through
            if await second.version() != before:
                break
            await asyncio.sleep(0.01)
        assert await second.version() != before
    finally:
        await first.close()
        await second.close()


@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_less_than_a_session_is_refused(mode: str, pooled: Callable[[str], str]) -> None:
    with pytest.raises(ConfigError, match="pool_mode=session") as refused:
        await PostgresStore(pooled(mode)).open()
    assert "\n" not in str(refused.value)
