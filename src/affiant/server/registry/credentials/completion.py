"""Whether the old of a client's credentials can go: answered from what was used, not from a guess."""

from __future__ import annotations

from collections.abc import Iterable

from affiant.storage.entries import LONGEST_TOKEN
from affiant.storage.records import KeyUse
from affiant.values import Value

# A process that holds a token needs its credential again when that ends: one that was silent for so long has moved on.
QUIET_SECONDS = LONGEST_TOKEN


class Completion(Value, frozen=True):
    """Whether a credential can be taken away without refusing anybody who is still there.

    Attributes:
        is_safe: whether nobody used it for as long as a token lives, while its successor was in use.
        why: in words.
    """

    is_safe: bool
    why: str


def judge(old: KeyUse | None, successors: Iterable[KeyUse | None], *, now: int) -> Completion:
    """Judge one credential that has successors."""
    used = [use for use in successors if use is not None]
    if not used:
        return Completion(is_safe=False, why="its successor was not used yet")
    # Since the successor's first use: before it, silence means nothing.
    quiet_since = max(min(use.first_at for use in used), old.last_at if old is not None else 0)
    quiet = max(0, now - quiet_since)
    if quiet >= QUIET_SECONDS:
        return Completion(is_safe=True, why=f"not used for {quiet} s, while its successor was")
    if old is not None and old.last_at == quiet_since:
        return Completion(is_safe=False, why=f"used {quiet} s ago; safe after {QUIET_SECONDS} s without a use")
    left = QUIET_SECONDS - quiet
    return Completion(
        is_safe=False, why=f"its successor was first used {quiet} s ago; safe in {left} s if this one is not used"
    )
