"""Refresh tokens in PostgreSQL: found by anybody, made and rotated inside a group's commit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from affiant.storage.entries import MARK, Outcome, RefreshToken, Revocation, end_of_family, judge_rotation, succeed
from affiant.storage.postgres.connection import is_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from affiant.storage.entries import Entry, RefreshSelection, Rotation
    from affiant.storage.postgres.connection import Lines

_KEEP = (
    "INSERT INTO refresh_token SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::bytea[])"
    " ON CONFLICT (digest) DO UPDATE SET family = excluded.family, client_id = excluded.client_id,"
    " record = excluded.record"
)


_REVOKE = (
    "INSERT INTO revocation SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])"
    " ON CONFLICT (kind, value) DO UPDATE SET at = greatest(revocation.at, excluded.at),"
    " until = greatest(revocation.until, excluded.until)"
)


class PostgresRevocations:
    """See ports.Revocations."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    async def find(self, names: Sequence[tuple[str, str]]) -> list[Revocation]:
        """See ports.Revocations."""
        query = (
            "SELECT kind, value, at, until FROM revocation WHERE (kind, value) IN"
            " (SELECT * FROM unnest($1::text[], $2::text[]))"
        )
        known = [name for name in names if is_text(name[1])]
        async with self._lines.take() as connection:
            rows = await connection.fetch(query, [kind for kind, _ in known], [value for _, value in known])
        return [Revocation(*row) for row in rows]

    async def list(self, now: int) -> list[Revocation]:
        """See ports.Revocations."""
        query = "SELECT kind, value, at, until FROM revocation WHERE until >= $1 ORDER BY at DESC, value"
        async with self._lines.take() as connection:
            return [Revocation(*row) for row in await connection.fetch(query, now)]

    async def mark(self, now: int) -> str:
        """See ports.Revocations."""
        async with self._lines.take() as connection:
            return "{} {}".format(*await connection.fetchrow(f"{MARK}$1", now))


class PostgresRefreshTokens:
    """See ports.RefreshTokens."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    async def find(self, digest: bytes) -> RefreshToken | None:
        """See ports.RefreshTokens."""
        async with self._lines.take() as connection:
            record = await connection.fetchval("SELECT record FROM refresh_token WHERE digest = $1", digest)
        return None if record is None else _read(record)

    async def list(self, client_id: str | None = None, *, after: bytes = b"", limit: int = 100) -> list[RefreshToken]:
        """See ports.RefreshTokens."""
        query = (
            "SELECT record FROM refresh_token WHERE digest > $1 AND ($2::text IS NULL OR client_id = $2)"
            " ORDER BY digest LIMIT $3"
        )
        if client_id is not None and not is_text(client_id):
            return []
        async with self._lines.take() as connection:
            return [_read(record) for (record,) in await connection.fetch(query, after, client_id, limit)]


class Rotations:
    """The refresh tokens of one group, as its entries change them one after the other.

    The head of the audit log is locked meanwhile, and everybody who changes refresh tokens locks it: what was read
    stays true until the commit.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._tokens: dict[bytes, RefreshToken] = {}
        self._changed: dict[bytes, RefreshToken] = {}
        self._revoked: dict[tuple[str, str], Revocation] = {}

    async def load(self, entries: Sequence[Entry]) -> None:
        """Read what the entries will spend."""
        spent = [entry.rotation.spent for entry in entries if entry.rotation is not None]
        if spent:
            self._add(await self._connection.fetch("SELECT record FROM refresh_token WHERE digest = ANY($1)", spent))

    async def apply(self, entry: Entry) -> Outcome:
        """Do what the entry wants with refresh tokens; its claim was not lost."""
        outcome = Outcome.FIRST if entry.rotation is None else await self._rotate(entry.rotation)
        if not outcome.is_loss:
            await self._change(entry)
        return outcome

    async def save(self) -> None:
        """Write what was changed."""
        if self._changed:
            rows = [(t.digest, t.family, t.client_id, msgspec.json.encode(t)) for t in self._changed.values()]
            await self._connection.execute(_KEEP, *map(list, zip(*rows, strict=True)))
        if self._revoked:
            ended = [(r.kind, r.value, r.at, r.until) for r in self._revoked.values()]
            await self._connection.execute(_REVOKE, *map(list, zip(*ended, strict=True)))

    async def _change(self, entry: Entry) -> None:
        if entry.new_refresh is not None:
            self._keep(entry.new_refresh)
        for revocation in entry.revocations:
            self._revoke(revocation)
        if entry.revoke_family is not None:
            await self._end_family(entry.revoke_family, int(entry.audit.at))
        if entry.revoke_refresh is not None:
            await self._end_selected(entry.revoke_refresh, int(entry.audit.at))

    async def _end_selected(self, selection: RefreshSelection, now: int) -> None:
        query = "SELECT record FROM refresh_token WHERE $1::text IS NULL OR client_id = $1"
        self._add(await self._connection.fetch(query, selection.client_id))
        for token in [t for t in self._tokens.values() if t.revoked_at is None and selection.fits(t)]:
            self._keep(replace(token, revoked_at=now))

    async def _end_family(self, family: str, now: int) -> None:
        self._add(await self._connection.fetch("SELECT record FROM refresh_token WHERE family = $1", family))
        for kin in [kin for kin in self._tokens.values() if kin.family == family]:
            self._keep(replace(kin, revoked_at=now))
        self._revoke(end_of_family(family, now))

    def _revoke(self, revocation: Revocation) -> None:
        key = (revocation.kind, revocation.value)
        standing = self._revoked.get(key, revocation)
        self._revoked[key] = Revocation(*key, max(standing.at, revocation.at), max(standing.until, revocation.until))

    async def _rotate(self, rotation: Rotation) -> Outcome:
        token = self._tokens.get(rotation.spent)
        outcome = judge_rotation(token, rotation)
        if token is not None and outcome is Outcome.FIRST:
            self._keep(replace(token, spent_at=rotation.now, successor=rotation.successor))
            self._keep(succeed(token, rotation))
        elif token is not None and outcome is Outcome.REFRESH_REUSED:
            await self._end_family(token.family, rotation.now)
        return outcome

    def _add(self, rows: Sequence[Any]) -> None:
        for (record,) in rows:
            token = _read(record)
            self._tokens.setdefault(token.digest, token)  # what this group has changed already is newer

    def _keep(self, token: RefreshToken) -> None:
        self._tokens[token.digest] = self._changed[token.digest] = token


def _read(record: bytes) -> RefreshToken:
    return msgspec.json.decode(record, type=RefreshToken)
