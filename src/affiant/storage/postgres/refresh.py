"""Refresh tokens in PostgreSQL: found by anybody, made and rotated inside a group's commit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from affiant.storage.records import Outcome, RefreshToken, judge_rotation, succeed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from affiant.storage.postgres.connection import Lines
    from affiant.storage.records import Entry, Rotation

_KEEP = (
    "INSERT INTO refresh_token SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::bytea[])"
    " ON CONFLICT (digest) DO UPDATE SET family = excluded.family, client_id = excluded.client_id,"
    " record = excluded.record"
)


class PostgresRefreshTokens:
    """See ports.RefreshTokens."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    async def find(self, digest: bytes) -> RefreshToken | None:
        """See ports.RefreshTokens."""
        async with self._lines.take() as connection:
            record = await connection.fetchval("SELECT record FROM refresh_token WHERE digest = $1", digest)
        return None if record is None else _read(record)


class Rotations:
    """The refresh tokens of one group, as its entries change them one after the other.

    The head of the audit log is locked meanwhile, and everybody who changes refresh tokens locks it: what was read
    stays true until the commit.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._tokens: dict[bytes, RefreshToken] = {}
        self._changed: dict[bytes, RefreshToken] = {}

    async def load(self, entries: Sequence[Entry]) -> None:
        """Read what the entries will spend."""
        spent = [entry.rotation.spent for entry in entries if entry.rotation is not None]
        if spent:
            self._add(await self._connection.fetch("SELECT record FROM refresh_token WHERE digest = ANY($1)", spent))

    async def apply(self, entry: Entry) -> Outcome:
        """Do what the entry wants with refresh tokens; its claim was not lost."""
        outcome = Outcome.FIRST if entry.rotation is None else await self._rotate(entry.rotation)
        if entry.new_refresh is not None and not outcome.is_loss:
            self._keep(entry.new_refresh)
        return outcome

    async def save(self) -> None:
        """Write what was changed."""
        if self._changed:
            rows = [(t.digest, t.family, t.client_id, msgspec.json.encode(t)) for t in self._changed.values()]
            await self._connection.execute(_KEEP, *map(list, zip(*rows, strict=True)))

    async def _rotate(self, rotation: Rotation) -> Outcome:
        token = self._tokens.get(rotation.spent)
        outcome = judge_rotation(token, rotation)
        if token is not None and outcome is Outcome.FIRST:
            self._keep(replace(token, spent_at=rotation.now, successor=rotation.successor))
            self._keep(succeed(token, rotation))
        elif token is not None and outcome is Outcome.REFRESH_REUSED:
            query = "SELECT record FROM refresh_token WHERE family = $1"
            self._add(await self._connection.fetch(query, token.family))
            for kin in [kin for kin in self._tokens.values() if kin.family == token.family]:
                self._keep(replace(kin, revoked_at=rotation.now))
        return outcome

    def _add(self, rows: Sequence[Any]) -> None:
        for (record,) in rows:
            token = _read(record)
            self._tokens.setdefault(token.digest, token)  # what this group has changed already is newer

    def _keep(self, token: RefreshToken) -> None:
        self._tokens[token.digest] = self._changed[token.digest] = token


def _read(record: bytes) -> RefreshToken:
    return msgspec.json.decode(record, type=RefreshToken)
