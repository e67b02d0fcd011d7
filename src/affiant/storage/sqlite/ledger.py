"""Claims, refresh tokens and audit records in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from affiant.storage.entries import (
    GENESIS,
    KEPT_SECONDS,
    MARK,
    AuditHead,
    AuditRow,
    Entry,
    Outcome,
    RefreshEnd,
    RefreshSelection,
    RefreshToken,
    Revocation,
    Rotation,
    as_ended,
    chain,
    end_of_family,
    judge_rotation,
    reaches,
    succeed,
)
from affiant.storage.sqlite.connection import translated
from affiant.storage.sqlite.pages import Pages
from affiant.storage.sqlite.writer import Transaction, Writer

_REVOKE = (
    "INSERT INTO revocation (kind, value, at, until) VALUES (?, ?, ?, ?) ON CONFLICT (kind, value) DO UPDATE SET"
    " at = max(at, excluded.at), until = max(until, excluded.until)"
)
_CLAIM = "INSERT INTO jti (client_id, digest, expires_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_AUDIT = "INSERT INTO audit (trace_id, record, link) VALUES (?, ?, ?)"
# One statement, so one moment. SQLite keeps the highest number it ever gave apart from the rows: cutting rows off the
# end leaves it.
_HEAD = (
    "SELECT coalesce(max(number), 0), coalesce((SELECT link FROM audit ORDER BY number DESC LIMIT 1), ?),"
    " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'audit'), 0) FROM audit"
)
_HIGHEST = 2**63 - 1  # that a column holds
_BEFORE_ALL, _AFTER_ALL = float("-inf"), float("inf")
_PURGE = (
    "DELETE FROM jti WHERE (client_id, digest) IN"
    " (SELECT client_id, digest FROM jti WHERE expires_at < ? ORDER BY expires_at LIMIT ?) RETURNING expires_at"
)
# Many at once would keep the others waiting.
_FORGET = (
    "DELETE FROM revocation WHERE (kind, value) IN"
    " (SELECT kind, value FROM revocation WHERE until < ? ORDER BY until LIMIT 1000)"
)
_FORGET_REFRESH = (
    "DELETE FROM refresh_token WHERE digest IN"
    " (SELECT digest FROM refresh_token WHERE ends_at < ? ORDER BY ends_at LIMIT ?)"
)
# Not by a clock: an end outlives all that began before it, and rotation prolongs no family.
_FORGET_ENDS = (
    "DELETE FROM refresh_end WHERE selection IN (SELECT selection FROM refresh_end"
    " WHERE until < coalesce((SELECT min(ends_at) FROM refresh_token), ?) ORDER BY until LIMIT 1000)"
)
_KEEP = "INSERT OR REPLACE INTO refresh_token (digest, family, client_id, record, ends_at) VALUES (?, ?, ?, ?, ?)"
# Where there are no refresh tokens, there is nothing to end. The innermost SELECT stands alone: SQLite would push the
# condition into it, and look at every row instead of the last one.
_END = (
    "INSERT INTO refresh_end (selection, reach, number, at, until) SELECT ?, ?, ?, ?, until"
    " FROM (SELECT (SELECT max(ends_at) FROM refresh_token) AS until) WHERE until IS NOT NULL ON CONFLICT (selection)"
    " DO UPDATE SET number = excluded.number, at = excluded.at, until = max(until, excluded.until)"
)
_ENDS = "SELECT selection, number, at FROM refresh_end WHERE reach IN (?, ?, ?)"


class SqliteLedger:
    """See ports.Ledger."""

    def __init__(
        self, writer: Callable[[], Writer], reader: Callable[[], sqlite3.Connection], audit_key: bytes
    ) -> None:
        self._writer = writer
        self._reader = reader
        # Made once: entries share a commit when they bring the same work.
        self._claim = partial(commit, audit_key)

    async def find_claim(self, client_id: str, digest: bytes) -> int | None:
        query = "SELECT expires_at FROM jti WHERE client_id = ? AND digest = ?"
        with translated():
            row = self._reader().execute(query, (client_id, digest)).fetchone()
        return int(row[0]) if row else None

    async def claim(self, entry: Entry) -> Outcome:
        outcome: Outcome = await self._writer().submit(self._claim, entry)
        return outcome

    async def purge(self, before: int, *, limit: int = 100) -> int:
        def work(transaction: Transaction) -> int:
            execute = transaction.connection.execute
            execute(_FORGET, (before - KEPT_SECONDS,))
            refresh: int = execute(_FORGET_REFRESH, (before - KEPT_SECONDS, limit)).rowcount
            execute(_FORGET_ENDS, (_HIGHEST,))
            ends = [end for (end,) in execute(_PURGE, (before, limit)).fetchall()]
            if ends:
                execute("UPDATE forgotten SET until = max(until, ?)", (max(ends),))
            return len(ends) + refresh

        deleted: int = await self._writer().change(work)
        await self._writer().prove()
        return deleted


class SqliteRefreshTokens:
    """See ports.RefreshTokens."""

    def __init__(self, reader: Callable[[], sqlite3.Connection], pages: Callable[[], Pages]) -> None:
        self._reader = reader
        self._pages = pages

    async def find(self, digest: bytes) -> RefreshToken | None:
        with translated():
            return _find(self._reader(), digest)

    async def list(self, client_id: str | None = None, *, after: bytes = b"", limit: int = 100) -> list[RefreshToken]:
        # Two statements: with one for both, SQLite looks through the tokens of all clients.
        mine, values = ("", ()) if client_id is None else ("client_id = ? AND ", (client_id,))
        query = f"SELECT record FROM refresh_token WHERE {mine}digest > ? ORDER BY digest LIMIT ?"  # noqa: S608

        def read(connection: sqlite3.Connection) -> list[RefreshToken]:
            return [_read(connection, row) for row in connection.execute(query, (*values, after, limit)).fetchall()]

        return await self._pages().read(read)


class SqliteRevocations:
    """See ports.Revocations."""

    def __init__(self, reader: Callable[[], sqlite3.Connection], pages: Callable[[], Pages]) -> None:
        self._reader = reader
        self._pages = pages

    async def find(self, names: Sequence[tuple[str, str]]) -> list[Revocation]:
        wanted = ", ".join(["(?, ?)"] * len(names))
        query = f"SELECT kind, value, at, until FROM revocation WHERE (kind, value) IN (VALUES {wanted})"  # noqa: S608
        if not names:
            return []
        with translated():
            rows = self._reader().execute(query, [part for name in names for part in name])
            return [Revocation(*row) for row in rows]

    async def list(self, now: int, *, after: Revocation | None = None, limit: int | None = None) -> list[Revocation]:
        query = (
            "SELECT kind, value, at, until FROM revocation WHERE until >= ? AND (? IS NULL OR (-at, value, kind) >"
            " (-?, ?, ?)) ORDER BY at DESC, value, kind LIMIT ?"
        )
        place = (None, None, None) if after is None else (after.at, after.value, after.kind)
        values = (now, place[0], *place, -1 if limit is None else limit)
        return await self._pages().read(lambda found: [Revocation(*row) for row in found.execute(query, values)])

    async def mark(self, now: int) -> str:
        with translated():
            return "{} {}".format(*self._reader().execute(f"{MARK}?", (now,)).fetchone())


class SqliteAuditLog:
    """See ports.AuditLog."""

    def __init__(self, reader: Callable[[], sqlite3.Connection], pages: Callable[[], Pages]) -> None:
        self._reader = reader
        self._pages = pages

    async def find(self, trace_id: str) -> dict[str, Any] | None:
        with translated():
            row = self._reader().execute("SELECT record FROM audit WHERE trace_id = ?", (trace_id,)).fetchone()
        return msgspec.json.decode(row[0], type=dict[str, Any]) if row else None

    async def export(self, *, after: int | None = None, limit: int = 1000) -> list[AuditRow]:
        query = "SELECT number, trace_id, record, link FROM audit WHERE number > ? ORDER BY number LIMIT ?"
        start = _BEFORE_ALL if after is None else after
        return await self._pages().read(lambda found: list(map(AuditRow._make, found.execute(query, (start, limit)))))

    async def newest(self, *, before: int | None = None, limit: int = 1000) -> list[AuditRow]:
        query = "SELECT number, trace_id, record, link FROM audit WHERE number < ? ORDER BY number DESC LIMIT ?"
        end = _AFTER_ALL if before is None else min(before, _HIGHEST)
        return await self._pages().read(lambda found: list(map(AuditRow._make, found.execute(query, (end, limit)))))

    async def head(self) -> AuditHead:
        with translated():
            return AuditHead._make(self._reader().execute(_HEAD, (GENESIS,)).fetchone())


def commit(audit_key: bytes, transaction: Transaction, entries: Sequence[Entry]) -> list[Outcome]:
    """Do what these entries want in this transaction, and append their records."""
    connection = transaction.connection
    (forgotten,) = connection.execute("SELECT until FROM forgotten").fetchone()
    # Read inside the transaction: another process may have written since the last one.
    newest, link, given = connection.execute(_HEAD, (GENESIS,)).fetchone()
    numbered = enumerate(entries, max(newest, given) + 1)
    outcomes = [_apply(connection, entry, forgotten, number) for number, entry in numbered]
    rows = []
    for entry, outcome in zip(entries, outcomes, strict=True):
        audit = entry.audit.refused(outcome.value) if outcome.is_loss else entry.audit
        record = audit.to_json()
        link = chain(link, record, audit_key)
        rows.append((audit.trace_id, record, link))
    connection.executemany(_AUDIT, rows)
    return outcomes


def _apply(connection: sqlite3.Connection, entry: Entry, forgotten: int, number: int) -> Outcome:
    first = True
    if entry.claim is not None:
        claim = entry.claim
        # What was deleted by a clock that ran ahead: nobody knows any more whether this one was among it.
        if claim.expires_at <= forgotten:
            return Outcome.REPLAYED
        first = connection.execute(_CLAIM, (claim.client_id, claim.digest, claim.expires_at)).rowcount == 1
        if not first and not entry.tolerate_repeat:
            return Outcome.REPLAYED
    outcome = _rotate(connection, entry.rotation, number) if entry.rotation is not None else Outcome.FIRST
    if not outcome.is_loss:
        _change(connection, entry, number)
    return Outcome.REPEATED if not first and outcome is Outcome.FIRST else outcome


def _change(connection: sqlite3.Connection, entry: Entry, number: int) -> None:
    at = int(entry.audit.at)
    if entry.new_refresh is not None:
        _keep(connection, replace(entry.new_refresh, began=number))
    for revocation in entry.revocations:
        connection.execute(_REVOKE, (revocation.kind, revocation.value, revocation.at, revocation.until))
    if entry.revoke_family is not None:
        _end_family(connection, entry.revoke_family, number, at)
    if entry.revoke_refresh is not None:
        _end(connection, entry.revoke_refresh, number, at)


def _end_family(connection: sqlite3.Connection, family: str, number: int, now: int) -> None:
    _end(connection, RefreshSelection(family=family), number, now)
    ended = end_of_family(family, now)
    connection.execute(_REVOKE, (ended.kind, ended.value, ended.at, ended.until))


def _end(connection: sqlite3.Connection, selection: RefreshSelection, number: int, now: int) -> None:
    connection.execute(_END, (msgspec.json.encode(selection), selection.reach, number, now))


def _rotate(connection: sqlite3.Connection, rotation: Rotation, number: int) -> Outcome:
    token = _find(connection, rotation.spent)
    outcome = judge_rotation(token, rotation, _find(connection, rotation.successor))
    if token is not None and outcome is Outcome.FIRST:
        _keep(connection, replace(token, spent_at=rotation.now, successor=rotation.successor))
        _keep(connection, succeed(token, rotation))
    elif token is not None and outcome is Outcome.REFRESH_REUSED:
        _end_family(connection, token.family, number, rotation.now)
    return outcome


def _find(connection: sqlite3.Connection, digest: bytes) -> RefreshToken | None:
    row = connection.execute("SELECT record FROM refresh_token WHERE digest = ?", (digest,)).fetchone()
    return _read(connection, row) if row else None


def _read(connection: sqlite3.Connection, row: tuple[bytes]) -> RefreshToken:
    """The token of this row. Its ends are looked up after it: what ended before this call is always among them."""
    token = msgspec.json.decode(row[0], type=RefreshToken)
    ends = connection.execute(_ENDS, reaches(token)).fetchall()
    return as_ended(token, [RefreshEnd(msgspec.json.decode(s, type=RefreshSelection), n, at) for s, n, at in ends])


def _keep(connection: sqlite3.Connection, token: RefreshToken) -> None:
    row = (token.digest, token.family, token.client_id, msgspec.json.encode(token), token.expires_at)
    connection.execute(_KEEP, row)
