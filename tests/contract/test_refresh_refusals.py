"""What a refused refresh token leaves behind, on every store."""

from dataclasses import replace

import pytest
from tests.stores import NOW, REFRESH, claim

from affiant.storage.entries import AuditRecord, Entry, Outcome, Rotation
from affiant.storage.ports import Store

AUDIT = AuditRecord(at=NOW, trace_id="stored", endpoint="token", outcome="issued")


def _rotation(now: int, *, spent: bytes = b"r1", successor: bytes = b"r2", jti: int | None = None) -> Entry:
    audit = AuditRecord(at=now, trace_id=f"at {now}", endpoint="token", outcome="issued")
    return Entry(
        audit, claim=None if jti is None else claim(jti, now + 60), rotation=Rotation(spent, successor, now, 1000)
    )


async def test_the_successor_inherits_all_but_its_own_life(store: Store) -> None:
    """The idle life is renewed, but never beyond the absolute one."""
    await store.ledger.claim(Entry(AUDIT, new_refresh=REFRESH))
    assert await store.ledger.claim(_rotation(NOW + 900)) is Outcome.FIRST
    successor = await store.refresh_tokens.find(b"r2")
    assert successor == replace(REFRESH, digest=b"r2", issued_at=NOW + 900, idle_expires_at=NOW + 1500)


@pytest.mark.parametrize("late", [1000, 1500])
async def test_an_expired_token_is_refused_and_written_down(store: Store, late: int) -> None:
    await store.ledger.claim(Entry(AUDIT, new_refresh=REFRESH))
    assert await store.ledger.claim(_rotation(NOW + late)) is Outcome.REFRESH_EXPIRED
    assert await store.refresh_tokens.find(b"r1") == REFRESH
    assert await store.refresh_tokens.find(b"r2") is None
    record = await store.audit_log.find(f"at {NOW + late}")
    assert record is not None
    assert (record["outcome"], record["reason"]) == ("refused", "refresh_token.expired")


async def test_a_refused_token_still_uses_up_the_assertion(store: Store) -> None:
    """Otherwise an attacker who saw the refused request could send its assertion again, with a token that works."""
    entry = _rotation(NOW + 1, spent=b"unknown", jti=1)
    assert await store.ledger.claim(entry) is Outcome.REFRESH_UNKNOWN
    assert await store.ledger.claim(entry) is Outcome.REPLAYED


async def test_a_replayed_assertion_rotates_nothing(store: Store) -> None:
    await store.ledger.claim(Entry(AUDIT, claim=claim(1, NOW), new_refresh=REFRESH))
    assert await store.ledger.claim(_rotation(NOW + 1, jti=1)) is Outcome.REPLAYED
    assert await store.refresh_tokens.find(b"r1") == REFRESH


async def test_another_successor_inside_the_window_is_reuse(store: Store) -> None:
    """A retry has the same successor; another successor comes from a thief."""
    await store.ledger.claim(Entry(AUDIT, new_refresh=REFRESH))
    assert await store.ledger.claim(_rotation(NOW + 1)) is Outcome.FIRST
    assert await store.ledger.claim(_rotation(NOW + 2, successor=b"r3")) is Outcome.REFRESH_REUSED
    assert await store.refresh_tokens.find(b"r3") is None
    for digest in (b"r1", b"r2"):
        token = await store.refresh_tokens.find(digest)
        assert token is not None
        assert token.revoked_at == NOW + 2


async def test_a_spent_token_ends_its_family_after_its_own_end(store: Store) -> None:
    """Who steals a token, and shows it after its idle life, is still found out."""
    await store.ledger.claim(Entry(AUDIT, new_refresh=REFRESH))
    await store.ledger.claim(_rotation(NOW + 10))
    stolen = Entry(AUDIT, rotation=Rotation(b"r1", b"r9", NOW + 1000, 1000))
    assert await store.ledger.claim(stolen) is Outcome.REFRESH_REUSED
    successor = await store.refresh_tokens.find(b"r2")
    assert successor is not None
    assert successor.revoked_at == NOW + 1000


async def test_a_token_that_follows_itself_is_not_spent(store: Store) -> None:
    """Without rotation (FAPI 2.0) each use only renews its idle life, up to its last day; and it can be ended."""
    await store.ledger.claim(Entry(AUDIT, new_refresh=REFRESH))
    for now in (NOW + 400, NOW + 401, NOW + 900):
        assert await store.ledger.claim(_rotation(now, successor=b"r1")) is Outcome.FIRST
        token = await store.refresh_tokens.find(b"r1")
        assert token is not None
        assert (token.spent_at, token.successor, token.expires_at) == (None, None, NOW + 1500)
        assert token.idle_expires_at == min(now + 1000, NOW + 1500)
    assert len(await store.refresh_tokens.list("c")) == 1
    assert await store.ledger.claim(_rotation(NOW + 1500, successor=b"r1")) is Outcome.REFRESH_EXPIRED
    await store.ledger.claim(Entry(AUDIT, revoke_family="f"))
    assert await store.ledger.claim(_rotation(NOW + 1000, successor=b"r1")) is Outcome.REFRESH_REVOKED
