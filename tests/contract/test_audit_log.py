"""The promises of the audit log, on every store."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.stores import opened, run

from affiant.errors import StoreError
from affiant.storage.entries import GENESIS, AuditHead, AuditRecord, Entry, chain
from affiant.storage.history.audit_chain import Broken, Verification, walk
from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Store
from affiant.storage.sqlite import SqliteStore


def _entry(number: int) -> Entry:
    return Entry(AuditRecord(at=float(number), trace_id=f"t{number}", endpoint="token", outcome="issued"))


async def _fill(store: Store, count: int) -> None:
    for number in range(1, count + 1):
        await store.ledger.claim(_entry(number))


async def test_the_head_of_an_empty_log(store: Store) -> None:
    assert await store.audit_log.head() == AuditHead(0, GENESIS, 0)
    assert await store.audit_log.export() == []


async def test_the_head_is_the_newest_record(store: Store) -> None:
    await _fill(store, 3)
    *_, last = await store.audit_log.export()
    assert await store.audit_log.head() == AuditHead(3, last.link, 3)


async def test_pages_follow_each_other(store: Store) -> None:
    await _fill(store, 7)
    pages = [await store.audit_log.export(after=after, limit=3) for after in (None, 3, 6, 7)]
    assert [[row.number for row in page] for page in pages] == [[1, 2, 3], [4, 5, 6], [7], []]
    assert await store.audit_log.export(after=-5, limit=2) == pages[0][:2]


async def test_a_walk_sees_every_record_once(store: Store) -> None:
    await asyncio.gather(*(store.ledger.claim(_entry(number)) for number in range(2345)))
    assert [row.number async for row in walk(store.audit_log)] == list(range(1, 2346))
    assert [row.number async for row in walk(store.audit_log, after=2343)] == [2344, 2345]


async def test_the_chain_is_under_the_key_of_the_store(make_store: Callable[..., Store]) -> None:
    key = b"k" * 32
    async with opened(make_store(audit_key=key)) as store:
        await _fill(store, 2)
        link = GENESIS
        for row in await store.audit_log.export():
            link = chain(link, row.record, key)
            assert row.link == link


async def test_numbers_have_no_gap_after_failures(store: Store) -> None:
    """A commit that did not happen has taken no number: so a number that is missing was deleted."""
    bad = Entry(AuditRecord(at=0.0, trace_id=b"x", endpoint="token", outcome="issued"))  # type: ignore[arg-type]
    entries = [
        bad if number % 3 == 0 and not isinstance(store, MemoryStore) else _entry(number) for number in range(12)
    ]
    outcomes = await asyncio.gather(*map(store.ledger.claim, entries), return_exceptions=True)
    written = sum(not isinstance(outcome, StoreError) for outcome in outcomes)
    assert [row.number for row in await store.audit_log.export()] == list(range(1, written + 1))
    assert (await store.audit_log.head()).given == written


async def test_a_forged_number_is_seen(tmp_path: Path) -> None:
    async with opened(SqliteStore(tmp_path / "negative.db")) as store:
        await run(str(tmp_path / "negative.db"), "INSERT INTO audit VALUES (-9223372036854775808, 't', x'7b7d', x'00')")
        (row,) = [row async for row in walk(store.audit_log)]
    assert row.number == -(2**63)
    verification = Verification(b"")
    verification.feed(row)
    with pytest.raises(Broken, match="inserted"):
        verification.finish()
