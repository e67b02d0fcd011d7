"""The server's own signing keys: made, kept, and led through their calendar; each step is written down."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from affiant.errors import ConfigError, StoreError
from affiant.server.keys import calendar as rules
from affiant.server.keys.calendar import Calendar
from affiant.server.keys.vault import Vault
from affiant.server.request.identifiers import new_trace_id
from affiant.storage.entries import AuditOutcome, AuditRecord, Entry
from affiant.storage.ports import Store
from affiant.storage.records import NotFound, SigningKey

Step = Callable[[Sequence[SigningKey]], list[SigningKey]]

log = logging.getLogger(__name__)

DEFAULT_ALG = "ES256"  # what API gateways of every make verify; Ed25519 is refused by several
DEFAULT_LINE = ""  # of all APIs that have chosen no algorithm
KEEP_SECONDS = 60.0  # between two looks at the calendar
THE_CALENDAR = "the calendar"  # who did what nobody asked for


async def ensure(
    store: Store,
    vault: Vault,
    *,
    now: int,
    alg: str | None = None,
    line: str = DEFAULT_LINE,
    by: str = THE_CALENDAR,
    trace_id: str | None = None,
) -> None:
    """Make the first signing key of a line if it has none; of any number that start at once, one makes it."""
    standing = rules.of_line(await store.signing_keys.list(), line)
    if not rules.has_ended(standing, now):
        return
    candidate = await vault.generate(line or alg or DEFAULT_ALG, now=now, line=line)

    def step(keys: Sequence[SigningKey]) -> list[SigningKey]:
        found = rules.of_line(keys, line)
        return rules.rotate(found, candidate, now=now, delay=0) if rules.has_ended(found, now) else []

    await _take(store, vault, step, by=by, trace_id=trace_id, now=now, candidate=candidate)


async def check(store: Store, vault: Vault, *, now: int) -> None:
    """Let a server start that can sign."""
    standing = await store.signing_keys.list()
    for line in await lines_in_use(store):
        signer = rules.find_signer(rules.of_line(standing, line), now)
        if signer is not None:
            await vault.check(signer)


async def keep(store: Store, vault: Vault, *, now: int, calendar: Calendar) -> None:
    """Do what the calendar asks for now.

    In each line that is in use, the next key is announced, of the same algorithm; in others, all retire. Those whose
    time is over are erased. Every node may call it at any time: what one has done is not due for the others.
    """
    standing, lines = await store.signing_keys.list(), await lines_in_use(store)
    for line in lines:
        await _announce_due(store, vault, rules.of_line(standing, line), line, now=now, calendar=calendar)
    if rules.retire_unused(standing, lines, now):
        step = partial(rules.retire_unused, lines=lines, now=now)
        await _take(store, vault, step, by=THE_CALENDAR, now=now)
    if rules.erase_removed(standing, now):
        await _take(store, vault, partial(rules.erase_removed, now=now), by=THE_CALENDAR, now=now)
    await vault.sweep(standing)


async def lines_in_use(store: Store) -> list[str]:
    """The default line, and the algorithms that APIs have chosen."""
    return [DEFAULT_LINE, *sorted({api.signing_alg for api in await store.apis.list() if api.signing_alg})]


async def rotate(
    store: Store,
    vault: Vault,
    *,
    now: int,
    delay: int,
    by: str,
    alg: str | None = None,
    line: str = DEFAULT_LINE,
    trace_id: str | None = None,
) -> SigningKey:
    """Let a new key sign in `delay` seconds: one that is announced already, or one that is made now."""
    if line not in await lines_in_use(store):
        raise ConfigError(f"no API has chosen {line}: affiant api update NAME --signing-alg {line}")
    standing = rules.of_line(await store.signing_keys.list(), line)
    waiting = rules.find_announced(standing, now)
    wanted = line or alg or (waiting.alg if waiting else _alg(standing, line, now))
    candidate = await vault.generate(wanted, now=now, line=line)

    def step(keys: Sequence[SigningKey]) -> list[SigningKey]:
        return rules.rotate(rules.of_line(keys, line), candidate, now=now, delay=delay)

    await _take(store, vault, step, by=by, trace_id=trace_id, now=now, candidate=candidate)
    standing = rules.of_line(await store.signing_keys.list(), line)
    following = rules.find_announced(standing, now) or rules.find_signer(standing, now)
    assert following is not None  # noqa: S101 - a rotation leaves one
    return following


async def remove(
    store: Store, vault: Vault, kid: str, *, now: int, by: str, trace_id: str | None = None
) -> SigningKey | None:
    """Take a key away at once, and the tokens under it; the key of its line that signs from now on.

    Where none is announced, a new one is made; None when that cannot be done now, or no API needs it. It is made later
    then, before the next token: an emergency does not wait for a token that is away.
    """
    standing = await store.signing_keys.list()
    lost = next((key for key in rules.live(standing, now) if key.kid == kid), None)
    if lost is None:
        raise NotFound(f"there is no signing key {kid} that could be removed: see  affiant signing-key list")
    line = lost.line
    candidate = await _successor(vault, lost, rules.of_line(standing, line), now)

    def step(keys: Sequence[SigningKey]) -> list[SigningKey]:
        return rules.remove(rules.of_line(keys, line), kid, candidate, now=now)

    await _take(store, vault, step, by=by, trace_id=trace_id, now=now, candidate=candidate)
    left = rules.of_line(await store.signing_keys.list(), line)
    return None if rules.has_ended(left, now) else rules.find_signer(left, now)


async def _announce_due(
    store: Store, vault: Vault, standing: Sequence[SigningKey], line: str, *, now: int, calendar: Calendar
) -> None:
    if not rules.is_due(standing, now, calendar):
        return
    candidate = await vault.generate(_alg(standing, line, now), now=now, line=line)

    def step(keys: Sequence[SigningKey]) -> list[SigningKey]:
        return rules.announce_due(rules.of_line(keys, line), candidate, now=now, calendar=calendar)

    await _take(store, vault, step, by=THE_CALENDAR, now=now, candidate=candidate)


async def _successor(vault: Vault, lost: SigningKey, standing: Sequence[SigningKey], now: int) -> SigningKey | None:
    if rules.state(lost, standing, now) != "active" or rules.find_announced(standing, now) is not None:
        return None
    try:
        return await vault.generate(lost.alg, now=now, line=lost.line)
    except (StoreError, ConfigError) as error:
        log.warning("no key can be made that follows %s: %s", lost.kid, error)
        return None


def _alg(standing: Sequence[SigningKey], line: str, now: int) -> str:
    """What guards know already: a key that was not asked for must not bring an algorithm that they cannot verify."""
    signer = rules.find_signer(standing, now)
    return line or (signer.alg if signer is not None else DEFAULT_ALG)


async def _take(
    store: Store,
    vault: Vault,
    step: Step,
    *,
    by: str,
    now: int,
    trace_id: str | None = None,
    candidate: SigningKey | None = None,
) -> None:
    """Take this step on the keys that stand, alone, and write down in the same commit what followed what."""
    changed: list[SigningKey] = []

    def change(standing: Sequence[SigningKey]) -> list[SigningKey]:
        changed[:] = step(standing)
        return changed

    gone: set[str] = set()
    try:
        await store.signing_keys.change(
            change, audit=partial(_tell, by=by, trace_id=trace_id or new_trace_id(), now=now)
        )
        gone = {key.kid for key in changed if not key.sealed}
    finally:  # of a commit that may or may not have happened, nothing is erased
        unused = {candidate.kid} - {key.kid for key in changed} if candidate is not None else set[str]()
        await _erase(vault, gone | unused)


async def _erase(vault: Vault, gone: set[str]) -> None:
    try:
        await vault.erase(gone)
    except (StoreError, ConfigError) as error:
        log.warning("%s: keys that are removed are still in it; the server erases them when it answers", error)


def _tell(
    before: Sequence[SigningKey], changed: Sequence[SigningKey], *, by: str, trace_id: str, now: int
) -> list[Entry]:
    if not before:
        return []  # the first key follows nobody; the log begins with the first decision
    known = {key.kid: key for key in before}
    told = [(key, _told(known.get(key.kid), key)) for key in changed]
    return [
        Entry(_record(known.get(key.kid), key, *what, by=by, trace_id=trace_id, now=now))
        for key, what in told
        if what is not None
    ]


def _told(before: SigningKey | None, key: SigningKey) -> tuple[AuditOutcome, str] | None:
    """What happened to the key, and its instant; None when only its successor is another."""
    if not key.sealed:
        return "removed", "no token under it is good any more"
    if before is None:
        return "announced", f"signs from {rules.shown_instant(key.active_at)}"
    if before.active_at != key.active_at:
        return "advanced", f"signs from {rules.shown_instant(key.active_at)}"
    return None


def _record(
    before: SigningKey | None, key: SigningKey, outcome: AuditOutcome, detail: str, *, by: str, trace_id: str, now: int
) -> AuditRecord:
    return AuditRecord(
        at=now,
        trace_id=trace_id,
        endpoint="signing_keys",
        outcome=outcome,
        alg=key.alg,
        kid=key.kid,
        detail=f"{detail}; by {by}"[:256],
        by=by[:256],
        subject=key.kid,
        before=json.dumps(_shown(before)) if before is not None else None,
        after=json.dumps(_shown(key)),
    )


def _shown(key: SigningKey) -> dict[str, Any]:
    """What the log keeps of a key: never its private part, not even sealed."""
    members = ("alg", "line", "active_at", "retiring_at", "removed_at")
    return {name: getattr(key, name) for name in members}
