"""The effect of entries on claims, refresh tokens and revocations: once, for every store.

In one transaction a store claims the jtis, loads what the entries name, lets a Commit apply them one after the other,
and saves what has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from affiant.storage.entries import (
    LONGEST_TOKEN,
    AuditRow,
    Entry,
    JtiClaim,
    Outcome,
    RefreshEnd,
    RefreshSelection,
    RefreshToken,
    Revocation,
    Rotation,
    Unrevoked,
    as_ended,
    chain,
)


class Commit:
    """Refresh tokens and revocations, as entries change them one after the other.

    Args:
        number: of the newest audit record; each entry's record takes the next.
        forgotten: `expires_at` of the last claim that was deleted.
        tokens: those that the entries name (see `named`).
        revoked: the revocations that the entries name in `unless_revoked`.
    """

    def __init__(
        self, *, number: int, forgotten: int, tokens: Iterable[RefreshToken], revoked: Iterable[Revocation]
    ) -> None:
        self._number = number
        self._forgotten = forgotten
        self._tokens = {token.digest: token for token in tokens}
        self.kept: dict[bytes, RefreshToken] = {}
        self.ends: dict[RefreshSelection, RefreshEnd] = {}
        self._stored = {(row.kind, row.value): row.at for row in revoked}
        self.revoked: dict[tuple[str, str], Revocation] = {}

    def apply(self, entry: Entry, take: Callable[[JtiClaim], bool]) -> Outcome:
        """Do what the entry wants; `take` claims a jti, and says whether it was not claimed before.

        An entry takes all its claims, also if it is refused for one of them.
        """
        self._number += 1
        is_first = entry.claim is None or take(entry.claim)
        is_subject_first = entry.subject_claim is None or take(entry.subject_claim)
        if not is_first and entry.claim is not None:
            # A claim that a clock running ahead has deleted may have been used: it stays used.
            is_forgotten = entry.claim.expires_at <= self._forgotten
            if is_forgotten or not entry.tolerate_repeat:
                return Outcome.REPLAYED
        if not is_subject_first:
            return Outcome.SUBJECT_REPLAYED
        if entry.unless_revoked and any(map(self._is_revoked, entry.unless_revoked)):
            return Outcome.SUBJECT_REVOKED
        outcome = Outcome.FIRST if entry.rotation is None else self._rotate(entry.rotation)
        if not outcome.is_loss:
            self._change(entry)
        return Outcome.REPEATED if not is_first and outcome is Outcome.FIRST else outcome

    def rows(self) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """Return the changes, as rows of the tables refresh_token, refresh_end and revocation."""
        return (
            [(t.digest, t.family, t.client_id, msgspec.json.encode(t), t.expires_at) for t in self.kept.values()],
            [(msgspec.json.encode(s), s.reach, end.number, end.at) for s, end in self.ends.items()],
            [(r.kind, r.value, r.at, r.until) for r in self.revoked.values()],
        )

    def _is_revoked(self, name: Unrevoked) -> bool:
        key = (name.kind, name.value)
        at = self._stored.get(key)
        # Also by an entry before this one, in the same commit.
        return (at is not None and at >= name.since) or (key in self.revoked and self.revoked[key].at >= name.since)

    def _rotate(self, rotation: Rotation) -> Outcome:
        stored = self._tokens.get(rotation.spent)
        token = None if stored is None else as_ended(stored, self.ends.values())
        outcome = judge_rotation(token, rotation, self._tokens.get(rotation.successor))
        if token is not None and outcome is Outcome.FIRST:
            self._keep(replace(token, spent_at=rotation.now, successor=rotation.successor))
            self._keep(_succeed(token, rotation))
        elif token is not None and outcome is Outcome.REFRESH_REUSED:
            self._end_family(token.family, rotation.now)
        return outcome

    def _change(self, entry: Entry) -> None:
        now = int(entry.audit.at)
        if entry.new_refresh is not None:
            self._keep(replace(entry.new_refresh, began=self._number))
        for revocation in entry.revocations:
            self._revoke(revocation)
        if entry.revoke_family is not None:
            self._end_family(entry.revoke_family, now)
        if entry.revoke_refresh is not None:
            self._end(entry.revoke_refresh, now)

    def _keep(self, token: RefreshToken) -> None:
        self._tokens[token.digest] = self.kept[token.digest] = token

    def _end(self, selection: RefreshSelection, now: int) -> None:
        self.ends[selection] = RefreshEnd(selection, self._number, now)

    def _end_family(self, family: str, now: int) -> None:
        self._end(RefreshSelection(family=family), now)
        self._revoke(Revocation("family", family, now, now + LONGEST_TOKEN))

    def _revoke(self, revocation: Revocation) -> None:
        key = (revocation.kind, revocation.value)
        self.revoked[key] = later(self.revoked.get(key), revocation)


def named(entries: Sequence[Entry]) -> list[bytes]:
    """Digests of the refresh tokens that the entries spend, and of their successors, which a retry finds made."""
    rotations = [entry.rotation for entry in entries if entry.rotation is not None]
    return [digest for rotation in rotations for digest in (rotation.spent, rotation.successor)]


def dependencies(entries: Iterable[Entry]) -> list[tuple[str, str]]:
    """Kinds and values of the revocations for which the entries would be refused."""
    named = [name for entry in entries if entry.unless_revoked for name in entry.unless_revoked]
    return list(dict.fromkeys((name.kind, name.value) for name in named)) if named else []


def later(stored: Revocation | None, revocation: Revocation) -> Revocation:
    """Both revocations of one kind and value in one: neither instant goes back."""
    if stored is None:
        return revocation
    at, until = max(stored.at, revocation.at), max(stored.until, revocation.until)
    return Revocation(revocation.kind, revocation.value, at, until)


def parse_ends(rows: Iterable[Sequence[Any]]) -> list[RefreshEnd]:
    """The ends in these rows of (selection, number, at)."""
    return [RefreshEnd(msgspec.json.decode(row[0], type=RefreshSelection), row[1], row[2]) for row in rows]


def seal(
    number: int, link: bytes, entries: Sequence[Entry], outcomes: Sequence[Outcome], audit_key: bytes
) -> list[AuditRow]:
    """The audit records of these entries, chained to the record of this number and link."""
    rows = []
    for place, (entry, outcome) in enumerate(zip(entries, outcomes, strict=True), number + 1):
        audit = entry.audit.refused(outcome.value) if outcome.is_loss else entry.audit
        record = audit.to_json()
        link = chain(link, record, audit_key)
        rows.append(AuditRow(place, audit.trace_id, record, link))
    return rows


def tell(listeners: Iterable[Callable[[Sequence[bytes]], None]], rows: Sequence[AuditRow]) -> None:
    """Tell the listeners of a store which audit records were committed."""
    for listen in listeners:
        listen([row.record for row in rows])


def judge_rotation(token: RefreshToken | None, rotation: Rotation, successor: RefreshToken | None) -> Outcome:
    """Return the outcome of this use of a refresh token.

    Args:
        token: the one that is used, by `rotation.spent`.
        rotation: the use.
        successor: the token by `rotation.successor`, if it was made already.
    """
    if token is None:
        return Outcome.REFRESH_UNKNOWN
    if token.revoked_at is not None:
        return Outcome.REFRESH_REVOKED
    if token.spent_at is not None:
        # Order: before its age. A spent token betrays the thief after its end too, and the family may still live.
        # A used successor closes the window: the client got the answer (RFC 9700 section 4.14.2).
        was_used = successor is not None and successor.spent_at is not None
        in_window = rotation.now - token.spent_at <= rotation.retry_window and not was_used
        if not in_window or token.successor != rotation.successor:
            return Outcome.REFRESH_REUSED
        # A retry also fails once the family has expired.
        return Outcome.REPEATED if rotation.now < token.expires_at else Outcome.REFRESH_EXPIRED
    if rotation.now >= token.expires_at or rotation.now >= token.idle_expires_at:
        return Outcome.REFRESH_EXPIRED
    return Outcome.FIRST


def _succeed(token: RefreshToken, rotation: Rotation) -> RefreshToken:
    return replace(
        token,
        digest=rotation.successor,
        issued_at=rotation.now,
        idle_expires_at=min(rotation.now + rotation.idle_seconds, token.expires_at),
        spent_at=None,
        successor=None,
    )
