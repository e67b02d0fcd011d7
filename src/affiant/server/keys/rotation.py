"""Rotate the master key while servers run.

`begin` seals the ring of the database under the new master key too, so that servers with either key start and run.
`finish`, once every server has the new one, lets only the new one open the ring, and adds to the ring a key that the
former master key never opened. Everything that is sealed is then sealed again under that key.

A crash between two steps leaves a database that the new master key opens; `finish` goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from affiant.errors import ConfigError
from affiant.server.keys.master_key import BYTES, SETTING, MasterKey, Ring, Rings, fingerprint, seal_ring
from affiant.server.keys.vault import client_secret_purpose, signing_key_purpose
from affiant.storage.entries import AuditRecord, Entry
from affiant.storage.ports import Store
from affiant.storage.records import Client, SigningKey
from affiant.storage.registry import CLIENTS, SETTINGS, SIGNING_KEYS, Append, Get, Put, Rows, Steps
from affiant.system.identifiers import new_trace_id

SEEN = "former_master_key_seen_at"  # the setting with the time when a server last ran with the former key
NOTE_SECONDS = 30.0  # between two notes of a server
QUIET_SECONDS = 120  # without such a note, no server has the former key
SEEN_SECONDS = 2.0  # in which every server reads a change of the ring, and ends the requests before it
_PAGE = 200  # clients that are sealed again in one commit


@dataclass(frozen=True, slots=True)
class Doer:
    """The operator who rotates the master key, and when, for the audit log."""

    by: str
    now: int

    def entry(self, detail: str) -> Entry:
        return Entry(
            AuditRecord(
                at=self.now,
                trace_id=new_trace_id(),
                endpoint="master_key",
                outcome="changed",
                by=self.by,
                detail=detail,
            )
        )


async def find(store: Store) -> Rings | None:
    """Return the rings of the database; None before the first rotation."""
    return Rings.parse(await store.settings.get(SETTING))


def is_finished(rings: Rings, key: MasterKey) -> bool:
    """Whether only this key opens the database, and nothing is sealed as it was before the rotation."""
    return rings.former is None and _is_done(key.opened(rings).ring)


def under_way(rings: Rings) -> str:
    """Return the refusal of a second rotation before the first is finished."""
    return f"a rotation to {rings.newest} is under way: affiant master-key finish, or affiant master-key cancel"


async def begin(store: Store, key: MasterKey, given: bytes, doer: Doer) -> None:
    """Let this new master key open the ring too."""
    name = fingerprint(given)

    def change(rings: Rings | None) -> Rings:
        if rings is not None and rings.former is not None:
            raise ConfigError(under_way(rings))
        ring = key.opened(rings).ring
        sealed = {key.fingerprint: key.sealed(ring), name: seal_ring(ring, given)}
        return Rings(sealed, name, doer.now)

    await _change(store, change, doer.entry(f"{key.fingerprint} to {name}, both open the database"))


async def cancel(store: Store, key: MasterKey, doer: Doer) -> str:
    """Let only the former master key, which this is, open the ring; return the fingerprint of the other."""

    def change(rings: Rings | None) -> Rings:
        if rings is None or rings.former is None:
            raise ConfigError("no rotation is under way")
        if rings.former != key.fingerprint:
            raise ConfigError(f"{key.fingerprint} is the new master key: give the former one, {rings.former}")
        return Rings({key.fingerprint: rings.sealed[key.fingerprint]}, key.fingerprint, doer.now)

    before = await find(store)
    await _change(store, change, doer.entry(f"the rotation was cancelled, only {key.fingerprint} opens the database"))
    return before.newest if before is not None else ""


async def finish(store: Store, key: MasterKey, doer: Doer) -> int:
    """Let only the new master key open the database; return how many records were sealed again.

    The caller has made sure that every server has it.
    """
    coming = secrets.token_bytes(BYTES)

    def announce(rings: Rings | None) -> Rings:
        if rings is None or is_finished(rings, key):
            raise ConfigError("no rotation is under way")
        if rings.newest != key.fingerprint:
            raise ConfigError(f"this command has the former master key, {key.fingerprint}: give it {rings.newest}")
        ring = key.opened(rings).ring
        if rings.former is not None:
            ring = replace(ring, coming=coming)
        return replace_ring(rings, key, ring)

    def use(rings: Rings | None) -> Rings:
        return _with(rings, key, lambda ring: Ring(ring.root, (ring.coming, *ring.seals)) if ring.coming else ring)

    def forget(rings: Rings | None) -> Rings:
        return _with(rings, key, lambda ring: replace(ring, seals=ring.seals[:1]))

    # Order: a key seals only when every server can open with it, and goes only when nothing is sealed under it.
    await _change(store, announce)
    await asyncio.sleep(SEEN_SECONDS)
    await _change(store, use)
    await asyncio.sleep(SEEN_SECONDS)
    number = await _seal_again(store, key.opened(await find(store)))
    await _change(store, forget, doer.entry(f"only {key.fingerprint} opens the database"))
    return number


def replace_ring(rings: Rings, key: MasterKey, ring: Ring) -> Rings:
    """Return the rings with this one alone, sealed under this master key."""
    return Rings({key.fingerprint: key.sealed(ring)}, key.fingerprint, rings.rotated_at)


def _with(rings: Rings | None, key: MasterKey, change: Callable[[Ring], Ring]) -> Rings:
    if rings is None:
        raise ConfigError("the database was replaced during the rotation")
    return replace_ring(rings, key, change(key.opened(rings).ring))


def _is_done(ring: Ring) -> bool:
    return ring.coming is None and len(ring.seals) == 1


async def _change(store: Store, change: Callable[[Rings | None], Rings], entry: Entry | None = None) -> None:
    def steps() -> Steps[None]:
        after = change(Rings.parse((yield Get(SETTINGS, SETTING))))
        yield Put(SETTINGS, SETTING, after.to_text())
        if entry is not None:
            yield Append([entry])

    await store.tables.change(steps)


async def _seal_again(store: Store, key: MasterKey) -> int:
    def signing_keys() -> Steps[int]:
        found: list[SigningKey] = yield Rows(SIGNING_KEYS)
        changed = [again for one in found if (again := _signing_key(one, key)) is not None]
        for one in changed:
            yield Put(SIGNING_KEYS, one.kid, one)
        return len(changed)

    def clients(after: str) -> Callable[[], Steps[tuple[int, str]]]:
        def steps() -> Steps[tuple[int, str]]:
            found: list[Client] = yield Rows(CLIENTS, after, _PAGE)
            changed = [again for one in found if (again := _client(one, key)) is not None]
            for one in changed:
                yield Put(CLIENTS, one.client_id, one)
            return len(changed), found[-1].client_id if found else ""

        return steps

    number: int = await store.tables.change(signing_keys)
    changed, last = await store.tables.change(clients(""))
    while last:
        number += changed
        changed, last = await store.tables.change(clients(last))
    return number


def _signing_key(one: SigningKey, key: MasterKey) -> SigningKey | None:
    if not one.sealed:  # it was removed
        return None
    again = key.resealed(one.sealed, purpose=signing_key_purpose(one.kid))
    return replace(one, sealed=again) if again is not None else None


def _client(one: Client, key: MasterKey) -> Client | None:
    purpose = client_secret_purpose(one.client_id)
    again = tuple(
        replace(secret, sealed=key.resealed(secret.sealed, purpose=purpose) or secret.sealed)
        if secret.sealed is not None
        else secret
        for secret in one.secrets
    )
    return replace(one, secrets=again) if again != one.secrets else None


async def note(store: Store, key: MasterKey, now: int) -> None:
    """Note that this server runs with the former master key, if a rotation is under way."""
    rings = await find(store)
    if rings is not None and rings.former == key.fingerprint:
        await store.settings.put(SEEN, str(now))
