"""The calendar of the signing keys: announced, active, retiring, removed.

What a key may do follows from the instants stored with it, so every node says the same without a message. Each line of
keys has a calendar of its own: one for all APIs that have chosen no algorithm, and one for each algorithm that an API
has chosen. The functions take the keys of one line, and an instant; those that change something return what they
changed or added. Where they take the keys of all lines, they say so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from affiant.errors import ConfigError
from affiant.storage.entries import LONGEST_TOKEN
from affiant.storage.records import NotFound, SigningKey

DAY = 86_400
SEEN_SECONDS = 2  # until every node publishes a new key: a change is seen within 1 s, and instants are whole seconds
GUARD_SECONDS = DAY  # how long a guard uses a copy of the key set, at most (resource/keys.py)
# Longer than any token and any copy together; the second day is for clocks that step back.
RETIRING_SECONDS = LONGEST_TOKEN + GUARD_SECONDS + DAY
MAX_AGE = (
    300  # seconds that a copy of the key set is fresh: as long as a guard takes a key that was removed in an emergency
)


@dataclass(frozen=True, slots=True)
class Calendar:
    """When keys follow each other, in seconds.

    Attributes:
        period: how long a key signs.
        announcement: how long its successor is published before it signs.
    """

    period: int = 90 * DAY
    announcement: int = 7 * DAY

    @property
    def max_age(self) -> int:
        """For how long a copy of the key set may be used: whoever has one knows each key before it signs."""
        return min(MAX_AGE, self.announcement)


def of_line(keys: Iterable[SigningKey], line: str) -> list[SigningKey]:
    """Of the keys of all lines, those of this one."""
    return [key for key in keys if key.line == line]


def is_removed(key: SigningKey, now: float) -> bool:
    """Whether no token under it is good; without its private part it never comes back, whatever the clock says."""
    return not key.sealed or (key.removed_at is not None and now >= key.removed_at)


def live(keys: Iterable[SigningKey], now: float) -> list[SigningKey]:
    """The keys to publish, of one line or of all."""
    return [key for key in keys if not is_removed(key, now)]


def find_signer(keys: Iterable[SigningKey], now: float) -> SigningKey | None:
    """The key that signs: of the live ones that may, the one that became active last.

    There is one as long as any is live: when the clock was set back to before all of them, the earliest signs.
    """
    standing = live(keys, now)
    begun = [key for key in standing if key.active_at <= now]
    if begun:
        return max(begun, key=_order)
    return min(standing, key=_order, default=None)


def has_ended(keys: Iterable[SigningKey], now: float) -> bool:
    """Whether the line has no key that should sign: none is live, or all retire because no API needed them."""
    return all(key.retiring_at is not None and key.retiring_at <= now for key in live(keys, now))


def state(key: SigningKey, keys: Sequence[SigningKey], now: float) -> str:
    """``announced``, ``active``, ``retiring`` or ``removed``; among the keys of all lines."""
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
    """The key that signs next."""
    if has_ended(keys, now):
        return None
    standing = live(keys, now)
    signer = find_signer(standing, now)
    waiting = [key for key in standing if key.active_at > now and key is not signer]
    return min(waiting, key=_order, default=None)


def is_due(keys: Sequence[SigningKey], now: float, calendar: Calendar) -> bool:
    """Whether the next key should be announced."""
    if has_ended(keys, now) or _is_abandoned(keys, now):
        return True
    return now >= _end(live(keys, now), calendar) - calendar.announcement


def announce_due(
    keys: Sequence[SigningKey], candidate: SigningKey, *, now: int, calendar: Calendar
) -> list[SigningKey]:
    """Add the candidate if a key is due, the first of a line at once; or keep a key that was to retire unneeded."""
    if has_ended(keys, now):
        return _begin(keys, candidate, now)
    if _is_abandoned(keys, now):
        return _settle(keys, [], now)
    if not is_due(keys, now, calendar):
        return []
    active_at = max(_end(live(keys, now), calendar), now + calendar.announcement)
    return _settle(keys, [*_anchored(keys, now), replace(candidate, active_at=active_at)], now)


def rotate(keys: Sequence[SigningKey], candidate: SigningKey, *, now: int, delay: int) -> list[SigningKey]:
    """Let the next key sign in `delay` seconds: the one that is announced already, or else the candidate."""
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
        raise ConfigError(f"{waiting.kid} is announced already, and signs from {shown_instant(waiting.active_at)}")
    return _settle(keys, [*_anchored(keys, now), replace(waiting, active_at=now + delay)], now)


def remove(keys: Sequence[SigningKey], kid: str, candidate: SigningKey | None, *, now: int) -> list[SigningKey]:
    """Take a key away at once; when it is the one that signs, the next one does: the announced one or the candidate.

    Where there is neither, the line has ended, until a key is made for it.
    """
    lost = next((key for key in live(keys, now) if key.kid == kid), None)
    if lost is None:
        raise NotFound(f"there is no signing key {kid} that could be removed: see  affiant signing-key list")
    changed = [_erase(replace(lost, removed_at=now, retiring_at=min(lost.retiring_at or now, now)))]
    if has_ended(keys, now):
        return changed  # nobody needs a successor
    if state(lost, keys, now) == "active":
        successor = find_announced(keys, now) or candidate
        if successor is None:
            return changed
        changed.append(replace(successor, active_at=now))
    return _settle(keys, changed, now)


def retire_unused(keys: Iterable[SigningKey], lines: Collection[str], now: int) -> list[SigningKey]:
    """Of the keys of all lines, let those retire whose line no API has chosen any more: their tokens stay good."""
    return [
        replace(key, retiring_at=now, removed_at=now + RETIRING_SECONDS)
        for key in live(keys, now)
        if key.line not in lines and (key.retiring_at is None or key.retiring_at > now)
    ]


def erase_removed(keys: Iterable[SigningKey], now: int) -> list[SigningKey]:
    """Of the keys of all lines, drop the private parts of those whose time is over."""
    return [_erase(key) for key in keys if key.sealed and is_removed(key, now)]


def shown_instant(at: int) -> str:
    """An instant, for people."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _begin(keys: Sequence[SigningKey], candidate: SigningKey, now: int) -> list[SigningKey]:
    return _settle(keys, [replace(candidate, active_at=now)], now)


def _is_abandoned(keys: Sequence[SigningKey], now: float) -> bool:
    """Whether the last key is to retire with nobody to follow: nobody needed it, and then the clock was set back."""
    last = max(live(keys, now), key=_order, default=None)
    return last is not None and last.retiring_at is not None


def _order(key: SigningKey) -> tuple[int, int, str]:
    return key.active_at, key.created_at, key.kid


def _end(standing: Sequence[SigningKey], calendar: Calendar) -> int:
    last = max(standing, key=_order)
    return max(last.active_at, last.created_at) + calendar.period


def _anchored(keys: Sequence[SigningKey], now: int) -> list[SigningKey]:
    """The key that signs, when the clock was set back to before it did: or one that comes later would precede it."""
    signer = find_signer(keys, now)
    return [replace(signer, active_at=now)] if signer is not None and signer.active_at > now else []


def _erase(key: SigningKey) -> SigningKey:
    return replace(key, sealed=b"")


def _settle(keys: Sequence[SigningKey], changed: Sequence[SigningKey], now: int) -> list[SigningKey]:
    """Write down when each key is followed by the next; the keys that this changes."""
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
        return key  # what is past stands, though its successor be gone
    return replace(key, retiring_at=successor.active_at, removed_at=successor.active_at + RETIRING_SECONDS)
