"""What ends refresh tokens, as rows: few, quick to write, and gone when nothing is left that they ended."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import pytest
from tests import stores
from tests.contract.test_refresh_ended import AUDIT, END
from tests.contract.test_refresh_ended import TOKEN as NEW
from tests.stores import NOW

from affiant.storage.entries import KEPT_SECONDS, Entry, Outcome, RefreshSelection, Revocation, Rotation, as_ended
from affiant.storage.entries import RefreshEnd as End
from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Store
from affiant.storage.sqlite import SqliteStore

Run = Callable[[str], Awaitable[Any]]

TOKEN = replace(NEW, resource="https://a https://b", began=7)
MANY = 100_000  # far more than one commit can rewrite in its time


@pytest.mark.parametrize(
    ("end", "revoked_at"),
    [
        (End(RefreshSelection(), 7, NOW), NOW),
        (End(RefreshSelection(), 6, NOW + 9), None),
        (End(RefreshSelection(family="f"), 8, NOW), NOW),
        (End(RefreshSelection(family="g"), 8, NOW), None),
        (End(RefreshSelection(client_id="c", key_thumbprint="k"), 8, NOW), NOW),
        (End(RefreshSelection(client_id="c", key_thumbprint="x"), 8, NOW), None),
        (End(RefreshSelection(resource="https://b"), 8, NOW), NOW),
    ],
)
def test_an_end_and_a_token(end: End, revoked_at: int | None) -> None:
    assert as_ended(TOKEN, [end]).revoked_at == revoked_at
    assert as_ended(replace(TOKEN, revoked_at=1), [end]).revoked_at == 1
    assert as_ended(replace(TOKEN, began=0), [end]).revoked_at == (end.at if end.selection.fits(TOKEN) else None)


@pytest.fixture
async def opened(place: str) -> AsyncIterator[tuple[Store, Run]]:
    """A store that is open, and a function that runs a statement on it and returns its first value."""
    async with stores.opened(stores.at(place)) as store:
        yield store, partial(stores.run, place)


async def _fill(store: Store, run: Run) -> None:
    record = msgspec.json.encode(TOKEN).decode()
    if isinstance(store, SqliteStore):
        digest, numbers = "CAST(printf('%08d', i) AS BLOB)", "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1"
        values = f"SELECT {digest}, 'f', 'c', CAST('{record}' AS BLOB), {END} FROM n"
        await run(f"{numbers} FROM n WHERE i < {MANY}) INSERT INTO refresh_token {values}")
    else:
        await run(
            f"INSERT INTO refresh_token SELECT convert_to(lpad(i::text, 8, '0'), 'UTF8'), 'f', 'c',"
            f" convert_to('{record}', 'UTF8'), {END} FROM generate_series(1, {MANY}) AS i"
        )


@pytest.mark.parametrize(
    "wanted",
    [
        Entry(AUDIT, revocations=(Revocation("all", "", NOW, NOW + 60),), revoke_refresh=RefreshSelection()),
        Entry(AUDIT, revoke_refresh=RefreshSelection(resource="https://b")),
        Entry(AUDIT, revoke_refresh=RefreshSelection(client_id="c")),
        Entry(AUDIT, revoke_family="f"),
    ],
)
async def test_very_many_end_in_one_commit(opened: tuple[Store, Run], wanted: Entry) -> None:
    """In its time, with its audit record; as many as a client that hurries, or a service of some size, has in a month."""
    store, run = opened
    await store.ledger.claim(Entry(AUDIT, new_refresh=replace(TOKEN, digest=b"mine")))
    await _fill(store, run)
    begun = time.monotonic()
    assert await store.ledger.claim(wanted) is Outcome.FIRST
    assert time.monotonic() - begun < 1
    assert await store.ledger.claim(Entry(AUDIT, rotation=Rotation(b"mine", b"x", NOW, 9))) is Outcome.REFRESH_REVOKED
    assert await run("SELECT count(*) FROM refresh_end") == 1


async def test_a_thief_ends_a_family_however_long_it_is(opened: tuple[Store, Run]) -> None:
    store, run = opened
    await store.ledger.claim(Entry(AUDIT, new_refresh=replace(TOKEN, digest=b"mine")))
    await _fill(store, run)
    for successor, now, outcome in ((b"s", NOW, Outcome.FIRST), (b"x", NOW + 1, Outcome.REFRESH_REUSED)):
        rotation = Rotation(b"mine", successor, now, 1000)
        assert await store.ledger.claim(Entry(AUDIT, rotation=rotation)) is outcome
    assert await store.ledger.claim(Entry(AUDIT, rotation=Rotation(b"s", b"t", NOW, 9))) is Outcome.REFRESH_REVOKED


async def test_one_end_per_selection_until_its_last_token(opened: tuple[Store, Run]) -> None:
    store, run = opened
    count = "SELECT count(*) FROM refresh_end"
    ends = [Entry(AUDIT, revoke_refresh=RefreshSelection()), Entry(AUDIT, revoke_family="f")]
    for entry in ends:
        await store.ledger.claim(entry)  # there is nothing to end yet
    assert await run(count) == 0
    await store.ledger.claim(Entry(AUDIT, new_refresh=TOKEN))
    for entry in ends * 3:
        await store.ledger.claim(entry)
    later = replace(TOKEN, digest=b"later", family="g", expires_at=END + 1)
    await store.ledger.claim(Entry(AUDIT, new_refresh=later))
    await store.ledger.purge(END + KEPT_SECONDS)
    assert await run(count) == 2
    await store.ledger.purge(END + KEPT_SECONDS + 1)
    assert await run(count) == 0
    assert await run("SELECT count(*) FROM refresh_token") == 1


async def test_ends_in_memory_go_too() -> None:
    store = MemoryStore()
    await store.ledger.claim(Entry(AUDIT, new_refresh=TOKEN))
    await store.ledger.claim(Entry(AUDIT, revoke_refresh=RefreshSelection()))
    await store.ledger.claim(Entry(AUDIT, new_refresh=replace(TOKEN, digest=b"later", expires_at=END + 1)))
    for late, left in ((END, 1), (END + 1, 0)):
        await store.ledger.purge(late + KEPT_SECONDS)
        assert len(store._tables._ledger._ends) == left
