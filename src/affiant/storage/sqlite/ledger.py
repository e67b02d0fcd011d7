"""Claims, refresh tokens and audit records in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec

from affiant.storage.commit import Commit, dependencies, named, parse_ends, seal
from affiant.storage.entries import (
    GENESIS,
    KEPT_SECONDS,
    Entry,
    JtiClaim,
    Outcome,
    RefreshToken,
    Revocation,
    as_ended,
    reaches,
)
from affiant.storage.sql import HIGHEST
from affiant.storage.sqlite.connection import Reads, numbered
from affiant.storage.sqlite.writer import Transaction, Writer

_REVOKE = (
    "INSERT INTO revocation (kind, value, at, until) VALUES (?, ?, ?, ?) ON CONFLICT (kind, value) DO UPDATE SET"
    " at = max(at, excluded.at), until = max(until, excluded.until)"
)
_REVOKED = "SELECT kind, value, at, until FROM revocation WHERE kind = ? AND value = ?"
_CLAIM = "INSERT INTO jti (client_id, digest, expires_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_AUDIT = "INSERT INTO audit (trace_id, record, link) VALUES (?, ?, ?)"
# One statement, so one moment. SQLite stores the highest number it ever gave apart from the rows, so that deleting the
# newest rows leaves it.
HEAD = (
    "SELECT coalesce(max(number), 0), coalesce((SELECT link FROM audit ORDER BY number DESC LIMIT 1), ?1),"
    " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'audit'), 0) FROM audit"
)
_NO_RECORD = numbered((GENESIS,))
_PURGE = (
    "DELETE FROM jti WHERE (client_id, digest) IN"
    " (SELECT client_id, digest FROM jti WHERE expires_at < ? ORDER BY expires_at LIMIT ?) RETURNING expires_at"
)
# At most 1000: many at once would block other writes.
_FORGET = (
    "DELETE FROM revocation WHERE (kind, value) IN"
    " (SELECT kind, value FROM revocation WHERE until < ? ORDER BY until LIMIT 1000)"
)
_FORGET_REFRESH = (
    "DELETE FROM refresh_token WHERE digest IN"
    " (SELECT digest FROM refresh_token WHERE ends_at < ? ORDER BY ends_at LIMIT ?)"
)
# Not by a clock: an end outlives every family that began before it, and rotation prolongs none.
_FORGET_ENDS = (
    "DELETE FROM refresh_end WHERE selection IN (SELECT selection FROM refresh_end"
    " WHERE until < coalesce((SELECT min(ends_at) FROM refresh_token), ?) ORDER BY until LIMIT 1000)"
)
_KEEP = "INSERT OR REPLACE INTO refresh_token (digest, family, client_id, record, ends_at) VALUES (?, ?, ?, ?, ?)"
# Without refresh tokens there is nothing to end. The innermost SELECT has no condition: with one, SQLite would read
# every row instead of the last.
_END = (
    "INSERT INTO refresh_end (selection, reach, number, at, until) SELECT ?, ?, ?, ?, until"
    " FROM (SELECT (SELECT max(ends_at) FROM refresh_token) AS until) WHERE until IS NOT NULL ON CONFLICT (selection)"
    " DO UPDATE SET number = excluded.number, at = excluded.at, until = max(until, excluded.until)"
)
_ENDS = "SELECT selection, number, at FROM refresh_end WHERE reach IN (?, ?, ?)"


class SqliteLedger:
    def __init__(self, reads: Reads, writer: Callable[[], Writer], audit_key: bytes) -> None:
        self._writer = writer
        self._reads = reads
        # Made once: only entries with the same work share a commit.
        self._claim = partial(commit, audit_key)

    async def find_claim(self, client_id: str, digest: bytes) -> int | None:
        query = "SELECT expires_at FROM jti WHERE client_id = $1 AND digest = $2"
        rows = await self._reads.fetch(query, client_id, digest)
        return int(rows[0][0]) if rows else None

    def claim(self, entry: Entry) -> Awaitable[Outcome]:
        return self._writer().submit(self._claim, entry)

    async def purge(self, before: int, *, limit: int = 100) -> int:
        def work(transaction: Transaction) -> int:
            execute = transaction.connection.execute
            execute(_FORGET, (before - KEPT_SECONDS,))
            refresh: int = execute(_FORGET_REFRESH, (before - KEPT_SECONDS, limit)).rowcount
            execute(_FORGET_ENDS, (HIGHEST,))
            ends = [end for (end,) in execute(_PURGE, (before, limit)).fetchall()]
            if ends:
                execute("UPDATE forgotten SET until = max(until, ?)", (max(ends),))
            return len(ends) + refresh

        deleted: int = await self._writer().change(work)
        await self._writer().prove()
        return deleted


def commit(audit_key: bytes, transaction: Transaction, entries: Sequence[Entry]) -> list[Outcome]:
    """Apply these entries in this transaction, and append their audit records."""
    connection = transaction.connection
    # Read inside the transaction: another process may have written since the last one.
    (forgotten,) = connection.execute("SELECT until FROM forgotten").fetchone()
    newest, link, given = connection.execute(HEAD, _NO_RECORD).fetchone()
    number = max(newest, given)
    tokens = [token for digest in named(entries) if (token := _find(connection, digest)) is not None]
    revoked = [row for name in dependencies(entries) if (row := _find_revocation(connection, name)) is not None]
    work = Commit(number=number, forgotten=forgotten, tokens=tokens, revoked=revoked)
    outcomes = [work.apply(entry, partial(_claim, connection, forgotten)) for entry in entries]
    for statement, rows in zip((_KEEP, _END, _REVOKE), work.rows(), strict=True):
        if rows:
            connection.executemany(statement, rows)
    records = seal(number, link, entries, outcomes, audit_key)
    connection.executemany(_AUDIT, [(row.trace_id, row.record, row.link) for row in records])
    transaction.rows += records
    return outcomes


def _claim(connection: sqlite3.Connection, forgotten: int, claim: JtiClaim) -> bool:
    if claim.expires_at <= forgotten:
        return False
    return connection.execute(_CLAIM, (claim.client_id, claim.digest, claim.expires_at)).rowcount == 1


def _find_revocation(connection: sqlite3.Connection, name: tuple[str, str]) -> Revocation | None:
    row = connection.execute(_REVOKED, name).fetchone()
    return Revocation(*row) if row else None


def _find(connection: sqlite3.Connection, digest: bytes) -> RefreshToken | None:
    row = connection.execute("SELECT record FROM refresh_token WHERE digest = ?", (digest,)).fetchone()
    return _read(connection, row) if row else None


def _read(connection: sqlite3.Connection, row: tuple[bytes]) -> RefreshToken:
    token = msgspec.json.decode(row[0], type=RefreshToken)
    # Order: the ends after the token, so that an end that was committed before this call is always among them.
    return as_ended(token, parse_ends(connection.execute(_ENDS, reaches(token))))
