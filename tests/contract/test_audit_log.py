"""The promises of the audit log, on every store."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as replaced
from tests.stores import REFRESH, opened, run

from affiant.errors import StoreError
from affiant.storage.entries import GENESIS, NO_BASE, AuditBase, AuditHead, AuditRecord, AuditRow, Entry, Sought, chain
from affiant.storage.history.audit_chain import Broken, Verification, walk
from affiant.storage.history.base import build_base
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


def _bases(rows: list[AuditRow]) -> list[AuditBase]:
    return [build_base(row.number, row.link, at=row.number, key=b"") for row in rows]


async def test_a_log_begins_after_its_base(store: Store) -> None:
    await _fill(store, 5)
    log, before = store.audit_log, await store.audit_log.export()
    assert await log.base() == NO_BASE
    two = _bases(before)[1]
    assert await log.drop(two) == 2
    assert await log.base() == two
    assert await log.export() == await log.export(after=1) == await log.export(after=2) == before[2:]
    assert await log.export(after=3) == before[3:]
    assert await log.newest() == before[:1:-1]
    assert await log.newest(before=4) == [before[2]]
    assert await log.newest(before=3) == await log.newest(before=1) == []
    assert await log.find("t2") is None
    assert (await log.find("t3") or {})["trace_id"] == "t3"
    assert (await log.search([b"t4"])).rows == [before[3]]
    assert await log.search([b"t1"]) == Sought([], None)


async def test_the_chain_goes_on_over_a_base(store: Store) -> None:
    await _fill(store, 4)
    for base in _bases(await store.audit_log.export())[:3]:
        assert await store.audit_log.drop(base) == 1
    await _fill(store, 2)
    head = await store.audit_log.head()
    assert (head.number, head.given) == (6, 6)
    verification = Verification(b"", base=await store.audit_log.base())
    async for row in walk(store.audit_log):
        verification.feed(row)
    assert verification.finish(head.given) == head


async def test_only_records_of_the_log_go_and_never_the_newest(store: Store) -> None:
    await _fill(store, 3)
    one, two, three = _bases(await store.audit_log.export())
    await store.audit_log.drop(two)
    for wrong in (one, two, three, two._replace(number=3), three._replace(number=9), three._replace(link=one.link)):
        with pytest.raises(StoreError, match="cannot begin"):
            await store.audit_log.drop(wrong)
    assert await store.audit_log.base() == two
    assert [row.number for row in await store.audit_log.export()] == [3]


async def test_refresh_tokens_are_ended_after_their_beginning_was_archived(store: Store) -> None:
    await store.ledger.claim(replaced(_entry(1), new_refresh=REFRESH))
    await _fill(store, 3)
    await store.audit_log.drop(_bases(await store.audit_log.export())[2])
    late = replace(REFRESH, digest=b"r2", family="g")
    await store.ledger.claim(replaced(_entry(5), new_refresh=late))
    await store.ledger.claim(replaced(_entry(6), revoke_family="f"))
    ended, living = await store.refresh_tokens.find(b"r1"), await store.refresh_tokens.find(b"r2")
    assert ended is not None
    assert ended.revoked_at == 6
    assert living is not None
    assert (living.revoked_at, living.began) == (None, 5)


async def test_a_forged_number_is_seen(tmp_path: Path) -> None:
    async with opened(SqliteStore(tmp_path / "negative.db")) as store:
        await run(str(tmp_path / "negative.db"), "INSERT INTO audit VALUES (-9223372036854775808, 't', x'7b7d', x'00')")
        (row,) = [row async for row in walk(store.audit_log)]
    assert row.number == -(2**63)
    verification = Verification(b"")
    verification.feed(row)
    with pytest.raises(Broken, match="inserted"):
        verification.finish()
