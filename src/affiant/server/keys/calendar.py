"""The calendar of the signing keys: announced, active, retiring, removed.

The state of a key follows from the instants stored with it, so all nodes agree without a message. A line is the keys
that follow each other: one line for all APIs that have chosen no signing_alg, and one for each signing_alg that an API
has chosen. The functions take the keys of one line, unless they say so; those that change keys return the changed ones.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from affiant.errors import ConfigError
from affiant.storage.entries import LONGEST_TOKEN
from affiant.storage.records import NotFound, SigningKey
from affiant.system.text import instant

DAY = 86_400
SEEN_SECONDS = 2  # until every node publishes a new key: a change is seen within 1 s, and instants are whole seconds
GUARD_SECONDS = DAY  # how long a guard uses a copy of the key set, at most (resource/keys.py)
# Longer than any token and any copy together; the second day is for clocks that step back.
RETIRING_SECONDS = LONGEST_TOKEN + GUARD_SECONDS + DAY
MAX_AGE = 300  # seconds that a copy of the key set is fresh: so long do guards accept a key that was just removed


@dataclass(frozen=True, slots=True)
class Calendar:
    """When keys follow each other, in seconds."""

    period: int = 90 * DAY  # how long a key signs
    announcement: int = 7 * DAY  # how long its successor is published before it signs

    @property
    def max_age(self) -> int:
        # A copy that is used for so long has each key before it signs.
        return min(MAX_AGE, self.announcement)


def of_line(keys: Iterable[SigningKey], line: str) -> list[SigningKey]:
    """Return the keys of one line, from those of all."""
    return [key for key in keys if key.line == line]


def is_removed(key: SigningKey, now: float) -> bool:
    """Whether no token of the key is valid. Without its private part it never comes back, whatever the clock says."""
    return not key.sealed or (key.removed_at is not None and now >= key.removed_at)


def live(keys: Iterable[SigningKey], now: float) -> list[SigningKey]:
    """Return the keys to publish, of one line or of all."""
    return [key for key in keys if not is_removed(key, now)]


def find_signer(keys: Iterable[SigningKey], now: float) -> SigningKey | None:
    """Return the live key that became active last; the earliest if the clock was set back to before all of them.

    Once a key in a KMS was removed without a successor, none signs until an operator names one.
    """
    every = list(keys)
    live_keys = live(every, now)
    begun = [key for key in live_keys if key.active_at <= now]
    if begun:
        signer, last = max(begun, key=_order), find_held(key for key in every if key.active_at <= now)
        return signer if last in (None, signer) else None
    return min(live_keys, key=_order, default=None)


def find_held(keys: Iterable[SigningKey]) -> SigningKey | None:
    """Return the last key of the line if it is in a KMS, also if it is removed: only an operator names the next."""
    used = [key for key in keys if key.removed_at is None or key.removed_at >= key.active_at]
    last = max(used, key=_order, default=None)
    return last if last is not None and last.kms else None


def has_ended(keys: Iterable[SigningKey], now: float) -> bool:
    """Whether the line has no key that should sign: none is live, or all retire because no API needed them."""
    return all(key.retiring_at is not None and key.retiring_at <= now for key in live(keys, now))


def steady(keys: Iterable[SigningKey], now: float) -> tuple[float, float]:
    """Return the instants around `now` between which `find_signer` has one answer."""
    instants = [one for key in keys for one in (key.active_at, key.removed_at) if one is not None]
    before, after = [one for one in instants if one <= now], [one for one in instants if one > now]
    return max(before, default=-math.inf), min(after, default=math.inf)


def state(key: SigningKey, keys: Sequence[SigningKey], now: float) -> str:
    """Return ``announced``, ``active``, ``retiring`` or ``removed``; `keys` are those of all lines."""
    if is_removed(key, now):
        return "removed"
    line = of_line(keys, key.line)
    if has_ended(line, now):
        return "retiring"
    signer = find_signer(line, now)
    if signer is not None and signer.kid == key.kid:
        return "active"
    return "announced" if key.active_at > now else "retiring"


def find_announced(keys: Sequence[SigningKey], now: float) -> SigningKey | None:
    """Return the key that signs next."""
    if has_ended(keys, now):
        return None
    live_keys = live(keys, now)
    signer = find_signer(live_keys, now)
    waiting = [key for key in live_keys if key.active_at > now and key is not signer]
    return min(waiting, key=_order, default=None)


def is_due(keys: Sequence[SigningKey], now: float, calendar: Calendar) -> bool:
    """Whether the next key should be announced."""
    if has_ended(keys, now) or _is_abandoned(keys, now):
        return True
    return now >= _end(live(keys, now), calendar) - calendar.announcement


def due_at(key: SigningKey, calendar: Calendar) -> int:
    """Return when the successor of this key should be announced."""
    return _end([key], calendar) - calendar.announcement


def revive(keys: Sequence[SigningKey], *, now: int) -> list[SigningKey]:
    """Keep the last key if it is in a KMS and was to retire: an API has chosen its line again."""
    last = find_held(keys)
    if last is None or is_removed(last, now) or last.retiring_at is None:
        return []
    return _settle(keys, [], now)


def announce_due(
    keys: Sequence[SigningKey], candidate: SigningKey, *, now: int, calendar: Calendar
) -> list[SigningKey]:
    """Add the candidate if a key is due, the first of a line at once; or keep the last key, if it was to retire."""
    if find_held(keys) is not None:
        return []  # since another node looked, an operator has named a key in a KMS
    if has_ended(keys, now):
        return _begin(keys, candidate, now)
    if _is_abandoned(keys, now):
        return _settle(keys, [], now)
    if not is_due(keys, now, calendar):
        return []
    active_at = max(_end(live(keys, now), calendar), now + calendar.announcement)
    return _settle(keys, [*_anchored(keys, now), replace(candidate, active_at=active_at)], now)


def rotate(keys: Sequence[SigningKey], candidate: SigningKey, *, now: int, delay: int) -> list[SigningKey]:
    """Let the announced key, or else the candidate, sign in `delay` seconds."""
    if has_ended(keys, now):
        return _begin(keys, candidate, now)
    waiting = find_announced(keys, now)
    if waiting is None:
        return _settle(keys, [*_anchored(keys, now), replace(candidate, active_at=now + delay)], now)
    if waiting.alg != candidate.alg:
        raise ConfigError(
            f"{waiting.kid} ({waiting.alg}) is announced already:"
            f" affiant signing-key remove {waiting.kid}  takes it back"
        )
    if waiting.active_at <= now + delay:
        raise ConfigError(f"{waiting.kid} is announced already, and signs from {instant(waiting.active_at)}")
    return _settle(keys, [*_anchored(keys, now), replace(waiting, active_at=now + delay)], now)


def announce_named(keys: Sequence[SigningKey], candidate: SigningKey, *, now: int, delay: int) -> list[SigningKey]:
    """Let a key that an operator named sign in `delay` seconds; a key that only the calendar announced gives way."""
    waiting = find_announced(keys, now)
    if waiting is None or waiting.kid == candidate.kid or not (waiting.kms or candidate.kms):
        return rotate(keys, candidate, now=now, delay=delay)
    if waiting.kms:
        raise ConfigError(
            f"{waiting.kid} is announced already:  affiant signing-key remove {waiting.kid}  takes it back"
        )
    gone = _erase(replace(waiting, retiring_at=now, removed_at=now))
    return _settle(keys, [gone, *_anchored(keys, now), replace(candidate, active_at=now + delay)], now)


def check_new(keys: Sequence[SigningKey], candidate: SigningKey, now: float) -> None:
    """Raise ConfigError if the candidate was a key before: the tokens of a removed key would be valid again."""
    known = next((key for key in keys if key.kid == candidate.kid), None)
    if known is not None and known != find_announced(of_line(keys, candidate.line), now):
        raise ConfigError(f"{candidate.kid} is {state(known, keys, now)} already: make a new key in the KMS")


def remove(keys: Sequence[SigningKey], kid: str, candidate: SigningKey | None, *, now: int) -> list[SigningKey]:
    """Remove a key; if it signs, the announced key or the candidate signs next. Without either, the line has ended."""
    lost = next((key for key in live(keys, now) if key.kid == kid), None)
    if lost is None:
        raise NotFound(f"there is no signing key {kid} that could be removed: see  affiant signing-key list")
    changed = [_erase(replace(lost, removed_at=now, retiring_at=min(lost.retiring_at or now, now)))]
    if has_ended(keys, now):
        return changed  # no API needs a successor
    if state(lost, keys, now) == "active":
        successor = find_announced(keys, now) or candidate
        if successor is None:
            return changed
        changed.append(replace(successor, active_at=now))
    return _settle(keys, changed, now)


def retire_unused(keys: Iterable[SigningKey], lines: Collection[str], now: int) -> list[SigningKey]:
    """Let the keys of lines that no API has chosen retire, from the keys of all lines; their tokens stay valid."""
    return [
        replace(key, retiring_at=now, removed_at=now + RETIRING_SECONDS)
        for key in live(keys, now)
        if key.line not in lines and (key.retiring_at is None or key.retiring_at > now)
    ]


def erase_removed(keys: Iterable[SigningKey], now: int) -> list[SigningKey]:
    """Drop the private parts of removed keys, from the keys of all lines."""
    return [_erase(key) for key in keys if key.sealed and is_removed(key, now)]


def _begin(keys: Sequence[SigningKey], candidate: SigningKey, now: int) -> list[SigningKey]:
    return _settle(keys, [replace(candidate, active_at=now)], now)


def _is_abandoned(keys: Sequence[SigningKey], now: float) -> bool:
    """Whether the last key is to retire without a successor: no API needed it, and then the clock was set back."""
    last = max(live(keys, now), key=_order, default=None)
    return last is not None and last.retiring_at is not None


def _order(key: SigningKey) -> tuple[int, int, bool, bool, str]:
    # Of one second, what an operator has just named follows what was just removed.
    return key.active_at, key.created_at, bool(key.sealed), bool(key.kms), key.kid


def _end(live_keys: Sequence[SigningKey], calendar: Calendar) -> int:
    last = max(live_keys, key=_order)
    return max(last.active_at, last.created_at) + calendar.period


def _anchored(keys: Sequence[SigningKey], now: int) -> list[SigningKey]:
    # If the clock was set back to before the signer became active, a later key would precede it: it begins now.
    signer = find_signer(keys, now)
    return [replace(signer, active_at=now)] if signer is not None and signer.active_at > now else []


def _erase(key: SigningKey) -> SigningKey:
    return replace(key, sealed=b"")


def _settle(keys: Sequence[SigningKey], changed: Sequence[SigningKey], now: int) -> list[SigningKey]:
    """Set when each key is followed by the next; return the keys that this changes."""
    before = {key.kid: key for key in keys}
    after = before | {key.kid: key for key in changed}
    line = sorted(live(after.values(), now), key=_order)
    for key, successor in zip(line, [*line[1:], None], strict=True):
        after[key.kid] = _follow(key, successor, now)
    return [key for key in after.values() if key != before.get(key.kid)]


def _follow(key: SigningKey, successor: SigningKey | None, now: int) -> SigningKey:
    if successor is None:
        return replace(key, retiring_at=None, removed_at=None)
    if key.retiring_at is not None and key.retiring_at <= now:
        return key  # it retired already, even if its successor is gone
    return replace(key, retiring_at=successor.active_at, removed_at=successor.active_at + RETIRING_SECONDS)
