"""The promises of the ledger, raced on every store."""

import asyncio
from dataclasses import replace

import pytest
from msgspec import structs
from tests.stores import NOW, REFRESH, claim

from affiant.storage.entries import GENESIS, AuditRecord, Entry, JtiClaim, Outcome, Rotation, chain
from affiant.storage.ports import Store
from affiant.storage.records import AlreadyExists, Client, NotFound

TOKEN = replace(REFRESH, expires_at=NOW + 5000)


def _entry(number: int, *, client_id: str = "c", trace_id: str = "t") -> Entry:
    audit = AuditRecord(at=NOW, trace_id=trace_id, endpoint="token", outcome="issued")
    return Entry(audit, claim=claim(number, client_id=client_id))


async def test_first_wins(store: Store) -> None:
    """The second claim of a jti is a replay, and is written down as one."""
    assert await store.ledger.claim(_entry(1)) is Outcome.FIRST
    assert await store.ledger.claim(_entry(1, trace_id="second")) is Outcome.REPLAYED
    record = await store.audit_log.find("second")
    assert record is not None
    assert (record["outcome"], record["reason"]) == ("refused", "assertion.replayed")


async def test_a_claim_is_found_until_it_is_purged(store: Store) -> None:
    await store.ledger.claim(_entry(1))
    digest = (1).to_bytes(32, "big")
    assert await store.ledger.find_claim("c", digest) == NOW + 60
    assert await store.ledger.find_claim("d", digest) is None
    assert await store.ledger.find_claim("c", bytes(32)) is None
    await store.ledger.purge(NOW + 61)
    assert await store.ledger.find_claim("c", digest) is None


async def test_a_claim_deleted_too_early_stays_used(store: Store) -> None:
    """The clock ran ahead during a purge, and was set back: no assertion is accepted twice."""
    await store.ledger.claim(_entry(1))
    await store.ledger.purge(NOW + 3600)
    assert await store.ledger.claim(_entry(1)) is Outcome.REPLAYED
    assert await store.ledger.claim(_entry(2)) is Outcome.REPLAYED
    later = Entry(_entry(3).audit, claim=JtiClaim("c", bytes(32), NOW + 61))
    assert await store.ledger.claim(later) is Outcome.FIRST


async def test_namespaces(store: Store) -> None:
    """Two clients may use one jti."""
    assert await store.ledger.claim(_entry(1)) is Outcome.FIRST
    assert await store.ledger.claim(_entry(1, client_id="d")) is Outcome.FIRST


async def test_race_of_tasks(store: Store) -> None:
    """Of 20 tasks, one is first."""
    outcomes = await asyncio.gather(*(store.ledger.claim(_entry(7)) for _ in range(20)))
    assert sorted(o.name for o in outcomes) == ["FIRST"] + ["REPLAYED"] * 19


async def test_tolerated_repeat(store: Store) -> None:
    """The guide's repeated request is recorded, not refused."""
    entry = structs.replace(_entry(1), tolerate_repeat=True)
    assert [await store.ledger.claim(entry) for _ in range(2)] == [Outcome.FIRST, Outcome.REPEATED]


async def test_a_repeat_of_a_deleted_claim_is_not_tolerated(store: Store) -> None:
    """Nobody knows any more whether this one was first."""
    entry = structs.replace(_entry(1), tolerate_repeat=True)
    await store.ledger.claim(entry)
    await store.ledger.purge(NOW + 61)
    assert await store.ledger.claim(entry) is Outcome.REPLAYED
    both = [entry, structs.replace(_entry(2), tolerate_repeat=True), structs.replace(_entry(3), claim=None)]
    outcomes = await asyncio.gather(*map(store.ledger.claim, both))
    assert outcomes == [Outcome.REPLAYED, Outcome.REPLAYED, Outcome.FIRST]


async def test_purge_deletes_only_expired_claims(store: Store) -> None:
    """A claim that lives is never purged."""
    for number in range(5):
        await store.ledger.claim(_entry(number))
    assert await store.ledger.purge(NOW + 60) == 0
    assert await store.ledger.purge(NOW + 61, limit=3) == 3
    assert await store.ledger.purge(NOW + 61) == 2


def _rotation(spent: bytes, successor: bytes, now: int) -> Entry:
    return structs.replace(_entry(0), claim=None, rotation=Rotation(spent, successor, now, 1000))


async def test_rotation_race(store: Store) -> None:
    """Of 20 rotations of one token one is first; the others are the same successor again."""
    await store.ledger.claim(structs.replace(_entry(0), new_refresh=TOKEN))
    outcomes = await asyncio.gather(*(store.ledger.claim(_rotation(b"r1", b"r2", NOW + 1)) for _ in range(20)))
    assert sorted(o.name for o in outcomes) == ["FIRST"] + ["REPEATED"] * 19
    successor = await store.refresh_tokens.find(b"r2")
    assert successor is not None
    assert successor.spent_at is None


async def test_late_reuse_revokes_the_family(store: Store) -> None:
    """A spent token that comes back after the window kills all of its kin."""
    await store.ledger.claim(structs.replace(_entry(0), new_refresh=TOKEN))
    assert await store.ledger.claim(_rotation(b"r1", b"r2", NOW + 1)) is Outcome.FIRST
    assert await store.ledger.claim(_rotation(b"r1", b"r2", NOW + 121)) is Outcome.REPEATED
    assert await store.ledger.claim(_rotation(b"r1", b"r2", NOW + 122)) is Outcome.REFRESH_REUSED
    assert await store.ledger.claim(_rotation(b"r2", b"r3", NOW + 123)) is Outcome.REFRESH_REVOKED
    assert await store.ledger.claim(_rotation(b"xx", b"r3", NOW + 123)) is Outcome.REFRESH_UNKNOWN


@pytest.mark.rfc(9700, "4.14.2")
async def test_a_used_successor_closes_the_retry_window(store: Store) -> None:
    """Its holder has the answer: who comes with the token before it now is a thief, or is answered as one."""
    await store.ledger.claim(structs.replace(_entry(0), new_refresh=TOKEN))
    assert await store.ledger.claim(_rotation(b"r1", b"r2", NOW + 1)) is Outcome.FIRST
    assert await store.ledger.claim(_rotation(b"r1", b"r2", NOW + 2)) is Outcome.REPEATED
    assert await store.ledger.claim(_rotation(b"r2", b"r3", NOW + 3)) is Outcome.FIRST
    assert await store.ledger.claim(_rotation(b"r2", b"r3", NOW + 4)) is Outcome.REPEATED
    assert await store.ledger.claim(_rotation(b"r1", b"r2", NOW + 5)) is Outcome.REFRESH_REUSED
    assert await store.ledger.claim(_rotation(b"r3", b"r4", NOW + 6)) is Outcome.REFRESH_REVOKED


async def test_the_window_closes_within_one_commit(store: Store) -> None:
    """Stores that write many entries at once judge each by what those before it have done."""
    await store.ledger.claim(structs.replace(_entry(0), new_refresh=TOKEN))
    uses = ((b"r1", b"r2"), (b"r2", b"r3"), (b"r1", b"r2"), (b"r3", b"r4"))
    outcomes = await asyncio.gather(*(store.ledger.claim(_rotation(*use, NOW + 1)) for use in uses))
    assert outcomes == [Outcome.FIRST, Outcome.FIRST, Outcome.REFRESH_REUSED, Outcome.REFRESH_REVOKED]


async def test_lost_claim_changes_nothing(store: Store) -> None:
    """A replay does not store the refresh token that came with it."""
    await store.ledger.claim(_entry(1))
    assert await store.ledger.claim(structs.replace(_entry(1), new_refresh=TOKEN)) is Outcome.REPLAYED
    assert await store.refresh_tokens.find(b"r1") is None


async def test_audit_is_chained(store: Store) -> None:
    """Each record's link follows from the one before."""
    await asyncio.gather(*(store.ledger.claim(_entry(n)) for n in range(10)))
    link = GENESIS
    for number, row in enumerate(await store.audit_log.export(), 1):
        link = chain(link, row.record)
        assert (row.number, row.trace_id, row.link) == (number, "t", link)


async def test_clients(store: Store) -> None:
    """Names are unique; changes change the version; removal takes refresh tokens along."""
    client = Client("c", "private_key_jwt")
    await store.clients.add(client)
    with pytest.raises(AlreadyExists):
        await store.clients.add(client)
    before = await store.version()
    await store.clients.update("c", lambda client: replace(client, enabled=False))
    assert await store.version() != before
    found = await store.clients.find("c")
    assert found is not None
    assert not found.enabled
    await store.ledger.claim(structs.replace(_entry(0), new_refresh=TOKEN))
    await store.clients.remove("c")
    assert await store.refresh_tokens.find(b"r1") is None
    with pytest.raises(NotFound):
        await store.clients.remove("c")
