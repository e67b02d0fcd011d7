"""Make and rotate the server's own signing keys, as the calendar asks or an operator wants; record each step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from affiant.errors import ConfigError, StoreError
from affiant.server.keys import calendar as rules
from affiant.server.keys.calendar import DAY, Calendar
from affiant.server.keys.vault import Vault
from affiant.storage.entries import AuditOutcome, AuditRecord, Entry
from affiant.storage.ports import Store
from affiant.storage.records import NotFound, SigningKey
from affiant.system.identifiers import new_trace_id
from affiant.system.text import instant

Step = Callable[[Sequence[SigningKey]], list[SigningKey]]

log: logging.Logger = logging.getLogger(__name__)
_logged: dict[str, int] = {}  # by kid: the day on which it was last logged that the next key is due

DEFAULT_ALG = "ES256"  # what API gateways of every make verify; Ed25519 is refused by several
DEFAULT_LINE = ""  # of all APIs that have chosen no algorithm
KEEP_SECONDS = 60.0  # between two looks at the calendar
NEW = "new"  # instead of the name of a key in a KMS: one that the server makes
HOW = "affiant signing-key rotate --key KMS:..., or --key new for a key that the server makes"
THE_CALENDAR = "the calendar"  # the author of the steps that no operator asked for


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
    """Make the first signing key of a line; of several nodes that start at once, one makes it."""
    stored = rules.of_line(await store.signing_keys.list(), line)
    if not rules.has_ended(stored, now) or await _is_held(store, vault, stored, line, now=now):
        return
    candidate = await vault.generate(line or alg or DEFAULT_ALG, now=now, line=line)

    def step(keys: Sequence[SigningKey]) -> list[SigningKey]:
        if rules.find_held(keys) is not None or not rules.has_ended(keys, now):
            return []
        return rules.rotate(keys, candidate, now=now, delay=0)

    await _take(store, vault, step, line=line, by=by, trace_id=trace_id, now=now, candidate=candidate)


async def check(store: Store, vault: Vault, *, now: int) -> None:
    """Raise an Error if this process cannot use a key that signs now."""
    stored = await store.signing_keys.list()
    for line in await lines_in_use(store):
        signer = rules.find_signer(rules.of_line(stored, line), now)
        if signer is not None:
            await vault.check(signer)


async def keep(store: Store, vault: Vault, *, now: int, calendar: Calendar) -> None:
    """Do what is due: announce the next key of each line in use, retire the keys of unused lines, erase removed ones.

    Every node may call it at any time: a step that one node has taken is not due for the others.
    """
    stored, lines = await store.signing_keys.list(), await lines_in_use(store)
    for line in lines:
        await _announce_due(store, vault, rules.of_line(stored, line), line, now=now, calendar=calendar)
    if rules.retire_unused(stored, lines, now):
        step = partial(rules.retire_unused, lines=lines, now=now)
        await _take(store, vault, step, by=THE_CALENDAR, now=now)
    if rules.erase_removed(stored, now):
        await _take(store, vault, partial(rules.erase_removed, now=now), by=THE_CALENDAR, now=now)
    await vault.sweep(stored)


async def lines_in_use(store: Store) -> list[str]:
    """Return the default line, and the algorithms that APIs have chosen."""
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
    key: str | None = None,
    trace_id: str | None = None,
) -> SigningKey:
    """Let the announced key, or a new one, sign in `delay` seconds; return it.

    `key` is the name of a key that exists in a KMS, or NEW for one that the server makes.
    """
    if line not in await lines_in_use(store):
        raise ConfigError(f"no API has chosen {line}: affiant api update NAME --signing-alg {line}")
    stored = rules.of_line(await store.signing_keys.list(), line)
    waiting = rules.find_announced(stored, now)
    if key is None and waiting is None and (held := rules.find_held(stored)) is not None:
        raise ConfigError(f"{held.kid} is in a KMS ({held.kms}): name the key that follows it, {HOW}")
    if key in (None, NEW):
        wanted = line or alg or (waiting.alg if waiting else _alg(stored, line, now))
        candidate = await vault.generate(wanted, now=now, line=line)
    else:
        candidate = await vault.adopt(key, line or alg, now=now, line=line)

    take = rules.rotate if key is None else rules.announce_named
    step = partial(take, candidate=candidate, now=now, delay=delay)
    await _take(store, vault, step, line=line, by=by, trace_id=trace_id, now=now, candidate=candidate)
    stored = rules.of_line(await store.signing_keys.list(), line)
    following = rules.find_announced(stored, now) or rules.find_signer(stored, now)
    assert following is not None  # noqa: S101 - a rotation leaves one
    return following


async def remove(
    store: Store, vault: Vault, kid: str, *, now: int, by: str, trace_id: str | None = None
) -> SigningKey | None:
    """Remove a key and end its tokens; return the key of its line that signs from now on.

    That is the announced key, or a new one. Return None if none can be made now, or no API needs one: it is made before
    the next token, because an emergency does not wait for a PKCS #11 token that is away.
    """
    stored = await store.signing_keys.list()
    lost = next((key for key in rules.live(stored, now) if key.kid == kid), None)
    if lost is None:
        raise NotFound(f"there is no signing key {kid} that could be removed: see  affiant signing-key list")
    candidate = await _successor(vault, lost, rules.of_line(stored, lost.line), now)
    step = partial(rules.remove, kid=kid, candidate=candidate, now=now)
    await _take(store, vault, step, line=lost.line, by=by, trace_id=trace_id, now=now, candidate=candidate)
    left = rules.of_line(await store.signing_keys.list(), lost.line)
    return None if rules.has_ended(left, now) else rules.find_signer(left, now)


async def _announce_due(
    store: Store, vault: Vault, stored: Sequence[SigningKey], line: str, *, now: int, calendar: Calendar
) -> None:
    if not rules.is_due(stored, now, calendar) or await _is_held(store, vault, stored, line, now=now):
        return
    candidate = await vault.generate(_alg(stored, line, now), now=now, line=line)
    step = partial(rules.announce_due, candidate=candidate, now=now, calendar=calendar)
    await _take(store, vault, step, line=line, by=THE_CALENDAR, now=now, candidate=candidate)


async def _is_held(store: Store, vault: Vault, stored: Sequence[SigningKey], line: str, *, now: int) -> bool:
    """Whether the line has its keys from a KMS. Then none is made here; the log says so once a day."""
    held = rules.find_held(stored)
    if held is None:
        return False
    if rules.revive(stored, now=now):
        await _take(store, vault, partial(rules.revive, now=now), line=line, by=THE_CALENDAR, now=now)
    elif _logged.get(held.kid) != now // DAY:
        _logged[held.kid] = now // DAY
        what = "is removed, and no key signs" if rules.is_removed(held, now) else "should be followed by another key"
        log.warning("the signing key %s in a KMS (%s) %s: %s", held.kid, held.kms, what, HOW)
    return True


async def _successor(vault: Vault, lost: SigningKey, stored: Sequence[SigningKey], now: int) -> SigningKey | None:
    if rules.state(lost, stored, now) != "active" or rules.find_announced(stored, now) is not None:
        return None
    if lost.kms:
        return None  # the operator names it
    try:
        return await vault.generate(lost.alg, now=now, line=lost.line)
    except (StoreError, ConfigError) as error:
        log.warning("no key can be made that follows %s: %s", lost.kid, error)
        return None


def _alg(stored: Sequence[SigningKey], line: str, now: int) -> str:
    # The algorithm that guards know: a key of the calendar must not bring one that they cannot verify.
    signer = rules.find_signer(stored, now) or rules.find_held(stored)
    return line or (signer.alg if signer is not None else DEFAULT_ALG)


async def _take(
    store: Store,
    vault: Vault,
    step: Step,
    *,
    by: str,
    now: int,
    line: str | None = None,
    trace_id: str | None = None,
    candidate: SigningKey | None = None,
) -> None:
    """Take this step on the stored keys, of one line or of all, and record it in the same commit."""
    changed: list[SigningKey] = []

    def change(stored: Sequence[SigningKey]) -> list[SigningKey]:
        if candidate is not None:
            rules.check_new(stored, candidate, now)
        changed[:] = step(stored if line is None else rules.of_line(stored, line))
        return changed

    gone: set[str] = set()
    try:
        await store.signing_keys.change(
            change, audit=partial(_tell, by=by, trace_id=trace_id or new_trace_id(), now=now)
        )
        gone = {key.kid for key in changed if not key.sealed}
    finally:  # Danger: a commit that failed may have happened; then nothing but an unused candidate is erased.
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
        return []  # the first key follows no other; the log begins with the first decision
    known = {key.kid: key for key in before}
    steps = [(known.get(key.kid), key) for key in changed]
    return [
        Entry(_record(old, key, *what, by=by, trace_id=trace_id, now=now))
        for old, key in steps
        if (what := _outcome(old, key)) is not None
    ]


def _outcome(before: SigningKey | None, key: SigningKey) -> tuple[AuditOutcome, str] | None:
    """Return what happened to the key, and a sentence; None when only its successor is another."""
    if not key.sealed:
        return "removed", "no token under it is good any more"
    if before is None:
        place = f", in {key.kms}" if key.kms else ""
        return "announced", f"signs from {instant(key.active_at)}{place}"
    if before.active_at != key.active_at:
        return "advanced", f"signs from {instant(key.active_at)}"
    return None


def _record(
    before: SigningKey | None, key: SigningKey, outcome: AuditOutcome, detail: str, *, by: str, trace_id: str, now: int
) -> AuditRecord:
    record = AuditRecord(
        at=now,
        trace_id=trace_id,
        endpoint="signing_keys",
        outcome=outcome,
        alg=key.alg,
        kid=key.kid,
        detail=f"{detail}; by {by}"[:256],
        by=by[:256],
        subject=key.kid,
    )
    return record.with_change(_view(before) if before is not None else None, _view(key))


def _view(key: SigningKey) -> dict[str, Any]:
    """Return what the audit log has of a key: never its private part, not even sealed."""
    members = ("alg", "line", "active_at", "retiring_at", "removed_at", *(("kms",) if key.kms else ()))
    return {name: getattr(key, name) for name in members}
