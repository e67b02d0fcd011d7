"""Ending refresh tokens is one act, however many they are; and what is over is deleted, on every store."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from tests.stores import NOW, REFRESH, nodes

from affiant.storage.entries import KEPT_SECONDS, AuditRecord, Entry, Outcome, RefreshSelection, Rotation
from affiant.storage.ports import Store

END = NOW + 5000
AUDIT = AuditRecord(at=NOW, trace_id="t", endpoint="token", outcome="issued")
TOKEN = replace(REFRESH, expires_at=END, key_thumbprint="k")
SELECTIONS = (
    RefreshSelection(),
    RefreshSelection(client_id="c"),
    RefreshSelection(key_thumbprint="k"),
    RefreshSelection("c", "k"),
    RefreshSelection(resource="https://a"),
)


async def _begin(store: Store, name: bytes = b"r1", family: str = "f") -> None:
    await store.ledger.claim(Entry(AUDIT, new_refresh=replace(TOKEN, digest=name, family=family)))


async def _rotate(store: Store, spent: bytes, successor: bytes, now: int = NOW) -> Outcome:
    return await store.ledger.claim(Entry(AUDIT, rotation=Rotation(spent, successor, now, 1000)))


@pytest.mark.parametrize("selection", SELECTIONS)
async def test_a_line_that_begins_after_an_end_lives(store: Store, selection: RefreshSelection) -> None:
    """In the same second too, and with a clock that is behind: the order of the commits decides."""
    await _begin(store)
    begun = await store.refresh_tokens.find(b"r1")
    assert begun is not None
    assert begun.began == (await store.audit_log.head()).number
    late = _at(NOW + 10)
    await store.ledger.claim(Entry(late, revoke_refresh=selection))
    await _begin(store, b"n1", "n")
    assert await _rotate(store, b"r1", b"r2") is Outcome.REFRESH_REVOKED
    for number in range(1, 4):
        assert await _rotate(store, b"n%d" % number, b"n%d" % (number + 1)) is Outcome.FIRST
    found = {token.digest: token.revoked_at for token in await store.refresh_tokens.list()}
    assert found == {b"r1": NOW + 10, b"n1": None, b"n2": None, b"n3": None, b"n4": None}


@pytest.mark.parametrize("selection", SELECTIONS)
async def test_the_same_end_again_includes_newer_families(store: Store, selection: RefreshSelection) -> None:
    for number in range(3):
        await _begin(store, b"r%d" % number, f"f{number}")
        await store.ledger.claim(Entry(AUDIT, revoke_refresh=selection))
    await _begin(store, b"last", "last")
    found = await store.refresh_tokens.list()
    assert {token.digest for token in found if token.revoked_at is None} == {b"last"}


async def test_found_and_listed_tokens_are_revoked(store: Store) -> None:
    """What was spent as well: neither a lost answer nor a theft brings any of it back."""
    await _begin(store)
    assert await _rotate(store, b"r1", b"r2") is Outcome.FIRST
    await store.ledger.claim(Entry(AUDIT, revoke_refresh=RefreshSelection()))
    for digest in (b"r1", b"r2"):
        token = await store.refresh_tokens.find(digest)
        assert token is not None
        assert token.revoked_at == NOW
    assert await _rotate(store, b"r1", b"r2") is Outcome.REFRESH_REVOKED
    assert await _rotate(store, b"r2", b"r3") is Outcome.REFRESH_REVOKED


async def test_an_end_in_one_group_with_its_token(store: Store) -> None:
    """Committed together or one by one, in their order: what came before it is over, what came after it is not."""
    begin = [Entry(AUDIT, new_refresh=replace(TOKEN, digest=b"r%d" % n, family=f"f{n}")) for n in range(6)]
    end = Entry(AUDIT, revoke_refresh=RefreshSelection())
    uses = [Entry(AUDIT, rotation=Rotation(b"r%d" % n, b"s%d" % n, NOW, 1000)) for n in range(6)]
    entries = [*begin[:3], uses[0], end, *begin[3:], *uses]
    outcomes = await asyncio.gather(*map(store.ledger.claim, entries))
    assert outcomes[-6:] == [Outcome.REFRESH_REVOKED] * 3 + [Outcome.FIRST] * 3
    assert await _rotate(store, b"s0", b"t0") is Outcome.REFRESH_REVOKED


@dataclass
class Race:
    """Lines that are used without a pause until they are refused; what was asked for after their end, apart."""

    warm: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False
    late: list[Outcome] = field(default_factory=list)

    async def use(self, node: Store, line: int) -> None:
        outcome, turn = Outcome.FIRST, 0
        while outcome is Outcome.FIRST:
            is_late = self.is_over
            outcome = await _rotate(node, b"%d-%d" % (line, turn), b"%d-%d" % (line, turn + 1))
            turn += 1
            if is_late:
                self.late.append(outcome)
            if turn > 3:
                self.warm.set()
            await asyncio.sleep(0)

    async def end(self, node: Store, selection: RefreshSelection) -> None:
        await self.warm.wait()
        await node.ledger.claim(Entry(AUDIT, revoke_refresh=selection))
        self.is_over = True
        await _begin(node, b"new", "new")


@pytest.mark.parametrize("selection", SELECTIONS)
async def test_no_rotation_succeeds_after_the_end_is_acknowledged(
    make_store: Callable[..., Store], selection: RefreshSelection
) -> None:
    """Raced on two nodes; families that begin after it are untouched."""
    async with nodes(make_store) as both:
        await _race(both[0], both[1], selection)


async def _race(one: Store, other: Store, selection: RefreshSelection) -> None:
    for line in range(20):
        await _begin(one, b"%d-0" % line, f"f{line}")
    race = Race()
    await asyncio.gather(*(race.use((one, other)[line % 2], line) for line in range(20)), race.end(other, selection))
    everything = await other.refresh_tokens.list("c", limit=100_000)
    old = [token for token in everything if token.family != "new"]
    assert len(old) > 20
    race.late += [await _rotate(one, token.digest, b"x") for token in old]
    assert set(race.late) == {Outcome.REFRESH_REVOKED}
    assert await _rotate(one, b"new", b"next") is Outcome.FIRST


async def test_purge_deletes_a_line_a_day_after_its_end(store: Store) -> None:
    """By then nothing of it could be used, whatever the clock says; it is as unknown as what never was."""
    await _begin(store)
    assert await _rotate(store, b"r1", b"r2") is Outcome.FIRST
    await store.ledger.purge(END + KEPT_SECONDS)
    assert await _rotate(store, b"r2", b"r3", END) is Outcome.REFRESH_EXPIRED
    assert len(await store.refresh_tokens.list()) == 2
    await store.ledger.purge(END + KEPT_SECONDS + 1)
    assert await store.refresh_tokens.list() == []
    assert await store.refresh_tokens.find(b"r2") is None
    assert await _rotate(store, b"r2", b"r3", END) is Outcome.REFRESH_UNKNOWN
    assert await store.refresh_tokens.find(b"r3") is None


async def test_purge_keeps_tokens_that_betray_a_thief(store: Store) -> None:
    """A token that was spent, and is long past its own idle life, while its line lives."""
    await _begin(store)
    for number in range(1, 5):
        assert await _rotate(store, b"r%d" % number, b"r%d" % (number + 1), NOW + 900 * number) is Outcome.FIRST
    await store.ledger.purge(END + KEPT_SECONDS)
    assert await _rotate(store, b"r1", b"x", END - 1) is Outcome.REFRESH_REUSED
    assert await _rotate(store, b"r5", b"r6", END - 1) is Outcome.REFRESH_REVOKED


async def test_purge_keeps_an_end_as_long_as_its_tokens(store: Store) -> None:
    """However far ahead the clock was that deleted other lines."""
    await _begin(store)
    longer = replace(TOKEN, digest=b"l1", family="l", expires_at=END + 10_000)
    await store.ledger.claim(Entry(AUDIT, new_refresh=longer))
    for entry in (Entry(AUDIT, revoke_refresh=RefreshSelection()), Entry(AUDIT, revoke_family="f")):
        await store.ledger.claim(entry)
    for late in (END, END + KEPT_SECONDS, END + KEPT_SECONDS + 1, END + KEPT_SECONDS + 10_000):
        for _ in range(2):
            await store.ledger.purge(late)
        assert await _rotate(store, b"l1", b"l2") is Outcome.REFRESH_REVOKED
    assert [token.digest for token in await store.refresh_tokens.list()] == [b"l1"]


async def test_purge_of_many_comes_to_an_end(store: Store) -> None:
    """In small pieces, whose number says when to come back; and none goes that stands."""
    many = [Entry(AUDIT, new_refresh=replace(TOKEN, digest=b"%d" % n, family=f"f{n}")) for n in range(250)]
    await asyncio.gather(*map(store.ledger.claim, many))
    await store.ledger.claim(Entry(AUDIT, new_refresh=replace(TOKEN, digest=b"later", expires_at=END + 1)))
    pieces = [await store.ledger.purge(END + KEPT_SECONDS + 1) for _ in range(4)]
    assert pieces == [100, 100, 50, 0]
    assert [token.digest for token in await store.refresh_tokens.list()] == [b"later"]


async def test_purge_during_rotations(store: Store) -> None:
    """Families that rotate during the purge stay."""
    for number in range(10):
        await _begin(store, b"a%d" % number, f"f{number}")
    old = [replace(TOKEN, digest=b"o%d" % n, family=f"o{n}", expires_at=NOW - KEPT_SECONDS - 1) for n in range(100)]
    await asyncio.gather(*(store.ledger.claim(Entry(AUDIT, new_refresh=token)) for token in old))
    uses = (_rotate(store, b"a%d" % number, b"b%d" % number) for number in range(10))
    purges = (store.ledger.purge(NOW) for _ in range(5))
    outcomes = await asyncio.gather(*uses, *purges)
    assert outcomes[:10] == [Outcome.FIRST] * 10
    assert {token.digest[:1] for token in await store.refresh_tokens.list(limit=1000)} == {b"a", b"b"}


def _at(at: int) -> AuditRecord:
    """The same record at another instant."""
    return AuditRecord(at=at, trace_id="t", endpoint="revoke", outcome="revoked")
