"""A store in memory: for tests and for looking around. It forgets everything, used jtis too, when it ends."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from affiant.storage.ports import AlreadyExists, NotFound
from affiant.storage.records import (
    GENESIS,
    KEPT_SECONDS,
    AuditHead,
    AuditRow,
    Outcome,
    Revocation,
    chain,
    end_of_family,
    judge_rotation,
    succeed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from affiant.storage.records import Api, Client, Entry, RefreshToken, SigningKey


class MemoryStore:
    """Every port on dictionaries under one lock, so that threads may share it as well as tasks."""

    def __init__(self, *, audit_key: bytes = b"") -> None:
        self._lock = threading.RLock()
        self._version = 1
        self.clients = MemoryClients(self)
        self.apis = MemoryApis(self)
        self.signing_keys = MemorySigningKeys(self)
        self.ledger = MemoryLedger(self._lock, audit_key)
        self.revocations = MemoryRevocations(self.ledger)
        self.refresh_tokens = self.ledger
        self.audit_log = self.ledger
        self.settings = MemorySettings(self)

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def version(self) -> int:
        """See Store."""
        return self._version

    def alone(self) -> threading.RLock:
        """The lock, for who looks before changing."""
        return self._lock

    @contextmanager
    def change(self) -> Iterator[None]:
        """Make a change alone, and count it unless it was refused."""
        with self._lock:
            yield
            self._version += 1


class MemoryClients:
    """See ports.Clients."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._rows: dict[str, Client] = {}

    async def find(self, client_id: str) -> Client | None:
        """See ports.Clients."""
        return self._rows.get(client_id)

    async def list(self) -> list[Client]:
        """See ports.Clients."""
        return [self._rows[name] for name in sorted(self._rows)]

    async def add(self, client: Client) -> None:
        """See ports.Clients."""
        with self._store.change():
            if client.client_id in self._rows:
                raise AlreadyExists(f"a client named {client.client_id} exists already")
            self._rows[client.client_id] = client

    async def update(self, client_id: str, change: Callable[[Client], Client]) -> Client:
        """See ports.Clients."""
        with self._store.change():
            self._rows[client_id] = changed = change(self._get(client_id))
            return changed

    async def remove(self, client_id: str) -> None:
        """See ports.Clients."""
        with self._store.change():
            self._get(client_id)
            del self._rows[client_id]
            self._store.ledger.forget(client_id)

    def _get(self, client_id: str) -> Client:
        if client_id not in self._rows:
            raise NotFound(f"there is no client named {client_id}")
        return self._rows[client_id]


class MemoryApis:
    """See ports.Apis."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._rows: dict[str, Api] = {}

    async def find(self, identifier: str) -> Api | None:
        """See ports.Apis."""
        return self._rows.get(identifier)

    async def list(self) -> list[Api]:
        """See ports.Apis."""
        return [self._rows[name] for name in sorted(self._rows)]

    async def add(self, api: Api) -> None:
        """See ports.Apis."""
        with self._store.change():
            if api.identifier in self._rows:
                raise AlreadyExists(f"an API with the identifier {api.identifier} exists already")
            if api.is_default:
                self._rows = {name: replace(row, is_default=False) for name, row in self._rows.items()}
            self._rows[api.identifier] = api

    async def default(self) -> Api | None:
        """See ports.Apis."""
        return next((api for api in self._rows.values() if api.is_default), None)


class MemorySigningKeys:
    """See ports.SigningKeys."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._rows: list[SigningKey] = []

    async def list(self) -> list[SigningKey]:
        """See ports.SigningKeys."""
        return self._rows[::-1]

    async def change(self, change: Callable[[Sequence[SigningKey]], Sequence[SigningKey]]) -> None:
        """See ports.SigningKeys."""
        with self._store.alone():
            changed = change(self._rows[::-1])
            if changed:
                with self._store.change():
                    rows = {key.kid: key for key in (*self._rows, *changed)}
                    self._rows = list(rows.values())


class MemoryLedger:
    """See ports.Ledger, ports.RefreshTokens and ports.AuditLog."""

    def __init__(self, lock: threading.RLock, audit_key: bytes) -> None:
        self._lock = lock
        self._audit_key = audit_key
        self._claims: dict[tuple[str, bytes], int] = {}
        self._refresh: dict[bytes, RefreshToken] = {}
        self._revoked: dict[tuple[str, str], Revocation] = {}
        self._forgotten = 0
        self._audit: list[AuditRow] = []

    async def claim(self, entry: Entry) -> Outcome:
        """See ports.Ledger."""
        with self._lock:
            outcome = self._apply(entry)
            audit = entry.audit.refused(outcome.value) if outcome.is_loss else entry.audit
            previous = self._audit[-1].link if self._audit else GENESIS
            record = audit.to_json()
            link = chain(previous, record, self._audit_key)
            self._audit.append(AuditRow(len(self._audit) + 1, audit.trace_id, record, link))
            return outcome

    async def find_claim(self, client_id: str, digest: bytes) -> int | None:
        """See ports.Ledger."""
        return self._claims.get((client_id, digest))

    async def purge(self, before: int, *, limit: int = 100) -> int:
        """See ports.Ledger."""
        with self._lock:
            ended = [key for key, end in self._claims.items() if end < before][:limit]
            for key in ended:
                self._forgotten = max(self._forgotten, self._claims.pop(key))
            self._revoked = {key: row for key, row in self._revoked.items() if row.until >= before - KEPT_SECONDS}
            return len(ended)

    def revoked(self) -> list[Revocation]:
        """All that stand."""
        with self._lock:
            return list(self._revoked.values())

    async def find(self, key: Any) -> Any:
        """The refresh token of a digest (bytes), or the audit record of a trace id (str)."""
        if isinstance(key, bytes):
            return self._refresh.get(key)
        return next((msgspec.json.decode(row.record) for row in self._audit if row.trace_id == key), None)

    async def export(self, *, after: int | None = None, limit: int = 1000) -> list[AuditRow]:
        """See ports.AuditLog."""
        start = max(after or 0, 0)
        return self._audit[start : start + limit]

    async def head(self) -> AuditHead:
        """See ports.AuditLog."""
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
            self._refresh[entry.new_refresh.digest] = entry.new_refresh
        for revocation in entry.revocations:
            self._revoke(revocation)
        if entry.revoke_family is not None:
            self._end_family(entry.revoke_family, int(entry.audit.at))

    def _revoke(self, revocation: Revocation) -> None:
        key = (revocation.kind, revocation.value)
        standing = self._revoked.get(key, revocation)
        later = max(standing.at, revocation.at), max(standing.until, revocation.until)
        self._revoked[key] = Revocation(*key, *later)

    def _end_family(self, family: str, now: int) -> None:
        for digest, row in self._refresh.items():
            if row.family == family:
                self._refresh[digest] = replace(row, revoked_at=now)
        self._revoke(end_of_family(family, now))

    def _rotate(self, entry: Entry) -> Outcome:
        rotation = entry.rotation
        assert rotation is not None  # noqa: S101 - the caller looked
        token = self._refresh.get(rotation.spent)
        outcome = judge_rotation(token, rotation)
        if token is not None and outcome is Outcome.FIRST:
            self._refresh[token.digest] = replace(token, spent_at=rotation.now, successor=rotation.successor)
            self._refresh[rotation.successor] = succeed(token, rotation)
        elif token is not None and outcome is Outcome.REFRESH_REUSED:
            self._end_family(token.family, rotation.now)
        return outcome


class MemoryRevocations:
    """See ports.Revocations."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger

    async def find(self, names: Sequence[tuple[str, str]]) -> list[Revocation]:
        """See ports.Revocations."""
        return [row for row in self._ledger.revoked() if (row.kind, row.value) in names]

    async def list(self, now: int) -> list[Revocation]:
        """See ports.Revocations."""
        return sorted((row for row in self._ledger.revoked() if row.until >= now), key=lambda row: (-row.at, row.value))


class MemorySettings:
    """See ports.Settings."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._rows: dict[str, str] = {}

    async def get(self, name: str) -> str | None:
        """See ports.Settings."""
        return self._rows.get(name)

    async def put(self, name: str, value: str) -> None:
        """See ports.Settings."""
        with self._store.change():
            self._rows[name] = value
