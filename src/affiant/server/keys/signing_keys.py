"""The server's own signing keys: made, sealed, and led through their calendar; each step is written down."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING

from affiant.jose import keys
from affiant.server.keys import calendar as rules
from affiant.server.registry.directory import signing_key_purpose
from affiant.server.request.identifiers import new_trace_id
from affiant.storage.entries import AuditRecord, Entry
from affiant.storage.records import SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from affiant.server.keys.calendar import Calendar
    from affiant.server.keys.master_key import MasterKey
    from affiant.storage.ports import Store

    Step = Callable[[Sequence[SigningKey]], list[SigningKey]]

DEFAULT_ALG = "ES256"  # what API gateways of every make verify; Ed25519 is refused by several
KEEP_SECONDS = 60.0  # between two looks at the calendar
THE_CALENDAR = "the calendar"  # who did what nobody asked for


async def ensure(store: Store, master_key: MasterKey, *, now: int, alg: str = DEFAULT_ALG) -> None:
    """Make the first signing key if none is live; of any number that start at once, one makes it.

    Raises:
        StoreError: it cannot be stored.
    """
    if rules.live(await store.signing_keys.list(), now):
        return
    candidate = await _generate(master_key, alg, now)

    def step(standing: Sequence[SigningKey]) -> list[SigningKey]:
        if rules.live(standing, now):
            return []
        return rules.rotate(standing, candidate, now=now, delay=0)

    await _take(store, step, by=THE_CALENDAR, now=now)


async def keep(store: Store, master_key: MasterKey, *, now: int, calendar: Calendar) -> None:
    """Do what the calendar asks for now: announce the next key, of the same algorithm; erase those whose time is over.

    Every node may call it at any time: what one has done is not due for the others.

    Raises:
        StoreError: it cannot be stored; it stays due.
    """
    standing = await store.signing_keys.list()
    if rules.is_due(standing, now, calendar):
        candidate = await _generate(master_key, _alg(standing, now), now)
        step = partial(rules.announce_due, candidate=candidate, now=now, calendar=calendar)
        await _take(store, step, by=THE_CALENDAR, now=now)
    if rules.erase_removed(standing, now):
        await _take(store, partial(rules.erase_removed, now=now), by=THE_CALENDAR, now=now)


async def rotate(
    store: Store, master_key: MasterKey, *, now: int, delay: int, by: str, alg: str | None = None
) -> SigningKey:
    """Let a new key sign in `delay` seconds: one that is announced already, or one that is made now.

    Args:
        store: where the keys are.
        master_key: seals the new one.
        now: seconds since the epoch.
        delay: for how long it is published before it signs; at least SEEN_SECONDS, so that every node publishes it.
        by: who wants it, for the audit log.
        alg: what it signs with; what the present one signs with when left out.

    Raises:
        ConfigError: a key is announced that signs as soon, or of another algorithm.
    """
    standing = await store.signing_keys.list()
    waiting = rules.find_announced(standing, now)
    candidate = await _generate(master_key, alg or (waiting.alg if waiting else _alg(standing, now)), now)
    await _take(store, partial(rules.rotate, candidate=candidate, now=now, delay=delay), by=by, now=now)
    standing = await store.signing_keys.list()
    following = rules.find_announced(standing, now) or rules.find_signer(standing, now)
    assert following is not None  # noqa: S101 - a rotation leaves one
    return following


async def remove(store: Store, master_key: MasterKey, kid: str, *, now: int, by: str) -> SigningKey:
    """Take a key away at once, and the tokens under it; the key that signs from now on.

    Raises:
        NotFound: there is no such key, or it is removed already.
    """
    candidate = await _generate(master_key, _alg(await store.signing_keys.list(), now), now)
    await _take(store, partial(rules.remove, kid=kid, candidate=candidate, now=now), by=by, now=now)
    signer = rules.find_signer(await store.signing_keys.list(), now)
    assert signer is not None  # noqa: S101 - a removal leaves one
    return signer


def _alg(standing: Sequence[SigningKey], now: int) -> str:
    """What guards know already: a key that was not asked for must not bring an algorithm that they cannot verify."""
    signer = rules.find_signer(standing, now)
    return signer.alg if signer is not None else DEFAULT_ALG


async def _generate(master_key: MasterKey, alg: str, now: int) -> SigningKey:
    """A key that nobody knows yet. Made before the store's transaction: an RSA key takes a second."""
    key = await asyncio.to_thread(keys.generate, alg)
    return SigningKey(
        kid=key.kid,
        alg=key.alg,
        public_jwk=json.dumps(key.public().to_jwk()),
        sealed=master_key.seal(json.dumps(key.to_jwk()).encode(), purpose=signing_key_purpose(key.kid)),
        created_at=now,
    )


async def _take(store: Store, step: Step, *, by: str, now: int) -> None:
    """Take this step on the keys that stand, alone, and write down what followed what."""
    standing: list[SigningKey] = []
    changed: list[SigningKey] = []

    def change(found: Sequence[SigningKey]) -> list[SigningKey]:
        standing[:], changed[:] = found, step(found)
        return changed

    await store.signing_keys.change(change)
    before = {key.kid: key for key in standing}
    if not standing:
        return  # the first key follows nobody; the log begins with the first decision
    for key in changed:
        if told := _told(before.get(key.kid), key):
            await store.ledger.claim(Entry(_record(key, *told, by=by, now=now)))


def _told(before: SigningKey | None, key: SigningKey) -> tuple[str, str] | None:
    """What happened to the key, and its instant; None when only its successor is another."""
    if not key.sealed:
        return "removed", "no token under it is good any more"
    if before is None:
        return "announced", f"signs from {rules.shown_instant(key.active_at)}"
    if before.active_at != key.active_at:
        return "advanced", f"signs from {rules.shown_instant(key.active_at)}"
    return None


def _record(key: SigningKey, outcome: str, detail: str, *, by: str, now: int) -> AuditRecord:
    return AuditRecord(
        at=now,
        trace_id=new_trace_id(),
        endpoint="signing_keys",
        outcome=outcome,
        alg=key.alg,
        kid=key.kid,
        detail=f"{detail}; by {by}"[:256],
    )
