"""The promise about the server's own keys, on every store: one at a time, and one of many."""

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import msgspec
import pytest
from tests.stores import NOW, at, nodes, opened, race, run, start

from affiant.errors import ConfigError
from affiant.server.keys import calendar, signing_keys
from affiant.server.keys.calendar import DAY, Calendar
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import Vault
from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Store
from affiant.storage.records import Api, SigningKey

VAULT = Vault(MasterKey.from_bytes(bytes(32)))
FULL = SigningKey("k", "ES256", "{}", b"\x00sealed\xff", NOW, NOW + 1, NOW + 2, NOW + 3, "ES256", "vault:t/k:1")


def _add_where_none(key: SigningKey, stored: Sequence[SigningKey]) -> list[SigningKey]:
    return [] if stored else [key]


async def _outcomes(store: Store) -> list[str]:
    rows = await store.audit_log.export()
    return [msgspec.json.decode(row.record)["outcome"] for row in rows]


async def test_keys_come_back_whole_and_the_newest_first(store: Store) -> None:
    bare = SigningKey("bare", "RS256", "{}", b"s", NOW)
    await store.signing_keys.change(lambda _: [FULL])
    await store.signing_keys.change(lambda _: [bare])
    assert await store.signing_keys.list() == [bare, FULL]
    changed = replace(FULL, sealed=b"", removed_at=NOW)
    await store.signing_keys.change(lambda _: [changed])
    assert await store.signing_keys.list() == [bare, changed], "a change is no new key"


async def test_each_change_sees_the_one_before(store: Store) -> None:
    """40 that each count one up from what they find: none is lost."""
    await store.signing_keys.change(lambda _: [FULL])

    def count(stored: Sequence[SigningKey]) -> list[SigningKey]:
        return [replace(stored[0], active_at=stored[0].active_at + 1)]

    await asyncio.gather(*(store.signing_keys.change(count) for _ in range(40)))
    assert (await store.signing_keys.list())[0].active_at == FULL.active_at + 40


async def test_one_of_many_first_keys_is_stored(store: Store) -> None:
    keys = [SigningKey(f"k{n}", "ES256", "{}", b"sealed", n) for n in range(20)]
    await asyncio.gather(*(store.signing_keys.change(partial(_add_where_none, key)) for key in keys))
    assert len(await store.signing_keys.list()) == 1


async def test_an_empty_change_keeps_the_version(store: Store) -> None:
    await store.signing_keys.change(lambda _: [FULL])
    before = await store.version()

    def refuse(_: Sequence[SigningKey]) -> list[SigningKey]:
        raise ConfigError("no")

    await store.signing_keys.change(lambda _: [])
    with pytest.raises(ConfigError):
        await store.signing_keys.change(refuse)
    assert (await store.version(), await store.signing_keys.list()) == (before, [FULL])
    await store.signing_keys.change(lambda _: [replace(FULL, retiring_at=None)])
    assert await store.version() != before


# Each node that tries makes a key, and RSA takes its time.
@pytest.mark.parametrize(
    ("alg", "many", "periods"),
    [("ES256", 4, 3), ("RS256", 2, 1), pytest.param("RS256", 2, 3, marks=pytest.mark.soak)],
)
async def test_one_of_many_nodes_makes_the_due_key(
    make_store: Callable[..., Store], alg: str, many: int, periods: int
) -> None:
    """Each period: exactly one key more, and one record of it."""
    async with nodes(make_store, many) as all_nodes:
        await asyncio.gather(*(signing_keys.ensure(node, VAULT, now=NOW, alg=alg) for node in all_nodes))
        for number in range(1, periods + 1):
            now = NOW + 90 * DAY * number - 7 * DAY
            keep = partial(signing_keys.keep, vault=VAULT, now=now, calendar=Calendar())
            await asyncio.gather(*(keep(node) for node in all_nodes))
            keys = await all_nodes[0].signing_keys.list()
            assert len(keys) == number + 1
            assert (keys[0].alg, keys[0].active_at, keys[1].retiring_at) == (alg, now + 7 * DAY, now + 7 * DAY)
        outcomes = await _outcomes(all_nodes[0])
        assert (outcomes.count("announced"), outcomes.count("removed")) == (periods, periods - 1)


async def test_one_of_many_rotations_succeeds(make_store: Callable[..., Store]) -> None:
    async with nodes(make_store, 4) as all_nodes:
        await signing_keys.ensure(all_nodes[0], VAULT, now=NOW)
        rotate = partial(signing_keys.rotate, vault=VAULT, now=NOW, delay=2, by="a test")
        done = await asyncio.gather(*(rotate(node) for node in all_nodes * 3), return_exceptions=True)
        made = [key for key in done if isinstance(key, SigningKey)]
        assert [type(other) for other in done if other not in made] == [ConfigError] * 11
        assert (await all_nodes[0].signing_keys.list())[0] == made[0]


async def test_audit_entries_are_in_the_commit_of_the_change(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """No second commit follows, which a crash could prevent."""

    async def refuse(*_: object) -> None:
        raise AssertionError("a second commit")

    monkeypatch.setattr(type(store.ledger), "claim", refuse)
    await signing_keys.ensure(store, VAULT, now=NOW)
    (first,) = await store.signing_keys.list()
    await signing_keys.rotate(store, VAULT, now=NOW, delay=2, by="a test")
    await signing_keys.remove(store, VAULT, first.kid, now=NOW, by="a test", trace_id="of the request")
    assert sorted(await _outcomes(store)) == ["advanced", "announced", "removed"]
    records = [msgspec.json.decode(row.record) for row in await store.audit_log.export()]
    asked = [record for record in records if record["trace_id"] == "of the request"]
    assert sorted(record["outcome"] for record in asked) == ["advanced", "removed"]
    removed = next(record for record in asked if record["outcome"] == "removed")
    before, after = json.loads(removed["before"]), json.loads(removed["after"])
    assert before["removed_at"] > after["removed_at"] == NOW, "it was retiring already"
    assert {(record["by"], record["subject"] == record["kid"]) for record in records} == {("a test", True)}


async def test_each_algorithm_has_its_own_calendar(make_store: Callable[..., Store]) -> None:
    """Four nodes, three lines: in each exactly one key more, of its own algorithm."""
    async with nodes(make_store, 4) as all_nodes:
        for alg in ("ES384", "Ed25519"):
            await all_nodes[0].apis.add(
                Api(f"https://{alg}", alg, (), is_default=False, created_at=NOW, signing_alg=alg)
            )
        keep = partial(signing_keys.keep, vault=VAULT, calendar=Calendar())
        for now in (NOW, NOW + 83 * DAY):
            await asyncio.gather(*(keep(node, now=now) for node in all_nodes))
        found = await all_nodes[0].signing_keys.list()
        assert sorted((key.line, key.alg) for key in found) == sorted(
            [("", "ES256"), ("ES384", "ES384"), ("Ed25519", "Ed25519")] * 2
        )


async def test_threads_share_the_store_in_memory() -> None:
    store, start = MemoryStore(), threading.Barrier(8)

    def contend(n: int) -> None:
        start.wait()
        key = SigningKey(f"k{n}", "ES256", "{}", b"s", n)
        asyncio.run(store.signing_keys.change(partial(_add_where_none, key)))

    threads = [threading.Thread(target=contend, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert len(await store.signing_keys.list()) == 1


_KEEP = """
import asyncio, sys
from pathlib import Path
from affiant.server.keys import signing_keys
from affiant.server.keys.calendar import Calendar
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import Vault
from affiant.storage.postgres import PostgresStore
from affiant.storage.sqlite import SqliteStore

async def main():
    where, times = sys.argv[1], [int(text) for text in sys.argv[2:]]
    store = PostgresStore(where) if "://" in where else SqliteStore(Path(where))
    await store.open()
    print("ready", flush=True)
    sys.stdin.readline()
    for now in times:
        await signing_keys.keep(store, Vault(MasterKey.from_bytes(bytes(32))), now=now, calendar=Calendar())
    await store.close()
asyncio.run(main())
"""


async def test_one_of_three_processes_makes_each_key(place: str) -> None:
    times = [str(NOW + 90 * DAY * number) for number in range(10)]
    race({name: start(_KEEP, place, *times) for name in "abc"})
    async with opened(at(place)) as store:
        keys, outcomes = await store.signing_keys.list(), await _outcomes(store)
    assert len({key.active_at for key in keys}) == len(keys) == 10
    assert outcomes.count("announced") == 9, "one for each key that followed another"


async def test_a_key_of_an_older_version_goes_on(place: str) -> None:
    """What it wrote knew one state and no instants: that key signs, and is followed when its 90 days are over."""
    old = {"kid": "old", "alg": "ES256", "public_jwk": "{}", "sealed": "c2VhbGVk", "state": "active", "created_at": NOW}
    async with opened(at(place)) as store:
        await run(place, "INSERT INTO signing_key (kid, record) VALUES ('old', $1)", json.dumps(old).encode())
        await signing_keys.ensure(store, VAULT, now=NOW + 10)
        await signing_keys.keep(store, VAULT, now=NOW + 82 * DAY, calendar=Calendar())
        assert [key.kid for key in await store.signing_keys.list()] == ["old"]
        await signing_keys.keep(store, VAULT, now=NOW + 83 * DAY, calendar=Calendar())
        new, stored = await store.signing_keys.list()
    assert (stored.kid, stored.sealed, stored.retiring_at) == ("old", b"sealed", NOW + 90 * DAY)
    assert calendar.find_signer([new, stored], NOW + 90 * DAY - 1) == stored
    assert calendar.find_signer([new, stored], NOW + 90 * DAY) == new
