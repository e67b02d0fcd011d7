"""What is registered, in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from affiant.storage.memory.ledger import MemoryLedger
from affiant.storage.ports import Tell
from affiant.storage.records import (
    AlreadyExists,
    Api,
    Beside,
    Client,
    InitialAccessToken,
    KeyUse,
    NotFound,
    SigningKey,
    spent,
)


class Changes:
    """Changes one after the other, each with what is told of it, under the ledger's lock; counted as the version."""

    def __init__(self, lock: threading.RLock, ledger: MemoryLedger) -> None:
        self._lock = lock
        self._ledger = ledger
        self.version = 1

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody change anything meanwhile."""
        with self._lock:
            yield

    def tell(self, tell: Tell | None, before: Any, after: Any) -> None:
        """Count a change, and write down what is told of it."""
        self.version += 1
        for entry in tell(before, after) if tell is not None else ():
            self._ledger.commit(entry)

    def forget(self, client_id: str) -> None:
        """Drop a client's refresh tokens."""
        self._ledger.forget(client_id)


class _Rows:
    def __init__(self, changes: Changes) -> None:
        self._changes = changes


class MemoryClients(_Rows):
    """See ports.Clients."""

    def __init__(self, changes: Changes, initial: MemoryInitialAccessTokens, uses: MemoryKeyUses) -> None:
        super().__init__(changes)
        self._initial = initial
        self._uses = uses
        self._rows: dict[str, Client] = {}

    async def find(self, client_id: str) -> Client | None:
        return self._rows.get(client_id)

    async def list(self, *, after: str = "", limit: int | None = None) -> list[Client]:
        with self._changes.alone():
            names = sorted(name for name in self._rows if name > after)
            return [self._rows[name] for name in names[:limit]]

    async def add(self, client: Client, *, tell: Tell | None = None, spend: str | None = None) -> None:
        with self._changes.alone():
            if client.client_id in self._rows:
                raise AlreadyExists(f"a client named {client.client_id} exists already")
            if spend is not None:
                self._initial.spend(spend)
            self._rows[client.client_id] = client
            self._changes.tell(tell, None, client)

    async def update(
        self,
        client_id: str,
        change: Callable[[Client], Client],
        *,
        tell: Tell | None = None,
        beside: Beside | None = None,
    ) -> Client:
        with self._changes.alone():
            before = self._get(client_id)
            changed = change(before)
            self._check(beside, before, changed)
            self._rows[client_id] = changed
            self._changes.tell(tell, before, changed)
            return changed

    async def remove(self, client_id: str, *, tell: Tell | None = None, beside: Beside | None = None) -> None:
        with self._changes.alone():
            before = self._get(client_id)
            self._check(beside, before, None)
            del self._rows[client_id]
            self._changes.forget(client_id)
            self._uses.forget(client_id)
            self._changes.tell(tell, before, None)

    def _check(self, beside: Beside | None, before: Client, after: Client | None) -> None:
        if beside is not None:
            beside.check(before, after, self._rows.get(beside.client_id))

    def _get(self, client_id: str) -> Client:
        if client_id not in self._rows:
            raise NotFound(f"there is no client named {client_id}")
        return self._rows[client_id]


class MemoryApis(_Rows):
    """See ports.Apis."""

    def __init__(self, changes: Changes) -> None:
        super().__init__(changes)
        self._rows: dict[str, Api] = {}

    async def find(self, identifier: str) -> Api | None:
        return self._rows.get(identifier)

    async def list(self) -> list[Api]:
        return [self._rows[name] for name in sorted(self._rows)]

    async def add(self, api: Api, *, tell: Tell | None = None) -> None:
        with self._changes.alone():
            if api.identifier in self._rows:
                raise AlreadyExists(f"an API with the identifier {api.identifier} exists already")
            self._put(api)
            self._changes.tell(tell, None, api)

    async def update(self, identifier: str, change: Callable[[Api], Api], *, tell: Tell | None = None) -> Api:
        with self._changes.alone():
            before = self._get(identifier)
            changed = change(before)
            self._put(changed)
            self._changes.tell(tell, before, changed)
            return changed

    async def remove(self, identifier: str, *, tell: Tell | None = None) -> None:
        with self._changes.alone():
            before = self._get(identifier)
            del self._rows[identifier]
            self._changes.tell(tell, before, None)

    async def default(self) -> Api | None:
        return next((api for api in self._rows.values() if api.is_default), None)

    def _get(self, identifier: str) -> Api:
        if identifier not in self._rows:
            raise NotFound(f"there is no API with the identifier {identifier}")
        return self._rows[identifier]

    def _put(self, api: Api) -> None:
        if api.is_default:
            self._rows = {name: replace(row, is_default=False) for name, row in self._rows.items()}
        self._rows[api.identifier] = api


class MemorySigningKeys(_Rows):
    """See ports.SigningKeys."""

    def __init__(self, changes: Changes) -> None:
        super().__init__(changes)
        self._rows: list[SigningKey] = []

    async def list(self) -> list[SigningKey]:
        return self._rows[::-1]

    async def change(
        self, change: Callable[[Sequence[SigningKey]], Sequence[SigningKey]], *, tell: Tell | None = None
    ) -> None:
        with self._changes.alone():
            before = self._rows[::-1]
            changed = change(before)
            if changed:
                rows = {key.kid: key for key in (*self._rows, *changed)}
                self._rows = list(rows.values())
                self._changes.tell(tell, before, changed)


class MemoryInitialAccessTokens(_Rows):
    """See ports.InitialAccessTokens."""

    def __init__(self, changes: Changes) -> None:
        super().__init__(changes)
        self._rows: dict[str, InitialAccessToken] = {}

    async def find(self, digest: bytes) -> InitialAccessToken | None:
        return next((row for row in await self.list() if row.digest == digest), None)

    async def list(self) -> list[InitialAccessToken]:
        with self._changes.alone():
            return list(self._rows.values())[::-1]

    async def add(self, token: InitialAccessToken, *, tell: Tell | None = None) -> None:
        with self._changes.alone():
            if token.id in self._rows:
                raise AlreadyExists(f"an initial access token {token.id} exists already")
            self._rows[token.id] = token
            self._changes.tell(tell, None, token)

    async def remove(self, id: str, *, tell: Tell | None = None) -> None:  # noqa: A002 - its name
        with self._changes.alone():
            if id not in self._rows:
                raise NotFound(f"there is no initial access token {id}")
            self._changes.tell(tell, self._rows.pop(id), None)

    def spend(self, id: str) -> None:  # noqa: A002 - its name
        """Let one client fewer in, or raise NotFound."""
        self._rows[id] = spent(self._rows.get(id), id)


class MemoryKeyUses(_Rows):
    """See ports.KeyUses."""

    def __init__(self, changes: Changes) -> None:
        super().__init__(changes)
        self._rows: dict[tuple[str, str], KeyUse] = {}

    async def add(self, uses: Sequence[KeyUse]) -> None:
        with self._changes.alone():
            for use in uses:
                standing = self._rows.get((use.client_id, use.credential))
                first, last = (standing.first_at, standing.last_at) if standing else (use.first_at, use.last_at)
                self._rows[use.client_id, use.credential] = KeyUse(
                    use.client_id,
                    use.credential,
                    use.count + (standing.count if standing else 0),
                    min(first, use.first_at),
                    max(last, use.last_at),
                )

    async def list(self, *client_ids: str) -> list[KeyUse]:
        with self._changes.alone():
            return [use for (name, _), use in self._rows.items() if name in client_ids]

    def forget(self, client_id: str) -> None:
        """Drop the uses of a client's credentials."""
        self._rows = {key: use for key, use in self._rows.items() if key[0] != client_id}


class MemorySettings(_Rows):
    """See ports.Settings."""

    def __init__(self, changes: Changes) -> None:
        super().__init__(changes)
        self._rows: dict[str, str] = {}

    async def get(self, name: str) -> str | None:
        return self._rows.get(name)

    async def put(self, name: str, value: str) -> None:
        with self._changes.alone():
            self._rows[name] = value
            self._changes.tell(None, None, None)
