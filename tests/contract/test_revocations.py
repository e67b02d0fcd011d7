"""Revocations fall with the commit that decides them, on every adapter."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from affiant.storage.entries import (
    KEPT_SECONDS,
    LONGEST_TOKEN,
    AuditRecord,
    Entry,
    JtiClaim,
    Outcome,
    RefreshToken,
    Revocation,
    Rotation,
)

if TYPE_CHECKING:
    from affiant.storage.ports import Store

pytestmark = pytest.mark.anyio
NOW = 1_800_000_000
AUDIT = AuditRecord(at=NOW, trace_id="t", endpoint="revoke", outcome="revoked")
TOKEN = RefreshToken(
    digest=b"r1",
    family="f",
    client_id="c",
    scope=("s",),
    resource="https://a",
    issued_at=NOW,
    idle_expires_at=NOW + 1000,
    expires_at=NOW + 1500,
)
ONE = Revocation("jti", "a", NOW, NOW + 60)


async def test_what_is_revoked_is_found(store: Store) -> None:
    other = Revocation("client", "a", NOW, NOW + 600)
    await store.ledger.claim(Entry(AUDIT, revocations=(ONE, other)))
    assert await store.revocations.find([("jti", "a"), ("jti", "b"), ("family", "a")]) == [ONE]
    assert await store.revocations.find([]) == []
    assert await store.revocations.find([("jti", "\0"), ("jti", "x" * 300)]) == []
    assert await store.revocations.list(NOW) == [ONE, other]
    assert await store.revocations.list(NOW + 61) == [other]


async def test_twice_is_once_and_never_shorter(store: Store) -> None:
    for at, until in ((NOW, NOW + 60), (NOW + 5, NOW + 30), (NOW - 5, NOW + 90)):
        await store.ledger.claim(Entry(AUDIT, revocations=(Revocation("jti", "a", at, until),)))
    assert await store.revocations.list(NOW) == [Revocation("jti", "a", NOW + 5, NOW + 90)]


async def test_a_lost_claim_revokes_nothing(store: Store) -> None:
    claim = JtiClaim("c", bytes(32), NOW + 60)
    assert await store.ledger.claim(Entry(AUDIT, claim=claim)) is Outcome.FIRST
    lost = Entry(AUDIT, claim=claim, revocations=(ONE,), revoke_family="f")
    await store.ledger.claim(Entry(AUDIT, new_refresh=TOKEN))
    assert await store.ledger.claim(lost) is Outcome.REPLAYED
    assert await store.revocations.list(NOW) == []
    standing = await store.refresh_tokens.find(b"r1")
    assert standing is not None
    assert standing.revoked_at is None


async def test_a_family_ends_with_its_access_tokens(store: Store) -> None:
    await store.ledger.claim(Entry(AUDIT, new_refresh=TOKEN))
    await store.ledger.claim(Entry(AUDIT, rotation=Rotation(b"r1", b"r2", NOW, 1000)))
    await store.ledger.claim(Entry(AUDIT, revoke_family="f"))
    for digest in (b"r1", b"r2"):
        token = await store.refresh_tokens.find(digest)
        assert token is not None
        assert token.revoked_at == NOW
    assert await store.revocations.list(NOW) == [Revocation("family", "f", NOW, NOW + LONGEST_TOKEN)]
    assert await store.ledger.claim(Entry(AUDIT, rotation=Rotation(b"r2", b"r3", NOW, 1000))) is Outcome.REFRESH_REVOKED


async def test_a_spent_token_that_comes_back_ends_them_too(store: Store) -> None:
    await store.ledger.claim(Entry(AUDIT, new_refresh=TOKEN))
    await store.ledger.claim(Entry(AUDIT, rotation=Rotation(b"r1", b"r2", NOW, 1000)))
    stolen = Entry(AUDIT, rotation=Rotation(b"r1", b"r9", NOW + 500, 1000))
    assert await store.ledger.claim(stolen) is Outcome.REFRESH_REUSED
    assert [row.kind for row in await store.revocations.list(NOW)] == ["family"]


async def test_many_at_once(store: Store) -> None:
    """Each in its own entry, committed together."""
    rows = [Revocation("jti", f"t{number:02}", NOW, NOW + 60) for number in range(20)]
    await asyncio.gather(*(store.ledger.claim(Entry(AUDIT, revocations=(row,))) for row in rows))
    assert await store.revocations.list(NOW) == rows


async def test_purge_forgets_what_has_ended(store: Store) -> None:
    await store.ledger.claim(Entry(AUDIT, revocations=(ONE,)))
    """A day after their tokens, in case the clock ran ahead."""
    await store.ledger.purge(NOW + 60 + KEPT_SECONDS)
    assert await store.revocations.list(0) == [ONE]
    await store.ledger.purge(NOW + 61 + KEPT_SECONDS)
    assert await store.revocations.list(0) == []
