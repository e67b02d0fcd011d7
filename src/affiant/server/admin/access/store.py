"""The store as one caller of the admin API sees it: the only one that routes work on.

For a caller whose role is limited to teams, records of others do not exist: not by name, not in a list, not in the
commit of a change; nor do their refresh tokens, revocations and audit records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.server.admin.access.limit import Limit
from affiant.server.admin.access.sight import Sight
from affiant.server.admin.roles import Principal
from affiant.storage.entries import AuditBase, AuditHead, AuditRow, RefreshToken, Revocation, Sought
from affiant.storage.history.counts import API, SERVER, TOP_ROWS, Count, Selection, Total
from affiant.storage.ports import AuditLog, Counts, RefreshTokens, Revocations, Store, Users
from affiant.storage.registry import Registry

Rows = list[Count]
_HIDDEN = b"{}"  # in place of the record of others
_PAGE = 250


def open_for(store: Store, who: Principal) -> Store:
    """Return the store of a server as this caller sees it."""
    if who.limit is None:
        return cast("Store", _Whole(store, Limit(None)))
    return cast("Store", _OfTeams(store, Limit(who.limit), who.name))


def for_explaining(whole: Store, seen: Store) -> Store:
    """Return the store by which a request is explained: APIs, trusts and rules decide, whoever owns them.

    Clients that the caller does not see are unknown, as to a stranger.
    """
    return cast("Store", _Explaining(whole, seen))


class _Explaining:
    def __init__(self, whole: Store, seen: Store) -> None:
        self._whole = whole
        self.clients = seen.clients

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


class _Whole(Registry):
    """All of a store; each change of a record is judged."""

    def __init__(self, store: Store, limit: Limit) -> None:
        super().__init__(store.tables, limit)
        self._store = store
        self.users = Users(store.tables, limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class _OfTeams(Registry):
    """The part of a store that some teams have to do with. A port that is not here is closed to them."""

    def __init__(self, store: Store, limit: Limit, who: str) -> None:
        super().__init__(store.tables, limit)
        # For routes of Reach.OWN, which check whose they are.
        self.users, self.passkeys, self.sessions = store.users, store.passkeys, store.sessions
        sight = Sight(self, limit, who)
        self.key_uses = store.key_uses  # by the names of clients, which a caller must have found before
        self.revocations: Revocations = _Revocations(store.revocations, sight)
        self.refresh_tokens: RefreshTokens = _RefreshTokens(store.refresh_tokens, sight)
        self.counts = _Counts(store.counts, sight)  # to be read alone
        self.audit_log: AuditLog = _AuditLog(store.audit_log, sight)


class _RefreshTokens:
    def __init__(self, tokens: RefreshTokens, sight: Sight) -> None:
        self._tokens = tokens
        self._sight = sight

    async def find(self, digest: bytes) -> RefreshToken | None:
        found = await self._tokens.find(digest)
        return found if found is not None and await self._sight.client(found.client_id) else None

    async def list(self, client_id: str | None = None, *, after: bytes = b"", limit: int = 100) -> list[RefreshToken]:
        if client_id is not None and not await self._sight.client(client_id):
            return []
        found: list[RefreshToken] = []
        while len(found) < limit:
            page = await self._tokens.list(client_id, after=after, limit=max(limit, _PAGE))
            found += [token for token in page if await self._sight.client(token.client_id)]
            if len(page) < max(limit, _PAGE):
                break
            after = page[-1].digest
        return found[:limit]


class _Revocations:
    def __init__(self, revocations: Revocations, sight: Sight) -> None:
        self._revocations = revocations
        self._sight = sight

    async def find(self, names: Sequence[tuple[str, str]]) -> list[Revocation]:
        return await self._revocations.find(names)  # by the names of a token, which a caller must have found before

    async def list(self, now: int, *, after: Revocation | None = None, limit: int | None = None) -> list[Revocation]:
        found: list[Revocation] = []
        while limit is None or len(found) < limit:
            page = await self._revocations.list(now, after=after, limit=_PAGE)
            found += [row for row in page if await self._sight.revocation(row)]
            if len(page) < _PAGE:
                break
            after = page[-1]
        return found[:limit]

    async def mark(self, now: int) -> str:
        return await self._revocations.mark(now)


class _Counts:
    """The counts of clients; in place of those of the whole server, the sums of the teams' clients.

    Tokens for an API are counted for the team that owns it, whoever got them.
    """

    def __init__(self, counts: Counts, sight: Sight) -> None:
        self._counts = counts
        self._sight = sight

    async def top(self, selection: Selection, limit: int) -> list[Total]:
        found = await self._counts.top(selection, TOP_ROWS)
        return [total for total in found if await self._sight.client(total.client_id)][:limit]

    async def clients(self, selection: Selection) -> int:
        return len(await self.top(selection, TOP_ROWS))

    async def totals(self, selection: Selection) -> list[Total]:
        sums: Counter[tuple[str, str, str]] = Counter()
        for row in await self.list(selection):
            sums[row.client_id, row.kind, row.label] += row.count
        return [Total(*names, count) for names, count in sorted(sums.items())]

    async def list(self, selection: Selection) -> list[Count]:
        named = tuple([name for name in selection.client_ids if await self._sight.client(name)])
        found = await self._counts.list(selection._replace(client_ids=named)) if named else []
        return found + await self._summed(selection) if SERVER in selection.client_ids else found

    async def _summed(self, selection: Selection) -> Rows:
        whole = selection._replace(client_ids=(SERVER,), kinds=(API,))
        rows = await self._counts.list(whole) if API in selection.kinds else []
        found = [row for row in rows if await self._sight.owns_api(row.label)]
        others = tuple(kind for kind in selection.kinds if kind != API)
        names = await self._sight.clients()
        sums: Counter[tuple[int, str, str]] = Counter()
        for row in await self._counts.list(selection._replace(client_ids=names, kinds=others)) if names else []:
            sums[row.at, row.kind, row.label] += row.count
        return found + [Count(selection.unit, at, SERVER, kind, label, n) for (at, kind, label), n in sums.items()]


class _AuditLog:
    """The log with empty records in the places of others: numbers and pages stay as they are, and what a page costs."""

    def __init__(self, log: AuditLog, sight: Sight) -> None:
        self._log = log
        self._sight = sight

    async def find(self, trace_id: str) -> dict[str, Any] | None:
        found = await self._log.find(trace_id)
        return found if found is not None and await self._sight.record(found) else None

    async def newest(self, *, before: int | None = None, limit: int = 1000) -> list[AuditRow]:
        return [await self._shown(row) for row in await self._log.newest(before=before, limit=limit)]

    async def search(
        self, texts: Sequence[bytes], *, before: int | None = None, looked: int = 10_000, limit: int = 1000
    ) -> Sought:
        found = await self._log.search(texts, before=before, looked=looked, limit=limit)
        following = await self._shown(found.following) if found.following is not None else None
        return Sought([await self._shown(row) for row in found.rows], following)

    async def export(self, *, after: int | None = None, limit: int = 1000) -> list[AuditRow]:  # noqa: ARG002
        raise Rejected(Reason.ADMIN_TEAM, expected="the whole log is for callers who are not limited to teams")

    async def head(self) -> AuditHead:
        return await self._log.head()

    async def base(self) -> AuditBase:
        return await self._log.base()

    async def drop(self, base: AuditBase) -> int:  # noqa: ARG002
        raise Rejected(Reason.ADMIN_TEAM, expected="the whole log is for callers who are not limited to teams")

    async def _shown(self, row: AuditRow) -> AuditRow:
        return row if await self._is_seen(row) else row._replace(trace_id="", record=_HIDDEN)

    async def _is_seen(self, row: AuditRow) -> bool:
        try:
            members = msgspec.json.decode(row.record, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        return await self._sight.record(members)
