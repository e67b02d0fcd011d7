"""Whether a caller who is limited to teams may see what names a record: an audit record, a token, a revocation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from affiant.server.admin.access.limit import Limit
from affiant.storage.entries import Revocation
from affiant.storage.registry import Registry, read

_NEVER = float("inf")
_SUMMED = 1000


class _Dated(Protocol):
    @property
    def created_at(self) -> int: ...


class Sight:
    """The records of a limited registry, by their names; each is looked up once."""

    def __init__(self, registry: Registry, limit: Limit, who: str) -> None:
        self._who = who
        self._limit = limit
        self._registry = registry
        self._known: dict[tuple[str, str], float] = {}
        self._issuers: dict[str, bool] | None = None
        self._finds: dict[str, Callable[[str], Awaitable[_Dated | None]]] = {
            "client": registry.clients.find,
            "api": registry.apis.find,
            "trust": registry.trusts.find,
            "rule": registry.rules.find,
            "team": registry.teams.find,
            "initial access token": self._find_initial,
        }

    async def client(self, name: str) -> bool:
        """Whether the registry has this client."""
        return await self._since("client", name) != _NEVER

    async def clients(self) -> tuple[str, ...]:
        """Return the names of the clients that the registry has, at most so many as one sum is made of."""
        return tuple([client.client_id for client in await self._registry.clients.list(limit=_SUMMED)])

    async def owns_api(self, name: str) -> bool:
        """Whether a team of the caller owns this API."""
        found = await self._registry.apis.find(name)
        return found is not None and await read(self._registry.tables, self._limit.owns(found))

    async def revocation(self, row: Revocation) -> bool:
        """Whether it ends tokens of the caller's teams; one token and one family are found by their own names alone."""
        match row.kind:
            case "all":
                return True
            case "client" | "trust" | "api":
                return await self._has(row.kind, row.value)
            case "key" | "task":
                return await self._has("client", row.value.partition(" ")[0])
            case "rule":
                return await self._has("rule", row.value.rpartition("/")[2])
            case _:
                return False

    async def record(self, members: Mapping[str, Any]) -> bool:
        """Whether an audit record is of the caller, or of a subject, a client or an issuer of its teams.

        Attack: a team registers the name of a removed client of another team to read its records. A record from before
        its subject was registered is of another subject.
        """
        subject, at = members.get("subject"), members.get("at")
        moment = float(at) if isinstance(at, int | float) else 0.0
        is_own = members.get("by") == self._who
        if isinstance(subject, str):
            return (is_own and subject.startswith("tokens ")) or await self._is_of(subject, moment)
        if members.get("by") is not None:
            return is_own
        name = members.get("client_id") or members.get("client_claimed")
        if isinstance(name, str):
            return await self._since("client", name) <= moment
        return await self._is_issuer(members.get("issuer"))

    async def _is_of(self, subject: str, moment: float) -> bool:
        if subject.startswith("tokens "):
            kind, _, value = subject.removeprefix("tokens ").partition(" ")
            return kind != "all" and await self.revocation(Revocation(kind, value, 0, 0))
        for kind in self._finds:
            if subject.startswith(f"{kind} "):
                return await self._since(kind, subject.removeprefix(f"{kind} ")) <= moment
        return False

    async def _has(self, kind: str, name: str) -> bool:
        return await self._since(kind, name) != _NEVER

    async def _since(self, kind: str, name: str) -> float:
        """Return since when the registry has this; never if it does not."""
        key = (kind, name)
        if key not in self._known:
            found = await self._finds[kind](name)
            self._known[key] = found.created_at if found is not None else _NEVER
        return self._known[key]

    async def _find_initial(self, name: str) -> _Dated | None:
        return next((token for token in await self._registry.initial_access_tokens.list() if token.id == name), None)

    async def _is_issuer(self, issuer: object) -> bool:
        """Whether all trusts of this issuer, at least one, are of the caller's teams."""
        if self._issuers is None:
            mine = {trust.name for trust in await self._registry.trusts.list()}
            self._issuers = {}
            for trust in await Registry(self._registry.tables).trusts.list():
                self._issuers[trust.issuer] = self._issuers.get(trust.issuer, True) and trust.name in mine
        return isinstance(issuer, str) and self._issuers.get(issuer, False)
