"""Refresh tokens in PostgreSQL: found by anybody, made and rotated inside a group's commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from affiant.storage.entries import (
    MARK,
    Entry,
    Outcome,
    RefreshEnd,
    RefreshSelection,
    RefreshToken,
    Revocation,
    Rotation,
    as_ended,
    end_of_family,
    judge_rotation,
    reaches,
    succeed,
)
from affiant.storage.postgres.connection import Lines, is_text

_KEEP = (
    "INSERT INTO refresh_token SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::bytea[], $5::bigint[])"
    " ON CONFLICT (digest) DO UPDATE SET family = excluded.family, client_id = excluded.client_id,"
    " record = excluded.record, ends_at = excluded.ends_at"
)
# Where there are no refresh tokens, there is nothing to end.
_END = (
    "INSERT INTO refresh_end SELECT row.*, last.until FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::bigint[])"
    " AS row, (SELECT max(ends_at) AS until FROM refresh_token) AS last WHERE last.until IS NOT NULL"
    " ON CONFLICT (selection) DO UPDATE SET number = excluded.number, at = excluded.at,"
    " until = greatest(refresh_end.until, excluded.until)"
)
_ENDS = "SELECT selection, number, at FROM refresh_end WHERE reach = ANY($1)"

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
        query = (
            "SELECT kind, value, at, until FROM revocation WHERE (kind, value) IN"
            " (SELECT * FROM unnest($1::text[], $2::text[]))"
        )
        known = [name for name in names if is_text(name[1])]
        async with self._lines.take() as connection:
            rows = await connection.fetch(query, [kind for kind, _ in known], [value for _, value in known])
        return [Revocation(*row) for row in rows]

    async def list(self, now: int, *, after: Revocation | None = None, limit: int | None = None) -> list[Revocation]:
        query = (
            "SELECT kind, value, at, until FROM revocation WHERE until >= $1 AND ($2::bigint IS NULL OR"
            " (-at, value, kind) > (-$2, $3::text, $4::text)) ORDER BY at DESC, value, kind LIMIT $5"
        )
        place = (None, None, None) if after is None else (after.at, after.value, after.kind)
        async with self._lines.take() as connection:
            return [Revocation(*row) for row in await connection.fetch(query, now, *place, limit)]

    async def mark(self, now: int) -> str:
        async with self._lines.take() as connection:
            return "{} {}".format(*await connection.fetchrow(f"{MARK}$1", now))


class PostgresRefreshTokens:
    """See ports.RefreshTokens."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    async def find(self, digest: bytes) -> RefreshToken | None:
        async with self._lines.take() as connection:
            found = await _read(connection, "SELECT record FROM refresh_token WHERE digest = $1", digest)
        return found[0] if found else None

    async def list(self, client_id: str | None = None, *, after: bytes = b"", limit: int = 100) -> list[RefreshToken]:
        query = (
            "SELECT record FROM refresh_token WHERE digest > $1 AND ($2::text IS NULL OR client_id = $2)"
            " ORDER BY digest LIMIT $3"
        )
        if client_id is not None and not is_text(client_id):
            return []
        async with self._lines.take() as connection:
            return await _read(connection, query, after, client_id, limit)


class Rotations:
    """The refresh tokens of one group, as its entries change them one after the other.

    The head of the audit log is locked meanwhile, and everybody who changes refresh tokens locks it: what was read
    stays true until the commit.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._tokens: dict[bytes, RefreshToken] = {}
        self._changed: dict[bytes, RefreshToken] = {}
        self._ends: dict[RefreshSelection, RefreshEnd] = {}
        self._revoked: dict[tuple[str, str], Revocation] = {}

    async def load(self, entries: Sequence[Entry]) -> None:
        """Read what the entries will spend, and the successors that were made already."""
        rotations = [entry.rotation for entry in entries if entry.rotation is not None]
        named = [digest for rotation in rotations for digest in (rotation.spent, rotation.successor)]
        if named:
            found = await _read(self._connection, "SELECT record FROM refresh_token WHERE digest = ANY($1)", named)
            self._tokens = {token.digest: token for token in found}

    def apply(self, entry: Entry, number: int) -> Outcome:
        """Do what the entry wants with refresh tokens; its claim was not lost, and its record has this number."""
        outcome = Outcome.FIRST if entry.rotation is None else self._rotate(entry.rotation, number)
        if not outcome.is_loss:
            self._change(entry, number)
        return outcome

    async def save(self) -> None:
        """Write what was changed."""
        if self._changed:
            rows = [_row(token) for token in self._changed.values()]
            await self._connection.execute(_KEEP, *map(list, zip(*rows, strict=True)))
        if self._ends:
            ends = [(msgspec.json.encode(s), s.reach, end.number, end.at) for s, end in self._ends.items()]
            await self._connection.execute(_END, *map(list, zip(*ends, strict=True)))
        if self._revoked:
            ended = [(r.kind, r.value, r.at, r.until) for r in self._revoked.values()]
            await self._connection.execute(_REVOKE, *map(list, zip(*ended, strict=True)))

    def _change(self, entry: Entry, number: int) -> None:
        at = int(entry.audit.at)
        if entry.new_refresh is not None:
            self._keep(replace(entry.new_refresh, began=number))
        for revocation in entry.revocations:
            self._revoke(revocation)
        if entry.revoke_family is not None:
            self._end_family(entry.revoke_family, number, at)
        if entry.revoke_refresh is not None:
            self._end(RefreshEnd(entry.revoke_refresh, number, at))

    def _end(self, end: RefreshEnd) -> None:
        self._ends[end.selection] = end

    def _end_family(self, family: str, number: int, now: int) -> None:
        self._end(RefreshEnd(RefreshSelection(family=family), number, now))
        self._revoke(end_of_family(family, now))

    def _revoke(self, revocation: Revocation) -> None:
        key = (revocation.kind, revocation.value)
        standing = self._revoked.get(key, revocation)
        self._revoked[key] = Revocation(*key, max(standing.at, revocation.at), max(standing.until, revocation.until))

    def _rotate(self, rotation: Rotation, number: int) -> Outcome:
        standing = self._tokens.get(rotation.spent)
        token = None if standing is None else as_ended(standing, self._ends.values())
        outcome = judge_rotation(token, rotation, self._tokens.get(rotation.successor))
        if token is not None and outcome is Outcome.FIRST:
            self._keep(replace(token, spent_at=rotation.now, successor=rotation.successor))
            self._keep(succeed(token, rotation))
        elif token is not None and outcome is Outcome.REFRESH_REUSED:
            self._end_family(token.family, number, rotation.now)
        return outcome

    def _keep(self, token: RefreshToken) -> None:
        self._tokens[token.digest] = self._changed[token.digest] = token


def _row(token: RefreshToken) -> tuple[bytes, str, str, bytes, int]:
    return token.digest, token.family, token.client_id, msgspec.json.encode(token), token.expires_at


async def _read(connection: Any, query: str, *values: object) -> list[RefreshToken]:
    """The tokens of these rows. Their ends are looked up after them: what ended before this call is among them."""
    tokens = [msgspec.json.decode(record, type=RefreshToken) for (record,) in await connection.fetch(query, *values)]
    rows = await connection.fetch(_ENDS, list({reach for token in tokens for reach in reaches(token)}))
    ends = [RefreshEnd(msgspec.json.decode(row[0], type=RefreshSelection), row[1], row[2]) for row in rows]
    return [as_ended(token, ends) for token in tokens]
