"""Claims and audit records in PostgreSQL."""

from __future__ import annotations

import secrets

from affiant.errors import StoreError
from affiant.storage.entries import KEPT_SECONDS, PROBE, PROBE_BYTES, Entry, Outcome
from affiant.storage.postgres.connection import Pool
from affiant.storage.postgres.group import LOCK_HEAD, Commits, Groups, claim_key
from affiant.storage.postgres.watch import Watch

_FIND = "SELECT expires_at FROM jti WHERE claimed = $1"
# Order: the head is locked before any claim, as in every commit. Otherwise a commit of a claim that is being deleted
# would wait for this, and this for the head. PostgreSQL checks a condition without a column first.
_PURGE = (
    "WITH head AS (SELECT FROM audit_head FOR UPDATE), ended AS (SELECT claimed FROM jti"
    " WHERE expires_at < $1 AND EXISTS (SELECT FROM head) ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)"
    ", gone AS (DELETE FROM jti USING ended WHERE jti.claimed = ended.claimed RETURNING expires_at)"
    ", noted AS (UPDATE audit_head SET forgotten = greatest(forgotten, (SELECT max(expires_at) FROM gone))"
    " WHERE EXISTS (SELECT FROM gone)) SELECT count(*) FROM gone"
)
# SKIP LOCKED: a commit may be prolonging a row. At most 1000: more would exceed the deadline.
_FORGET = (
    "DELETE FROM revocation WHERE ctid = ANY(ARRAY("
    "SELECT ctid FROM revocation WHERE until < $1 ORDER BY until LIMIT 1000 FOR UPDATE SKIP LOCKED))"
)
_FORGET_REFRESH = (
    "WITH gone AS (DELETE FROM refresh_token WHERE ctid = ANY(ARRAY("
    "SELECT ctid FROM refresh_token WHERE ends_at < $1 ORDER BY ends_at LIMIT $2 FOR UPDATE SKIP LOCKED)) RETURNING 1)"
    " SELECT count(*) FROM gone"
)
# Not by a clock: an end outlives every family that began before it, and rotation prolongs none.
_OVER = "until < coalesce((SELECT min(ends_at) FROM refresh_token), 9223372036854775807)"
_ARE_ENDS_OVER = f"SELECT EXISTS (SELECT FROM refresh_end WHERE {_OVER})"  # noqa: S608
# Checked again with the head locked: then no commit ends or begins anything.
_FORGET_ENDS = (
    f"BEGIN; {LOCK_HEAD}; DELETE FROM refresh_end WHERE ctid = ANY(ARRAY("  # noqa: S608
    f"SELECT ctid FROM refresh_end WHERE {_OVER} ORDER BY until LIMIT 1000)); COMMIT"
)
_FILL = "INSERT INTO setting VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
# One statement, so one moment. The head row has the highest number ever given, even if the newest rows are deleted.
HEAD = (
    "SELECT coalesce(last.number, 0), coalesce(last.link, $1), audit_head.number FROM audit_head"
    " LEFT JOIN LATERAL (SELECT number, link FROM audit ORDER BY number DESC LIMIT 1) AS last ON true"
)


class PostgresLedger:
    """Claims go through the pool of one connection, all else through the other."""

    def __init__(self, pool: Pool, commits: Pool, watch: Watch, audit_key: bytes) -> None:
        self._pool = pool
        self._watch = watch
        self._groups = Groups(Commits(commits, audit_key).commit)

    async def claim(self, entry: Entry) -> Outcome:
        self._watch.check_clock()
        return await self._groups.submit(entry)

    async def find_claim(self, client_id: str, digest: bytes) -> int | None:
        rows = await self._pool.fetch(_FIND, claim_key(client_id, digest))
        return rows[0][0] if rows else None

    async def purge(self, before: int, *, limit: int = 100) -> int:
        # A node whose clock is wrong would delete claims that others still need.
        self._watch.check_clock()
        if self._groups.has_failed:
            await self._prove()
        async with self._pool.take() as connection:
            if not self._watch.is_runner:
                # Another node deletes. But the caller must learn here whether the store takes writes.
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
        # In two commits: within one, nothing need reach the disk.
        async with self._pool.take() as connection:
            await connection.execute(_FILL, PROBE, secrets.token_hex(PROBE_BYTES // 2))
            await connection.execute("DELETE FROM setting WHERE name = $1", PROBE)
        self._groups.has_failed = False

    def open(self) -> None:
        self._groups.open()

    async def close(self) -> None:
        await self._groups.close()
