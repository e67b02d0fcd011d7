"""The ledger of a node: what arrives while a commit runs shares the next one.

In one transaction a group claims its jtis, changes refresh tokens, and chains and appends its audit records. The chain
is one for all nodes, and its key is not in the database: a node must know the newest link to make the next. The node
that committed last knows it, unless another has committed since. So a group begins with a guess, that none has and that
its jtis are new, and then takes one round trip. A node that guessed wrong asks first, which takes four; it asks until
it finds that it was alone.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from hashlib import sha256
from typing import Any

import asyncpg
import msgspec

from affiant.errors import Error, StoreError
from affiant.storage.commit import Commit, dependencies, named, parse_ends, seal
from affiant.storage.entries import (
    KEPT_SECONDS,
    PROBE,
    PROBE_BYTES,
    AuditRow,
    Entry,
    JtiClaim,
    Outcome,
    RefreshToken,
    Revocation,
    as_ended,
    reaches,
)
from affiant.storage.postgres.connection import Pool
from affiant.storage.postgres.watch import Watch

MAX_GROUP = 256
MAX_QUEUE = 20_000  # more than this waiting means the database does not keep up: refuse, do not pile up
WAIT_SECONDS = 2.5  # how long an entry waits, its commit included
COMMIT_SECONDS = 2.0

_GUESS = "SELECT commit_as_guessed($1, $2, $3, $4, $5, $6)"
# A statement of its own: the next one then sees everything that was committed before the lock was granted.
LOCK_HEAD = "SELECT FROM audit_head FOR UPDATE"
_BEGIN = f"BEGIN; {LOCK_HEAD}"
_CLAIM = (
    "WITH won AS (INSERT INTO jti SELECT claim.* FROM unnest($1::bytea[], $2::bigint[]) AS claim (claimed, until),"
    " audit_head WHERE until > forgotten ON CONFLICT DO NOTHING RETURNING claimed)"
    " SELECT number, link, forgotten, ARRAY(SELECT claimed FROM won) FROM audit_head"
)
_APPEND = (
    "WITH appended AS (INSERT INTO audit SELECT $1 + place, trace_id, record, link"
    " FROM unnest($2::text[], $3::bytea[], $4::bytea[]) WITH ORDINALITY AS row (trace_id, record, link, place))"
    " UPDATE audit_head SET number = $1 + $5, link = $6"
)
_KEEP = (
    "INSERT INTO refresh_token SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::bytea[], $5::bigint[])"
    " ON CONFLICT (digest) DO UPDATE SET family = excluded.family, client_id = excluded.client_id,"
    " record = excluded.record, ends_at = excluded.ends_at"
)
# Without refresh tokens there is nothing to end.
_END = (
    "INSERT INTO refresh_end SELECT row.*, last.until FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::bigint[])"
    " AS row, (SELECT max(ends_at) AS until FROM refresh_token) AS last WHERE last.until IS NOT NULL"
    " ON CONFLICT (selection) DO UPDATE SET number = excluded.number, at = excluded.at,"
    " until = greatest(refresh_end.until, excluded.until)"
)
_REVOKE = (
    "INSERT INTO revocation SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])"
    " ON CONFLICT (kind, value) DO UPDATE SET at = greatest(revocation.at, excluded.at),"
    " until = greatest(revocation.until, excluded.until)"
)
_REVOKED = (
    "SELECT kind, value, at, until FROM revocation"
    " WHERE (kind, value) IN (SELECT * FROM unnest($1::text[], $2::text[]))"
)
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
Waiting = tuple[Entry, asyncio.Future[Outcome]]


class PostgresLedger:
    """Claims go through the pool of one connection, all else through the other."""

    def __init__(self, pool: Pool, watch: Watch, commits: Commits) -> None:
        self._pool = pool
        self._watch = watch
        self._groups = Groups(commits.commit)

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

    @property
    def waiting(self) -> int:
        """How many entries wait for a group, or are in the one that is being committed."""
        return self._groups.waiting

    def open(self) -> None:
        self._groups.open()

    async def close(self) -> None:
        await self._groups.close()


class NotCommitted(StoreError):
    """Nothing of the group was committed, and one of its entries may be the cause."""


class Groups:
    """Commits entries together, one group after the other.

    `commit` takes a group, and returns an outcome for each once they are durable.
    """

    def __init__(self, commit: Callable[[Sequence[Entry]], Awaitable[Sequence[Outcome]]]) -> None:
        self._commit = commit
        self._waiting: deque[Waiting] = deque()
        self._running: asyncio.Task[None] | None = None
        self._committing = 0
        self._is_closing = False
        self.has_failed: bool = False  # since the last reset, and not because of an entry

    @property
    def waiting(self) -> int:
        return len(self._waiting) + self._committing

    def open(self) -> None:
        self._is_closing = False

    async def submit(self, entry: Entry) -> Outcome:
        """Commit this entry with others. After a StoreError it may have been committed or not."""
        if self._is_closing or len(self._waiting) >= MAX_QUEUE:
            raise StoreError("the database is closing" if self._is_closing else "too many writes are waiting")
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, future))
        if self._running is None:
            # It begins in the next turn of the loop, so that the rest of this turn is in the first group too.
            self._running = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await future
        except TimeoutError:
            raise StoreError("the database did not commit in time") from None

    async def close(self) -> None:
        """Commit what is waiting."""
        self._is_closing = True
        if self._running is not None:
            await self._running

    async def _run(self) -> None:
        try:
            while self._waiting:
                size = min(len(self._waiting), MAX_GROUP)
                taken = [self._waiting.popleft() for _ in range(size)]
                # A caller that stopped waiting has got an error: its entry must not be committed after all.
                group = [(entry, future) for entry, future in taken if not future.done()]
                if group:
                    self._committing = len(group)
                    await self._settle(group)
        finally:
            self._running, self._committing = None, 0

    async def _settle(self, group: list[Waiting]) -> None:
        try:
            outcomes = await self._commit([entry for entry, _ in group])
        except NotCommitted as error:
            if len(group) == 1:
                _fail(group, error)
                return
            for one in group:  # so that only the bad entry fails
                await self._settle([one])
        except Exception as error:  # noqa: BLE001 - every entry of the group needs its answer
            self.has_failed = True
            # No retry: the commit may have happened, and only its answer been lost.
            _fail(group, error)
        else:
            for (_, future), outcome in zip(group, outcomes, strict=True):
                if not future.done():
                    future.set_result(outcome)


def _fail(group: list[Waiting], error: Exception) -> None:
    said = str(error) if isinstance(error, Error) else f"the database did not commit: {error!r}"
    for _, future in group:
        if not future.done():
            future.set_exception(StoreError(said))


class Commits:
    """Commits the groups of one node, one after the other, on one connection; `committed` takes their audit records."""

    def __init__(self, pool: Pool, audit_key: bytes, committed: Callable[[Sequence[AuditRow]], None]) -> None:
        self._pool = pool
        self._audit_key = audit_key
        self._committed = committed
        self._head: bytes | None = None  # the newest link that this node knows of
        self._may_guess = False

    async def commit(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Commit these.

        Raises:
            NotCommitted: an entry cannot be written, and nothing was.
            StoreError: the group may have been committed or not.
        """
        # Until the answer has arrived, the newest link is not known.
        head, self._head = self._head, None
        try:
            async with self._pool.take(COMMIT_SECONDS) as connection:
                if head is not None and self._may_guess and _is_plain(entries):
                    links = await self._guess(connection, head, entries)
                    if links:
                        self._head = links[-1]
                        return [Outcome.FIRST] * len(entries)
                return await self._ask(connection, head, entries)
        except Exception as error:
            # DataError: no column can have this argument. Arguments are encoded before any COMMIT.
            if isinstance(error.__cause__, asyncpg.DataError):
                raise NotCommitted(str(error)) from error
            raise

    async def _guess(self, connection: Any, head: bytes, entries: Sequence[Entry]) -> list[bytes] | None:
        rows = seal(0, head, entries, [Outcome.FIRST] * len(entries), self._audit_key)
        _, traces, records, links = map(list, zip(*rows, strict=True))
        done = await connection.fetchval(_GUESS, head, *_claims(entries), traces, records, links)
        if not done:
            return None
        self._committed(rows)
        return links

    async def _ask(self, connection: Any, guessed: bytes | None, entries: Sequence[Entry]) -> list[Outcome]:
        await connection.execute(_BEGIN)
        outcomes, head, rows = await append(connection, entries, self._audit_key)
        await connection.execute("COMMIT")
        self._head, self._may_guess = rows[-1].link, head == guessed
        self._committed(rows)
        return outcomes


async def append(
    connection: Any, entries: Sequence[Entry], audit_key: bytes
) -> tuple[list[Outcome], bytes, list[AuditRow]]:
    """Do what these entries want, in a transaction that has locked the head of the audit log, and append their records.

    All that change refresh tokens lock the head first: what is read here stays true until the commit.

    Returns:
        An outcome for each, the newest link as it was, and the rows that it appended.
    """
    number, head, forgotten, won = await connection.fetchrow(_CLAIM, *_claims(entries))
    tokens, revoked = await _load(connection, named(entries)), await _load_revocations(connection, entries)
    work = Commit(number=number, forgotten=forgotten, tokens=tokens, revoked=revoked)
    take = partial(_take, set(won))
    outcomes = [work.apply(entry, take) for entry in entries]
    for statement, rows in zip((_KEEP, _END, _REVOKE), work.rows(), strict=True):
        if rows:
            await connection.execute(statement, *map(list, zip(*rows, strict=True)))
    records = seal(number, head, entries, outcomes, audit_key)
    _, traces, texts, links = map(list, zip(*records, strict=True))
    await connection.execute(_APPEND, number, traces, texts, links, len(links), links[-1])
    return outcomes, head, records


async def _load(connection: Any, digests: Sequence[bytes]) -> list[RefreshToken]:
    if not digests:
        return []
    rows = await connection.fetch("SELECT record FROM refresh_token WHERE digest = ANY($1)", digests)
    tokens = [msgspec.json.decode(record, type=RefreshToken) for (record,) in rows]
    found = list({reach for token in tokens for reach in reaches(token)})
    ends = parse_ends(
        await connection.fetch("SELECT selection, number, at FROM refresh_end WHERE reach = ANY($1)", found)
    )
    return [as_ended(token, ends) for token in tokens]


async def _load_revocations(connection: Any, entries: Sequence[Entry]) -> list[Revocation]:
    names = dependencies(entries)
    if not names:
        return []
    return [Revocation(*row) for row in await connection.fetch(_REVOKED, *map(list, zip(*names, strict=True)))]


def _take(won: set[bytes], claim: JtiClaim) -> bool:
    key = claim_key(claim.client_id, claim.digest)
    is_first = key in won
    won.discard(key)  # of several in one group, the one that came first
    return is_first


def _is_plain(entries: Sequence[Entry]) -> bool:
    """Whether one round trip can do it: claims only, and no jti twice."""
    keys, _ = _claims(entries)
    return len(keys) == len(set(keys)) and all(map(_is_claim_alone, entries))


def _is_claim_alone(entry: Entry) -> bool:
    changes = (entry.rotation, entry.new_refresh, entry.revoke_family, entry.revoke_refresh)
    return all(change is None for change in changes) and not entry.revocations and not entry.unless_revoked


def claim_key(client_id: str, digest: bytes) -> bytes:
    """A client's jti in the table: 128 bits, for which no second pair can be found."""
    return sha256(digest + client_id.encode("utf-8", "surrogatepass")).digest()[:16]


def _claims(entries: Sequence[Entry]) -> tuple[list[bytes], list[int]]:
    claims = [claim for entry in entries for claim in entry.claims]
    return [claim_key(c.client_id, c.digest) for c in claims], [c.expires_at for c in claims]
