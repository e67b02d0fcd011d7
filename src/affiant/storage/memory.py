"""A store in memory, for tests and trials. It forgets everything when it ends, used jtis too."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from affiant.storage import ports
from affiant.storage.commit import Commit, dependencies, later, named, seal, tell
from affiant.storage.console import RegistryAndUsers
from affiant.storage.entries import (
    GENESIS,
    KEPT_SECONDS,
    NO_BASE,
    AuditBase,
    AuditHead,
    AuditRow,
    Entry,
    JtiClaim,
    Outcome,
    RefreshEnd,
    RefreshSelection,
    RefreshToken,
    Revocation,
    Sought,
    as_ended,
)
from affiant.storage.history.counts import SERVER, TOP_ROWS, Count, Selection, Total, is_over
from affiant.storage.history.cursors import Cursor, is_free
from affiant.storage.history.sizes import Sizes
from affiant.storage.records import KeyUse
from affiant.storage.registry import (
    Append,
    Drop,
    Forget,
    Get,
    Put,
    Record,
    Result,
    Rows,
    Step,
    Steps,
    changes_version,
    drive,
)
from affiant.storage.sql import cannot_drop, is_text


class MemoryStore(RegistryAndUsers):
    """Every port on dictionaries under one lock, so that threads may share it as well as tasks."""

    def __init__(self, *, audit_key: bytes = b"") -> None:
        lock = threading.RLock()
        ledger = MemoryLedger(lock, audit_key)
        uses = MemoryKeyUses(lock)
        self._tables = MemoryTables(lock, ledger, uses)
        super().__init__(self._tables)
        self.key_uses: ports.KeyUses = uses
        self.counts: ports.Counts = self._tables.counts
        self.cursors: ports.Cursors = MemoryCursors(lock)
        self.revocations: ports.Revocations = MemoryRevocations(ledger)
        self.refresh_tokens: ports.RefreshTokens = MemoryRefreshTokens(ledger)
        self.ledger: ports.Ledger = ledger
        self.listeners: list[Callable[[Sequence[bytes]], None]] = ledger.listeners
        self._ledger = ledger
        self.audit_log: ports.AuditLog = ledger

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def version(self) -> int:
        return self._tables.version

    async def sizes(self) -> Sizes:
        return self._ledger.sizes()

    @property
    def waiting(self) -> int:
        return 0

    @property
    def clock_offset(self) -> float:
        return 0.0


class MemoryTables:
    def __init__(self, lock: threading.RLock, ledger: MemoryLedger, uses: MemoryKeyUses) -> None:
        self._lock = lock
        self._ledger = ledger
        self._uses = uses
        self._records: dict[str, dict[str, Any]] = {}
        self.counts: MemoryCounts = MemoryCounts(lock, self.has_client)
        self.version: int = 1

    def has_client(self, client_id: str) -> bool:
        """Whether a client of this name is registered."""
        return client_id in self._records.get("client", {})

    async def get(self, step: Get[Record]) -> Record | None:
        with self._lock:
            return self._get(step)

    async def rows(self, step: Rows[Record]) -> list[Record]:
        with self._lock:
            return self._rows(step)

    async def change(self, steps: Callable[[], Steps[Result]]) -> Result:
        with self._lock:
            self._has_written = False
            result = drive(steps(), self._perform)
            self.version += self._has_written
            return result

    def _perform(self, step: Step) -> Any:
        match step:
            case Get():
                return self._get(step)
            case Rows():
                return self._rows(step)
            case Put(table, key, record):
                self._records.setdefault(table.name, {})[key] = record
            case Drop(table, key):
                del self._records[table.name][key]
            case Forget(client_id):
                self._ledger.forget(client_id)
                self._uses.forget(client_id)
                self.counts.forget(client_id)
            case Append(entries):
                for entry in entries:
                    self._ledger.commit(entry)
        self._has_written |= changes_version(step)
        return None

    def _get(self, step: Get[Record]) -> Record | None:
        records = self._records.get(step.table.name, {})
        if step.column is None:
            return records.get(str(step.value))
        return next((row for row in records.values() if getattr(row, step.column) == step.value), None)

    def _rows(self, step: Rows[Record]) -> list[Record]:
        records = self._records.get(step.table.name, {})
        if step.of is not None:
            return [row for _, row in sorted(records.items()) if getattr(row, step.table.copied[0]) == step.of]
        if step.table.is_by_age:
            return list(records.values())[::-1]
        rows = [records[key] for key in sorted(key for key in records if key > step.after)]
        if step.among is not None:
            rows = [row for row in rows if getattr(row, step.table.copied[0]) in step.among]
        return rows[: step.limit]


class MemoryKeyUses:
    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._rows: dict[tuple[str, str], KeyUse] = {}

    async def add(self, uses: Sequence[KeyUse]) -> None:
        with self._lock:
            for use in uses:
                key = (use.client_id, use.credential)
                old = self._rows.get(key, msgspec.structs.replace(use, count=0))
                first, last = min(old.first_at, use.first_at), max(old.last_at, use.last_at)
                self._rows[key] = KeyUse(*key, old.count + use.count, first, last)

    async def list(self, *client_ids: str) -> list[KeyUse]:
        with self._lock:
            return [use for use in self._rows.values() if use.client_id in client_ids]

    def forget(self, client_id: str) -> None:
        self._rows = {key: use for key, use in self._rows.items() if use.client_id != client_id}


class MemoryCounts:
    def __init__(self, lock: threading.RLock, has_client: Callable[[str], bool]) -> None:
        self._lock = lock
        self._has_client = has_client
        self._rows: dict[tuple[str, str, str, int, str], Count] = {}

    async def add(self, counts: Sequence[Count]) -> None:
        with self._lock:
            for count in counts:
                is_known = count.client_id == SERVER or self._has_client(count.client_id)
                if is_known and is_text(count.label):
                    old = self._rows.get(count.key)
                    total = count.count + (old.count if old else 0)
                    self._rows[count.key] = msgspec.structs.replace(count, count=total)

    async def totals(self, selection: Selection) -> list[Total]:
        sums: Counter[tuple[str, str, str]] = Counter()
        for count in await self.list(selection):
            sums[count.client_id, count.kind, count.label] += count.count
        return [Total(*key, total) for key, total in sorted(sums.items())]

    async def top(self, selection: Selection, limit: int) -> list[Total]:
        sums = self._newest(selection)
        ordered = sorted(sums.items(), key=lambda item: (-item[1], item[0]))
        return [Total(client_id, "", "", total) for client_id, total in ordered[:limit]]

    async def clients(self, selection: Selection) -> int:
        return len(self._newest(selection))

    def _newest(self, selection: Selection) -> Counter[str]:
        sums: Counter[str] = Counter()
        clients = [count for count in self._found(selection) if count.client_id != SERVER]
        for count in sorted(clients, key=lambda count: -count.at)[:TOP_ROWS]:
            sums[count.client_id] += count.count
        return sums

    async def purge(self, now: int, *, limit: int = 100) -> int:
        with self._lock:
            over = [key for key, count in self._rows.items() if is_over(count, now)][:limit]
            for key in over:
                del self._rows[key]
            return len(over)

    async def list(self, selection: Selection) -> list[Count]:
        found = (count for count in self._found(selection) if count.client_id in selection.client_ids)
        return sorted(found, key=lambda count: count.key)

    def forget(self, client_id: str) -> None:
        self._rows = {key: count for key, count in self._rows.items() if count.client_id != client_id}

    def _found(self, selection: Selection) -> Sequence[Count]:
        with self._lock:
            return [
                count
                for count in self._rows.values()
                if count.unit == selection.unit
                and selection.since <= count.at < selection.until
                and count.kind in selection.kinds
            ]


class MemoryCursors:
    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._rows: dict[str, Cursor] = {}

    async def take(self, name: str, holder: str, *, now: int, seconds: int, start: int = 0) -> int | None:
        with self._lock:
            row = self._rows.get(name, Cursor(name, start, holder, 0))
            if not is_free(row, holder, now, seconds):
                return None
            self._rows[name] = msgspec.structs.replace(row, holder=holder, until=now + seconds)
            return row.number

    async def advance(self, name: str, holder: str, number: int, problem: str = "") -> bool:
        with self._lock:
            row = self._rows.get(name)
            if row is None or row.holder != holder:
                return False
            self._rows[name] = msgspec.structs.replace(row, number=max(row.number, number), problem=problem)
            return True

    async def release(self, name: str, holder: str) -> None:
        with self._lock:
            row = self._rows.get(name)
            if row is not None and row.holder == holder:
                self._rows[name] = msgspec.structs.replace(row, until=0)

    async def list(self) -> list[Cursor]:
        with self._lock:
            return [row for _, row in sorted(self._rows.items())]

    async def remove(self, name: str) -> bool:
        with self._lock:
            return self._rows.pop(name, None) is not None


class MemoryLedger:
    """The ledger, and the audit log."""

    def __init__(self, lock: threading.RLock, audit_key: bytes) -> None:
        self._lock = lock
        self._audit_key = audit_key
        self._claims: dict[tuple[str, bytes], int] = {}
        self._refresh: dict[bytes, RefreshToken] = {}
        self._ends: dict[RefreshSelection, RefreshEnd] = {}
        self._revoked: dict[tuple[str, str], Revocation] = {}
        self._forgotten = 0
        self._audit: list[AuditRow] = []
        self._base = NO_BASE
        self.listeners: list[Callable[[Sequence[bytes]], None]] = []

    async def claim(self, entry: Entry) -> Outcome:
        with self._lock:
            return self.commit(entry)

    def commit(self, entry: Entry) -> Outcome:
        """Do what the entry wants; the caller has the lock."""
        number, link = self._base.number + len(self._audit), self._audit[-1].link if self._audit else GENESIS
        tokens = [token for digest in named([entry]) if (token := self.refresh_token(digest)) is not None]
        names = dependencies([entry]) if entry.unless_revoked else ()
        revoked = [row for name in names if (row := self._revoked.get(name)) is not None]
        work = Commit(number=number, forgotten=self._forgotten, tokens=tokens, revoked=revoked)
        outcome = work.apply(entry, self._claim)
        self._refresh.update(work.kept)
        self._ends.update(work.ends)
        for key, revocation in work.revoked.items():
            self._revoked[key] = later(self._revoked.get(key), revocation)
        rows = seal(number, link, [entry], [outcome], self._audit_key)
        self._audit += rows
        tell(self.listeners, rows)
        return outcome

    def sizes(self) -> Sizes:
        with self._lock:
            return Sizes(len(self._claims), 0, len(self._audit))

    async def find_claim(self, client_id: str, digest: bytes) -> int | None:
        return self._claims.get((client_id, digest))

    async def purge(self, before: int, *, limit: int = 100) -> int:
        with self._lock:
            ended = [key for key, end in self._claims.items() if end < before][:limit]
            for key in ended:
                self._forgotten = max(self._forgotten, self._claims.pop(key))
            return len(ended) + self._purge_refresh(before - KEPT_SECONDS, limit)

    def refresh_token(self, digest: bytes) -> RefreshToken | None:
        with self._lock:
            token = self._refresh.get(digest)
            return None if token is None else as_ended(token, self._ends.values())

    def refresh_digests(self, client_id: str | None) -> list[bytes]:
        with self._lock:
            return sorted(digest for digest, row in self._refresh.items() if client_id in (None, row.client_id))

    def revoked(self) -> list[Revocation]:
        with self._lock:
            return list(self._revoked.values())

    def forget(self, client_id: str) -> None:
        """Drop a client's refresh tokens; the caller has the lock."""
        self._refresh = {key: row for key, row in self._refresh.items() if row.client_id != client_id}

    async def find(self, trace_id: str) -> dict[str, Any] | None:
        return next((msgspec.json.decode(row.record) for row in self._audit if row.trace_id == trace_id), None)

    async def export(self, *, after: int | None = None, limit: int = 1000) -> list[AuditRow]:
        start = max((after or 0) - self._base.number, 0)
        return self._audit[start : start + limit]

    async def newest(self, *, before: int | None = None, limit: int = 1000) -> list[AuditRow]:
        end = len(self._audit) if before is None else max(before - 1 - self._base.number, 0)
        return self._audit[:end][::-1][:limit]

    async def search(
        self, texts: Sequence[bytes], *, before: int | None = None, looked: int = 10_000, limit: int = 1000
    ) -> Sought:
        rows = await self.newest(before=before, limit=looked)
        found = [row for row in rows if all(text in row.record for text in texts)][:limit]
        last = found[-1] if len(found) == limit else rows[-1] if rows else None
        older = await self.newest(before=last.number, limit=1) if last is not None else []
        return Sought(found, older[0] if older else None)

    async def head(self) -> AuditHead:
        last = self._audit[-1:]
        return AuditHead(last[0].number, last[0].link, last[0].number) if last else AuditHead(0, GENESIS, 0)

    async def base(self) -> AuditBase:
        return self._base

    async def drop(self, base: AuditBase) -> int:
        with self._lock:
            place = base.number - self._base.number
            # The newest record stays: the next one follows its link.
            if not 0 < place < len(self._audit) or self._audit[place - 1].link != base.link:
                raise cannot_drop(base)
            self._audit, self._base = self._audit[place:], base
            return place

    def _claim(self, claim: JtiClaim) -> bool:
        key = (claim.client_id, claim.digest)
        if key in self._claims or claim.expires_at <= self._forgotten:
            return False
        self._claims[key] = claim.expires_at
        return True

    def _purge_refresh(self, before: int, limit: int) -> int:
        self._revoked = {key: row for key, row in self._revoked.items() if row.until >= before}
        expired = [key for key, row in self._refresh.items() if row.expires_at < before][:limit]
        for key in expired:
            del self._refresh[key]
        # Not by a clock: an end outlives every token that began before it.
        oldest = min((row.began for row in self._refresh.values()), default=self._base.number + len(self._audit) + 1)
        self._ends = {key: end for key, end in self._ends.items() if end.number >= oldest}
        return len(expired)


class MemoryRefreshTokens:
    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger

    async def find(self, digest: bytes) -> RefreshToken | None:
        return self._ledger.refresh_token(digest)

    async def list(self, client_id: str | None = None, *, after: bytes = b"", limit: int = 100) -> list[RefreshToken]:
        digests = [digest for digest in self._ledger.refresh_digests(client_id) if digest > after][:limit]
        return [token for digest in digests if (token := self._ledger.refresh_token(digest)) is not None]


class MemoryRevocations:
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
