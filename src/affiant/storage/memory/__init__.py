"""A store in memory: for tests and for looking around. It forgets everything, used jtis too, when it ends."""

from __future__ import annotations

import threading

from affiant.storage.memory.ledger import MemoryLedger, MemoryRefreshTokens, MemoryRevocations
from affiant.storage.memory.registry import (
    Changes,
    MemoryApis,
    MemoryClients,
    MemoryInitialAccessTokens,
    MemoryKeyUses,
    MemorySettings,
    MemorySigningKeys,
)

__all__ = ["MemoryStore"]


class MemoryStore:
    """Every port on dictionaries under one lock, so that threads may share it as well as tasks."""

    def __init__(self, *, audit_key: bytes = b"") -> None:
        lock = threading.RLock()
        self.ledger = self.audit_log = MemoryLedger(lock, audit_key)
        self._changes = changes = Changes(lock, self.ledger)
        self.initial_access_tokens = MemoryInitialAccessTokens(changes)
        self.key_uses = MemoryKeyUses(changes)
        self.clients = MemoryClients(changes, self.initial_access_tokens, self.key_uses)
        self.apis = MemoryApis(changes)
        self.signing_keys = MemorySigningKeys(changes)
        self.revocations = MemoryRevocations(self.ledger)
        self.refresh_tokens = MemoryRefreshTokens(self.ledger)
        self.settings = MemorySettings(changes)

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def version(self) -> int:
        return self._changes.version
