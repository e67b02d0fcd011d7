"""Claims and audit records in PostgreSQL."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from affiant.errors import StoreError
from affiant.storage.entries import GENESIS, KEPT_SECONDS, PROBE, PROBE_BYTES, AuditHead, AuditRow, Entry, Outcome
from affiant.storage.postgres.commit import LOCK_HEAD, Commits, claim_key
from affiant.storage.postgres.connection import Lines, is_text
from affiant.storage.postgres.group import Groups
from affiant.storage.postgres.watch import Watch

_FIND = "SELECT expires_at FROM jti WHERE claimed = $1"
# The head is locked before any claim, as in every commit: one that comes back while it is deleted would wait for this,
# and this for the head. A condition without a column is looked at first.
_PURGE = (
    "WITH head AS (SELECT FROM audit_head FOR UPDATE), ended AS (SELECT claimed FROM jti"
    " WHERE expires_at < $1 AND EXISTS (SELECT FROM head) ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)"
    ", gone AS (DELETE FROM jti USING ended WHERE jti.claimed = ended.claimed RETURNING expires_at)"
    ", noted AS (UPDATE audit_head SET forgotten = greatest(forgotten, (SELECT max(expires_at) FROM gone))"
    " WHERE EXISTS (SELECT FROM gone)) SELECT count(*) FROM gone"
)
# Those that a commit prolongs meanwhile are its own; and many at once would take longer than there is time.
_FORGET = (
    "DELETE FROM revocation WHERE ctid = ANY(ARRAY("
    "SELECT ctid FROM revocation WHERE until < $1 ORDER BY until LIMIT 1000 FOR UPDATE SKIP LOCKED))"
)
_FORGET_REFRESH = (
    "WITH gone AS (DELETE FROM refresh_token WHERE ctid = ANY(ARRAY("
    "SELECT ctid FROM refresh_token WHERE ends_at < $1 ORDER BY ends_at LIMIT $2 FOR UPDATE SKIP LOCKED)) RETURNING 1)"
    " SELECT count(*) FROM gone"
)
# Not by a clock: an end outlives all that began before it, and rotation prolongs no family.
_OVER = "until < coalesce((SELECT min(ends_at) FROM refresh_token), 9223372036854775807)"
_ARE_ENDS_OVER = f"SELECT EXISTS (SELECT FROM refresh_end WHERE {_OVER})"  # noqa: S608
# With the head locked, and looked at anew: no commit ends or begins anything meanwhile.
_FORGET_ENDS = (
    f"BEGIN; {LOCK_HEAD}; DELETE FROM refresh_end WHERE ctid = ANY(ARRAY("  # noqa: S608
    f"SELECT ctid FROM refresh_end WHERE {_OVER} ORDER BY until LIMIT 1000)); COMMIT"
)
_FILL = "INSERT INTO setting VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_EXPORT = "SELECT number, trace_id, record, link FROM audit WHERE number >= $1 ORDER BY number LIMIT $2"
_NEWEST = "SELECT number, trace_id, record, link FROM audit WHERE number < $1 ORDER BY number DESC LIMIT $2"
# One statement, so one moment. The head row keeps the highest number ever given, though rows be cut off the end.
_HEAD = (
    "SELECT coalesce(last.number, 0), coalesce(last.link, $1), audit_head.number FROM audit_head"
    " LEFT JOIN LATERAL (SELECT number, link FROM audit ORDER BY number DESC LIMIT 1) AS last ON true"
)
_BEFORE_ALL, _AFTER_ALL = -(2**63), 2**63 - 1


class PostgresLedger:
    """See ports.Ledger."""

    def __init__(self, lines: Lines, line: Lines, watch: Watch, audit_key: bytes) -> None:
        self._lines = lines
        self._watch = watch
        self._groups = Groups(Commits(line, audit_key).commit)

    async def claim(self, entry: Entry) -> Outcome:
        self._watch.check_clock()
        return await self._groups.submit(entry)

    async def find_claim(self, client_id: str, digest: bytes) -> int | None:
        async with self._lines.take() as connection:
            found: int | None = await connection.fetchval(_FIND, claim_key(client_id, digest))
        return found

    async def purge(self, before: int, *, limit: int = 100) -> int:
        # A node with a wrong clock would delete what others still need.
        self._watch.check_clock()
        if self._groups.has_failed:
            await self._prove()
        async with self._lines.take() as connection:
            if not self._watch.is_runner:
                # The callers of this learn from it whether the store can be written: nobody else's work tells them.
                if await connection.fetchval("SHOW transaction_read_only") == "on":
                    raise StoreError("the database takes no writes")
                return 0
            deleted: int = await connection.fetchval(_PURGE, before, limit)
            await connection.execute(_FORGET, before - KEPT_SECONDS)
            refresh: int = await connection.fetchval(_FORGET_REFRESH, before - KEPT_SECONDS, limit)
            if await connection.fetchval(_ARE_ENDS_OVER):
                await connection.execute(_FORGET_ENDS)
        return deleted + refresh

    async def _prove(self) -> None:
        """Write PROBE_BYTES and delete them, in two commits."""
        async with self._lines.take() as connection:
            await connection.execute(_FILL, PROBE, secrets.token_hex(PROBE_BYTES // 2))
            await connection.execute("DELETE FROM setting WHERE name = $1", PROBE)
        self._groups.has_failed = False

    def open(self) -> None:
        """Take entries."""
        self._groups.open()

    async def close(self) -> None:
        """Commit what is waiting."""
        await self._groups.close()


class PostgresAuditLog:
    """See ports.AuditLog."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    async def find(self, trace_id: str) -> dict[str, Any] | None:
        if not is_text(trace_id):
            return None
        async with self._lines.take() as connection:
            record = await connection.fetchval("SELECT record FROM audit WHERE trace_id = $1 LIMIT 1", trace_id)
        return None if record is None else msgspec.json.decode(record, type=dict[str, Any])

    async def export(self, *, after: int | None = None, limit: int = 1000) -> list[AuditRow]:
        start = _BEFORE_ALL if after is None else min(after + 1, _AFTER_ALL)
        async with self._lines.take() as connection:
            rows = await connection.fetch(_EXPORT, start, limit)
        return [AuditRow(*row) for row in rows]

    async def newest(self, *, before: int | None = None, limit: int = 1000) -> list[AuditRow]:
        end = _AFTER_ALL if before is None else max(min(before, _AFTER_ALL), _BEFORE_ALL)
        async with self._lines.take() as connection:
            return [AuditRow(*row) for row in await connection.fetch(_NEWEST, end, limit)]

    async def head(self) -> AuditHead:
        async with self._lines.take() as connection:
            return AuditHead(*await connection.fetchrow(_HEAD, GENESIS))
