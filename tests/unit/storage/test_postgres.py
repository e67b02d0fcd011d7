"""PostgreSQL's own troubles: passwords, schemas, locks, clocks, and a network that fails."""

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from typing import Any

import asyncpg
import pytest
from msgspec import structs
from tests.postgres import PASSWORD
from tests.proxy import Mode, proxied
from tests.stores import entry, opened, records, run

from affiant.errors import ConfigError, StoreError
from affiant.storage.entries import PROBE, JtiClaim, Outcome
from affiant.storage.ports import Store
from affiant.storage.postgres import PostgresStore, ledger
from affiant.storage.postgres.connection import connect, parse_address
from affiant.storage.records import Client
from affiant.storage.sql import is_text


def _opened(url: str, **options: Any) -> AbstractAsyncContextManager[PostgresStore]:
    return opened(PostgresStore(url, **options))


async def _traces(store: Store) -> list[str]:
    return [record["trace_id"] for record in await records(store)]


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://affiant:{PASSWORD}",
        f"postgresql://affiant:{PASSWORD}/x@db.example/affiant",
        f"postgresql://affiant:{PASSWORD}@x@db.example/affiant",
        f"postgresql://affiant:{PASSWORD}#x@db.example/affiant",
        f"mysql://affiant:{PASSWORD}@db.example/affiant",
        f"postgresql://affiant:{PASSWORD}@db.example:abc/affiant",
        f"postgresql://affiant:{PASSWORD}@db.example:99999/affiant",
        f"postgresql://affiant:{PASSWORD}@[::1/affiant",
    ],
)
async def test_a_url_that_cannot_be_read_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        PostgresStore(url)
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    "host", ["", "db.example", "[::1]:5432", "a:1,b:2", "a,[::1]:7", "%2Fvar%2Frun%2Fpostgresql", "db.example:"]
)
async def test_every_way_to_name_a_host_is_read(host: str) -> None:
    assert str(parse_address(f"postgresql://u@{host}/x")) == f"postgresql://{host}/x"


async def test_an_address_is_shown_without_user_password_and_parameters() -> None:
    address = parse_address(
        f"postgresql://affiant:{PASSWORD}@db.example:5433/affiant?password={PASSWORD}&sslmode=require"
    )
    assert str(address) == "postgresql://db.example:5433/affiant"
    assert "affiant:" not in repr(address)
    assert PASSWORD not in repr(address)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (PASSWORD, "wrong-canary-cafe"),
        ("affiant_test_", "nothing_"),
        ("127.0.0.1:", "127.0.0.1:1"),
        ("@127.0.0.1", "@nowhere.invalid"),
    ],
)
async def test_what_cannot_be_opened_is_the_operators_to_solve(database: str, old: str, new: str) -> None:
    url = database.replace(old, new) if not old.startswith("127") else f"{database.rsplit(':', 1)[0]}:1/affiant"
    with pytest.raises(ConfigError, match="cannot be opened: it") as refused:
        await PostgresStore(url).open()
    assert str(refused.value).count("the database") == 1
    error: BaseException | None = refused.value
    while error is not None:
        assert PASSWORD not in str(error)
        error = error.__cause__


async def test_a_parameter_that_cannot_be_used_is_not_repeated(database: str) -> None:
    with pytest.raises(ConfigError) as refused:
        await PostgresStore(f"{database}?sslmode={PASSWORD}").open()
    assert PASSWORD not in str(refused.value)


async def test_a_newer_schema_is_left_alone(database: str) -> None:
    async with _opened(database):
        await run(database, "INSERT INTO migration (number, name) VALUES (999, 'from tomorrow')")
        await run(database, "UPDATE setting SET value = '999' WHERE name = 'oldest_schema'")
    with pytest.raises(ConfigError, match="newer"):
        await PostgresStore(database).open()


async def test_commits_are_durable_whatever_the_database_says(database: str) -> None:
    name = database.rsplit("/", 1)[1]
    for setting in ("synchronous_commit = off", "default_transaction_isolation = 'repeatable read'"):
        await run(database, f"ALTER DATABASE {name} SET {setting}")
    async with _opened(database) as store, store._commits.take() as line:
        assert await line.fetchval("SHOW synchronous_commit") == "on"
        assert await line.fetchval("SHOW transaction_isolation") == "read committed"


async def test_one_bad_entry_does_not_sink_the_others(tables: str) -> None:
    async with _opened(tables) as store:
        bad = structs.replace(entry(3), audit=structs.replace(entry(3).audit, trace_id="nul\0"))
        entries = [bad if number == 3 else entry(number) for number in range(8)]
        for _ in range(2):  # asked first, and guessed
            outcomes = await asyncio.gather(*map(store.ledger.claim, entries), return_exceptions=True)
            assert [outcome for number, outcome in enumerate(outcomes) if number != 3] == [Outcome.FIRST] * 7
            assert isinstance(outcomes[3], StoreError)
            entries = [
                structs.replace(e, claim=structs.replace(e.claim, client_id=f"d{e.claim.client_id}"))
                for e in entries
                if e.claim
            ]
        assert len(await _traces(store)) == 14


async def test_a_wrong_guess_asks(tables: str) -> None:
    """A node alone needs one round trip; another that comes between, a replay, or two of one jti take four."""
    async with _opened(tables) as one, _opened(tables) as other:
        expected: list[str] = []
        for number in range(0, 60, 6):
            for store in (one, one, one, other):
                group_of = [number, number + 1, number + 1] if store is other else [number + 2 + len(expected) * 100]
                outcomes = await asyncio.gather(*(store.ledger.claim(entry(n)) for n in group_of))
                assert [o.name for o in outcomes] == ["FIRST", "FIRST", "REPLAYED"][: len(group_of)]
                expected += list(map(str, group_of))
            assert await one.ledger.claim(entry(number)) is Outcome.REPLAYED
            expected.append(str(number))
        assert await _traces(one) == expected


async def test_while_another_holds_the_lock_nothing_is_claimed(tables: str) -> None:
    async with _opened(tables) as store:
        connection = await asyncpg.connect(tables)
        await connection.execute("BEGIN; SELECT FROM audit_head FOR UPDATE")
        begun = time.monotonic()
        outcomes = await asyncio.gather(*(store.ledger.claim(entry(n)) for n in range(4)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreError] * 4
        assert time.monotonic() - begun < 3
        assert await store.version() > 0
        await connection.execute("ROLLBACK")
        await connection.close()
        assert await store.ledger.claim(entry(0)) is Outcome.FIRST


async def test_a_stuck_commit_does_not_block_other_nodes(tables: str) -> None:
    async with _opened(tables) as store:
        stuck = await connect(parse_address(tables))
        await stuck.execute("BEGIN; SELECT FROM audit_head FOR UPDATE")
        begun = time.monotonic()
        await _heal(store)
        assert time.monotonic() - begun < 4
        stuck.terminate()


async def test_too_much_waiting_is_refused(tables: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_QUEUE", 10)
    async with _opened(tables) as store:
        outcomes = await asyncio.gather(*(store.ledger.claim(entry(n)) for n in range(30)), return_exceptions=True)
        assert outcomes[:10] == [Outcome.FIRST] * 10
        assert all("too many" in str(outcome) for outcome in outcomes[10:])


async def test_names_that_postgres_cannot_store_are_not_found(tables: str) -> None:
    async with _opened(tables) as store:
        for name in ("nul\0", "half \ud800 of a pair"):
            assert await store.clients.find(name) is None
            assert await store.apis.find(name) is None
            assert await store.audit_log.find(name) is None
            assert not is_text(name)


async def test_a_claim_that_comes_back_while_it_is_deleted(tables: str) -> None:
    """A client whose requests all have one jti: commits and deletions do not wait for each other."""
    async with _opened(tables) as store, _opened(tables) as other:
        constant = structs.replace(entry(1), tolerate_repeat=True)
        assert await store.ledger.claim(constant) is Outcome.FIRST
        again = structs.replace(constant, claim=JtiClaim("c", (1).to_bytes(32, "big"), 5))
        holding = await asyncpg.connect(tables)
        try:
            await holding.execute("BEGIN; SELECT FROM audit_head FOR UPDATE")
            claiming = asyncio.ensure_future(other.ledger.claim(again))
            await _waiting_for_locks(tables, 1)
            purging = [asyncio.create_task(one.ledger.purge(2)) for one in (store, other)]
            await _waiting_for_locks(tables, 2)
            await holding.execute("COMMIT")
            assert await claiming is Outcome.REPEATED
            assert sorted(await asyncio.gather(*purging)) == [0, 1]
        finally:
            await holding.close()


async def _waiting_for_locks(database: str, number: int) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = $1"
    async with asyncio.timeout(1):
        while await run(database, query, database.rpartition("/")[2]) < number:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)


async def test_one_node_purges_until_it_ends(tables: str) -> None:
    async with _opened(tables) as other:
        async with _opened(tables) as runner:
            assert [other._watch.is_runner, runner._watch.is_runner] == [True, False]
        for number in range(250):
            await other.ledger.claim(entry(number))
        async with _opened(tables) as next_one:
            assert await next_one.ledger.purge(2) == 0
            assert [await other.ledger.purge(2) for _ in range(4)] == [100, 100, 50, 0]
            await other._watch.close()
            await _until(lambda: next_one._watch.is_runner)


async def test_a_read_only_database_is_noticed_by_other_nodes(database: str) -> None:
    async with _opened(database), _opened(database) as other:
        name = database.rsplit("/", 1)[1]
        await run(database, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        other._pool.hang_up()
        with pytest.raises(StoreError, match="no writes"):
            await other.ledger.purge(2)


@pytest.mark.parametrize("ahead", [3600, -3600])
async def test_a_node_whose_clock_is_wrong_decides_nothing(tables: str, ahead: float) -> None:
    async with _opened(tables, clock=lambda: time.time() + ahead) as wrong, _opened(tables) as right:
        with pytest.raises(StoreError, match="clock"):
            await wrong.ledger.claim(entry(1))
        with pytest.raises(StoreError, match="clock"):
            await wrong.ledger.purge(2)
        assert wrong._watch.clock_offset == pytest.approx(ahead, abs=2)
        assert await right.ledger.claim(entry(1)) is Outcome.FIRST
        assert abs(right._watch.clock_offset) < 2


async def _until(is_so: Any, seconds: float = 5.0) -> float:
    begun = time.monotonic()
    while not is_so():
        assert time.monotonic() - begun < seconds
        await asyncio.sleep(0.02)
    return time.monotonic() - begun


async def test_a_change_is_seen_though_announcements_are_lost(tables: str) -> None:
    async with _opened(tables) as one, _opened(tables) as other:
        await one._watch._connection.execute("UNLISTEN *")
        before = await one.version()
        await other.clients.add(Client("c", "private_key_jwt"))
        begun = time.monotonic()
        while await one.version() == before:
            assert time.monotonic() - begun < 1
            await asyncio.sleep(0.02)


async def test_a_lost_answer_is_no_success_and_not_retried(tables: str) -> None:
    async with proxied(tables) as proxy, _opened(proxy.url) as store:
        for number in range(3):
            await store.ledger.claim(entry(number))
        proxy.mode = Mode.SWALLOW_ANSWERS
        begun = time.monotonic()
        with pytest.raises(StoreError):
            await store.ledger.claim(entry(7, trace_id="lost"))
        assert time.monotonic() - begun < 3
        proxy.mode = Mode.PASS
        assert await store.ledger.claim(entry(7, trace_id="again")) is Outcome.REPLAYED
        assert await _traces(store) == ["0", "1", "2", "lost", "again"]


@pytest.mark.parametrize("seconds", [0, pytest.param(30, marks=pytest.mark.soak)])
async def test_a_network_that_swallows_everything(tables: str, seconds: int) -> None:
    """Every call ends in time with a StoreError, the other node goes on, and all is well soon after."""
    async with proxied(tables) as proxy, _opened(proxy.url) as store, _opened(tables) as other:
        await asyncio.gather(*(store.ledger.claim(entry(n)) for n in range(50)))
        proxy.mode = Mode.SWALLOW
        begun = time.monotonic()
        calls = [store.ledger.claim(entry(n)) for n in range(100, 150)]
        failed = await asyncio.gather(*calls, store.clients.find("c"), return_exceptions=True)
        assert [type(outcome) for outcome in failed] == [StoreError] * 51
        assert time.monotonic() - begun < 3
        assert await other.ledger.claim(entry(1000)) is Outcome.FIRST
        begun = time.monotonic()
        with pytest.raises(StoreError):
            await store.version()
        assert time.monotonic() - begun < 3
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with pytest.raises(StoreError):
                await store.ledger.claim(entry(2000))
        proxy.mode = Mode.PASS
        proxy.cut()
        begun = time.monotonic()
        await _heal(store)
        assert time.monotonic() - begun < 5
        assert await store.version() > 0
        await _traces(store)


async def test_cut_connections_are_replaced(tables: str) -> None:
    async with proxied(tables) as proxy, _opened(proxy.url) as store:
        await store.ledger.claim(entry(0))
        for number in range(1, 5):
            proxy.cut()
            await _heal(store)
            assert await store.ledger.claim(entry(number)) is Outcome.FIRST
            assert await store.clients.find("c") is None


async def _heal(store: PostgresStore) -> None:
    for number in range(10_000, 10_500):
        try:
            await store.ledger.claim(entry(number))
            await store.clients.list()
        except StoreError:
            await asyncio.sleep(0.02)
        else:
            return
    pytest.fail("it does not heal")


async def test_purge_fails_until_the_store_takes_large_commits_again(database: str) -> None:
    """That a small one fits is no sign: on a full disk each would say something else, and so would /health."""
    full = (
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END$$;"
        " CREATE TRIGGER full_disk BEFORE INSERT ON audit EXECUTE FUNCTION full_disk();"
        " CREATE TRIGGER full_disk BEFORE INSERT ON setting EXECUTE FUNCTION full_disk()"
    )
    async with _opened(database) as store:
        await store.ledger.purge(0)
        await store.ledger.claim(entry(0))
        connection = await asyncpg.connect(database)
        await connection.execute(full)
        await store.ledger.purge(0)  # nothing has failed yet
        with pytest.raises(StoreError, match="No space"):
            await store.ledger.claim(entry(1))
        await connection.execute("DROP TRIGGER full_disk ON audit")
        for number in range(2, 4):
            await store.ledger.claim(entry(number))
            with pytest.raises(StoreError, match="No space"):
                await store.ledger.purge(0)
        await connection.execute("DROP TRIGGER full_disk ON setting")
        for _ in range(2):
            await store.ledger.purge(0)
        assert await store.settings.get(PROBE) is None
        await connection.close()
