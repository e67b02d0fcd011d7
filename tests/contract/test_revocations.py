"""Revocations fall with the commit that decides them, on every store."""

import asyncio
from dataclasses import replace

import pytest
from tests.stores import NOW, REFRESH

from affiant.storage.entries import (
    KEPT_SECONDS,
    LONGEST_TOKEN,
    AuditRecord,
    Entry,
    JtiClaim,
    Outcome,
    RefreshSelection,
    Revocation,
    Rotation,
)
from affiant.storage.ports import Store

AUDIT = AuditRecord(at=NOW, trace_id="t", endpoint="revoke", outcome="revoked")
TOKEN = replace(REFRESH, key_thumbprint=None)
ONE = Revocation("jti", "a", NOW, NOW + 60)


async def test_revocations_are_found(store: Store) -> None:
    other = Revocation("client", "a", NOW, NOW + 600)
    await store.ledger.claim(Entry(AUDIT, revocations=(ONE, other)))
    assert await store.revocations.find([("jti", "a"), ("jti", "b"), ("family", "a")]) == [ONE]
    assert await store.revocations.find([]) == []
    assert await store.revocations.find([("jti", "\0"), ("jti", "x" * 300)]) == []
    assert await store.revocations.list(NOW) == [other, ONE]
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
    stored = await store.refresh_tokens.find(b"r1")
    assert stored is not None
    assert stored.revoked_at is None


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


async def test_purge_deletes_expired_revocations(store: Store) -> None:
    await store.ledger.claim(Entry(AUDIT, revocations=(ONE,)))
    """A day after their tokens, in case the clock ran ahead."""
    await store.ledger.purge(NOW + 60 + KEPT_SECONDS)
    assert await store.revocations.list(0) == [ONE]
    await store.ledger.purge(NOW + 61 + KEPT_SECONDS)
    assert await store.revocations.list(0) == []


async def test_purge_comes_to_an_end(store: Store) -> None:
    """However many have ended: a thousand in each commit, or more, and no live row."""
    ended = [Revocation("jti", str(number), NOW, NOW + 60) for number in range(1500)]
    await store.ledger.claim(Entry(AUDIT, revocations=(*ended, Revocation("client", "c", NOW, NOW + 100))))
    for left in (501, 1):
        await store.ledger.purge(NOW + 61 + KEPT_SECONDS)
        assert 1 <= len(await store.revocations.list(0)) <= left


KINDS = ("jti", "family", "client", "key", "api", "all")


async def test_every_kind_is_kept_by_its_name(store: Store) -> None:
    for kind in KINDS:
        row = Revocation(kind, "" if kind == "all" else f"of {kind}", NOW, NOW + 60)
        await store.ledger.claim(Entry(AUDIT, revocations=(row,)))
        assert await store.revocations.find([(other, row.value) for other in KINDS]) == [row]


async def test_the_newest_first(store: Store) -> None:
    rows = tuple(Revocation("jti", value, NOW + at, NOW + 60) for value, at in (("b", 1), ("c", 0), ("a", 1), ("d", 2)))
    await store.ledger.claim(Entry(AUDIT, revocations=rows))
    assert [row.value for row in await store.revocations.list(NOW)] == ["d", "a", "b", "c"]


async def test_the_mark_changes_with_every_revocation(store: Store) -> None:
    """One that was added, prolonged, or added while another was forgotten; and nothing else changes it."""
    marks = [await store.revocations.mark(NOW)]

    async def change(*rows: Revocation) -> None:
        await store.ledger.claim(Entry(AUDIT, revocations=rows))
        marks.append(await store.revocations.mark(NOW))

    await change(ONE)
    await change(Revocation("client", "a", NOW, NOW + 60))
    await change(Revocation("client", "a", NOW + 1, NOW + 60))
    await change(Revocation("client", "a", NOW, NOW + 61))
    late = NOW + 62 + KEPT_SECONDS
    await store.ledger.purge(late)
    await change(Revocation("jti", "b", late, late + 60), Revocation("jti", "c", late, late + 60))
    assert len(set(marks)) == len(marks)
    await store.ledger.claim(Entry(AUDIT))
    await store.ledger.claim(Entry(AUDIT, revocations=(Revocation("jti", "b", late, late + 60),)))
    await store.ledger.claim(Entry(AUDIT, revocations=(Revocation("jti", "ended", NOW - 60, NOW - 1),)))
    assert await store.revocations.mark(NOW) == marks[-1]


async def test_expired_revocations_cost_nothing(store: Store) -> None:
    """It is kept for a day, and the mark may be requested many times a second."""
    ended = [Revocation("jti", str(number), NOW - 60, NOW - 1) for number in range(1000)]
    await store.ledger.claim(Entry(AUDIT, revocations=tuple(ended)))
    assert await store.revocations.mark(NOW) == "0 0"


OTHERS = (
    replace(TOKEN, digest=b"k2", family="g", key_thumbprint="k2"),
    replace(TOKEN, digest=b"a2", family="h", resource="https://a https://b", key_thumbprint="k1"),
    replace(TOKEN, digest=b"c2", family="i", client_id="c2", key_thumbprint="k1"),
)


@pytest.mark.parametrize(
    ("selection", "ended"),
    [
        (RefreshSelection(), {b"r1", b"k2", b"a2", b"c2"}),
        (RefreshSelection(client_id="c"), {b"r1", b"k2", b"a2"}),
        (RefreshSelection(key_thumbprint="k1"), {b"a2", b"c2"}),
        (RefreshSelection(client_id="c", key_thumbprint="k1"), {b"a2"}),
        (RefreshSelection(resource="https://b"), {b"a2"}),
        (RefreshSelection(resource="https://a"), {b"r1", b"k2", b"a2", b"c2"}),
        (RefreshSelection(resource="https://"), set()),
        (RefreshSelection(client_id="c'--"), set()),
    ],
)
async def test_a_selection_of_refresh_tokens(store: Store, selection: RefreshSelection, ended: set[bytes]) -> None:
    """Of what was made before, in the very group that revokes too."""
    entries = [*(Entry(AUDIT, new_refresh=token) for token in (TOKEN, *OTHERS)), Entry(AUDIT, revoke_refresh=selection)]
    await asyncio.gather(*map(store.ledger.claim, entries))
    found = await store.refresh_tokens.list()
    assert [token.digest for token in found] == [b"a2", b"c2", b"k2", b"r1"]
    assert {token.digest for token in found if token.revoked_at == NOW} == ended


async def test_a_rotation_under_way_does_not_outrun_a_revocation(store: Store) -> None:
    """Begun together: either the rotation comes too late, or its successor is revoked with the rest."""
    for n in range(20):
        await store.ledger.claim(Entry(AUDIT, new_refresh=replace(TOKEN, digest=b"r%d" % n, family=f"f{n}")))
    ends = [Entry(AUDIT, revoke_refresh=RefreshSelection(client_id="c"))]
    rotations = [Entry(AUDIT, rotation=Rotation(b"r%d" % n, b"s%d" % n, NOW, 1000)) for n in range(20)]
    outcomes = await asyncio.gather(*map(store.ledger.claim, [*rotations[:10], *ends, *rotations[10:]]))
    assert {*outcomes[:10], *outcomes[11:]} <= {Outcome.FIRST, Outcome.REFRESH_REVOKED}
    found = await store.refresh_tokens.list(limit=1000)
    assert len(found) >= 20
    assert all(token.revoked_at is not None for token in found)


async def test_pages_follow_each_other(store: Store) -> None:
    """Of several at one instant, too; one that ends between two pages hides no other."""
    rows = [
        Revocation(kind, f"{value}{at}", NOW + at, NOW + 600)
        for at in (9, 3)
        for value in ("a", "b")
        for kind in ("client", "jti")
    ]
    await store.ledger.claim(Entry(AUDIT, revocations=tuple(reversed(rows))))
    assert await store.revocations.list(NOW) == rows
    for size in range(1, len(rows) + 1):
        found: list[Revocation] = []
        while page := await store.revocations.list(NOW, after=found[-1] if found else None, limit=size):
            assert len(page) <= size
            found += page
        assert found == rows
    assert await store.revocations.list(NOW, after=Revocation("gone", "a9", NOW + 9, NOW)) == rows[1:]
