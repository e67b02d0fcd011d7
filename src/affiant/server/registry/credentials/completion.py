"""Whether an old key can go: judged by what was used, not by a guess."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from affiant.server.registry.credentials import keys
from affiant.storage.entries import LONGEST_TOKEN
from affiant.storage.records import ClientKey, KeyUse
from affiant.system.values import Value

# A process needs its credential again when its token expires: one that was silent for so long has moved on.
QUIET_SECONDS = LONGEST_TOKEN
_IN_USE = ("active", "retiring")


class Completion(Value, frozen=True):
    """Whether a credential can be retired without refusing a process that still uses it, and why."""

    is_safe: bool
    why: str


def judge(old: KeyUse | None, successors: Iterable[KeyUse | None], *, now: int) -> Completion:
    """Judge a credential by its own use and by the uses of the newer ones that may be used; None for never used."""
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


def view(held: Sequence[ClientKey], uses: Iterable[KeyUse], *, now: int) -> list[dict[str, Any]]:
    """Return what callers see of each key: its state, its use, and whether it can go; instants in epoch seconds."""
    use_of = {use.credential: use for use in uses}
    shown = []
    for place, key in enumerate(held):
        name = keys.thumbprint(key)
        use = use_of.get(name)
        successors = [
            use_of.get(keys.thumbprint(later))
            for later in held[place + 1 :]
            if keys.state(later, now) == "active" and keys.thumbprint(later) != name
        ]
        members = _members(key, use, now)
        if successors and members["state"] in _IN_USE:
            judged = judge(use, successors, now=now)
            members |= {"safe_to_complete": judged.is_safe, "why": judged.why}
        shown.append(members)
    return shown


def _members(key: ClientKey, use: KeyUse | None, now: int) -> dict[str, Any]:
    return {
        **keys.view(key),
        "alg": keys.parse(key.jwk).alg,
        "state": keys.state(key, now),
        "last_used_at": use.last_at if use else None,
        "use_count": use.count if use else 0,
    }
