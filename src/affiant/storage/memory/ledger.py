"""Claims, refresh tokens, revocations and audit records in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from affiant.storage.entries import (
    GENESIS,
    KEPT_SECONDS,
    AuditHead,
    AuditRow,
    Entry,
    Outcome,
    RefreshEnd,
    RefreshSelection,
    RefreshToken,
    Revocation,
    as_ended,
    chain,
    end_of_family,
    judge_rotation,
    succeed,
)


class MemoryLedger:
    """See ports.Ledger and ports.AuditLog."""

    def __init__(self, lock: threading.RLock, audit_key: bytes) -> None:
        self._lock = lock
        self._audit_key = audit_key
        self._claims: dict[tuple[str, bytes], int] = {}
        self._refresh: dict[bytes, RefreshToken] = {}
        self._ends: dict[RefreshSelection, RefreshEnd] = {}
        self._revoked: dict[tuple[str, str], Revocation] = {}
        self._forgotten = 0
        self._audit: list[AuditRow] = []

    async def claim(self, entry: Entry) -> Outcome:
        with self._lock:
            return self.commit(entry)

    def commit(self, entry: Entry) -> Outcome:
        """Do what the entry wants, under the lock that the caller has, and append its record."""
        outcome = self._apply(entry)
        audit = entry.audit.refused(outcome.value) if outcome.is_loss else entry.audit
        previous = self._audit[-1].link if self._audit else GENESIS
        record = audit.to_json()
        link = chain(previous, record, self._audit_key)
        self._audit.append(AuditRow(len(self._audit) + 1, audit.trace_id, record, link))
        return outcome

    async def find_claim(self, client_id: str, digest: bytes) -> int | None:
        return self._claims.get((client_id, digest))

    async def purge(self, before: int, *, limit: int = 100) -> int:
        with self._lock:
            ended = [key for key, end in self._claims.items() if end < before][:limit]
            for key in ended:
                self._forgotten = max(self._forgotten, self._claims.pop(key))
            return len(ended) + self._forget(before - KEPT_SECONDS, limit)

    def _forget(self, before: int, limit: int) -> int:
        self._revoked = {key: row for key, row in self._revoked.items() if row.until >= before}
        over = [key for key, row in self._refresh.items() if row.expires_at < before][:limit]
        for key in over:
            del self._refresh[key]
        # Not by a clock: an end outlives all that began before it.
        oldest = min((row.began for row in self._refresh.values()), default=len(self._audit) + 1)
        self._ends = {key: end for key, end in self._ends.items() if end.number >= oldest}
        return len(over)

    def revoked(self) -> list[Revocation]:
        """All that stand."""
        with self._lock:
            return list(self._revoked.values())

    def refresh_tokens(self) -> dict[bytes, RefreshToken]:
        """All of them, by digest."""
        with self._lock:
            return {key: as_ended(row, self._ends.values()) for key, row in self._refresh.items()}

    async def find(self, trace_id: str) -> dict[str, Any] | None:
        return next((msgspec.json.decode(row.record) for row in self._audit if row.trace_id == trace_id), None)

    async def export(self, *, after: int | None = None, limit: int = 1000) -> list[AuditRow]:
        start = max(after or 0, 0)
        return self._audit[start : start + limit]

    async def newest(self, *, before: int | None = None, limit: int = 1000) -> list[AuditRow]:
        end = len(self._audit) if before is None else max(before - 1, 0)
        return self._audit[:end][::-1][:limit]

    async def head(self) -> AuditHead:
        last = self._audit[-1:]
        return AuditHead(last[0].number, last[0].link, last[0].number) if last else AuditHead(0, GENESIS, 0)

    def forget(self, client_id: str) -> None:
        """Drop a client's refresh tokens."""
        with self._lock:
            self._refresh = {key: row for key, row in self._refresh.items() if row.client_id != client_id}

    def _apply(self, entry: Entry) -> Outcome:
        repeated = False
        if entry.claim is not None:
            key = (entry.claim.client_id, entry.claim.digest)
            repeated = key in self._claims
            if (repeated and not entry.tolerate_repeat) or entry.claim.expires_at <= self._forgotten:
                return Outcome.REPLAYED
            self._claims.setdefault(key, entry.claim.expires_at)
        outcome = self._rotate(entry) if entry.rotation else Outcome.FIRST
        if not outcome.is_loss:
            self._change(entry)
        return Outcome.REPEATED if repeated and outcome is Outcome.FIRST else outcome

    def _change(self, entry: Entry) -> None:
        if entry.new_refresh is not None:
            self._refresh[entry.new_refresh.digest] = replace(entry.new_refresh, began=len(self._audit) + 1)
        for revocation in entry.revocations:
            self._revoke(revocation)
        if entry.revoke_family is not None:
            self._end_family(entry.revoke_family, int(entry.audit.at))
        if entry.revoke_refresh is not None:
            self._end(entry.revoke_refresh, int(entry.audit.at))

    def _end(self, selection: RefreshSelection, now: int) -> None:
        self._ends[selection] = RefreshEnd(selection, len(self._audit) + 1, now)

    def _revoke(self, revocation: Revocation) -> None:
        key = (revocation.kind, revocation.value)
        standing = self._revoked.get(key, revocation)
        later = max(standing.at, revocation.at), max(standing.until, revocation.until)
        self._revoked[key] = Revocation(*key, *later)

    def _end_family(self, family: str, now: int) -> None:
        self._end(RefreshSelection(family=family), now)
        self._revoke(end_of_family(family, now))

    def _rotate(self, entry: Entry) -> Outcome:
        rotation = entry.rotation
        assert rotation is not None  # noqa: S101 - the caller looked
        standing = self._refresh.get(rotation.spent)
        token = None if standing is None else as_ended(standing, self._ends.values())
        outcome = judge_rotation(token, rotation, self._refresh.get(rotation.successor))
        if token is not None and outcome is Outcome.FIRST:
            self._refresh[token.digest] = replace(token, spent_at=rotation.now, successor=rotation.successor)
            self._refresh[rotation.successor] = succeed(token, rotation)
        elif token is not None and outcome is Outcome.REFRESH_REUSED:
            self._end_family(token.family, rotation.now)
        return outcome


class MemoryRefreshTokens:
    """See ports.RefreshTokens."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger

    async def find(self, digest: bytes) -> RefreshToken | None:
        return self._ledger.refresh_tokens().get(digest)

    async def list(self, client_id: str | None = None, *, after: bytes = b"", limit: int = 100) -> list[RefreshToken]:
        rows = self._ledger.refresh_tokens()
        fitting = [digest for digest, row in rows.items() if digest > after and client_id in (None, row.client_id)]
        return [rows[digest] for digest in sorted(fitting)[:limit]]


class MemoryRevocations:
    """See ports.Revocations."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger

    async def find(self, names: Sequence[tuple[str, str]]) -> list[Revocation]:
        return [row for row in self._ledger.revoked() if (row.kind, row.value) in names]

    async def list(self, now: int, *, after: Revocation | None = None, limit: int | None = None) -> list[Revocation]:
        rows = sorted((row for row in self._ledger.revoked() if row.until >= now), key=_order)
        return [row for row in rows if after is None or _order(row) > _order(after)][:limit]

    async def mark(self, now: int) -> str:
        rows = [row for row in self._ledger.revoked() if row.until >= now]
        return f"{len(rows)} {sum(row.at + row.until for row in rows)}"


def _order(row: Revocation) -> tuple[int, str, str]:
    return -row.at, row.value, row.kind
