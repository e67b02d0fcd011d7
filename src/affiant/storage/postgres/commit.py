"""One group's commit: jtis claimed, refresh tokens changed, audit records chained and appended, all or nothing.

The chain is one for all nodes, and keyed with what the database must not know: so a node must know the newest link to
make the next. Who committed last knows it, unless another node came between. A group therefore begins with a guess,
that nobody did and that its jtis are new, and is then one round trip. A node that guessed wrong asks first, which
takes four; it goes on asking until it finds that it was alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import asyncpg

from affiant.storage.entries import Entry, Outcome, chain
from affiant.storage.postgres.connection import Lines
from affiant.storage.postgres.group import NotCommitted
from affiant.storage.postgres.refresh import Rotations

COMMIT_SECONDS = 2.0

_GUESS = "SELECT commit_as_guessed($1, $2, $3, $4, $5, $6)"
# The lock comes in a statement of its own: the next one then sees all that was committed before it was granted.
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
_Rows = tuple[list[str], list[bytes], list[bytes]]


class Commits:
    """Commits groups for one node, one after the other."""

    def __init__(self, line: Lines, audit_key: bytes) -> None:
        self._line = line
        self._audit_key = audit_key
        self._head: bytes | None = None  # the newest link, as far as this node knows
        self._may_guess = False

    async def commit(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Commit these; see ports.Ledger.claim."""
        # Until the answer is there, the newest link is not known.
        head, self._head = self._head, None
        try:
            async with self._line.take(COMMIT_SECONDS) as connection:
                if head is not None and self._may_guess and _is_plain(entries):
                    links = await self._guess(connection, head, entries)
                    if links:
                        self._head = links[-1]
                        return [Outcome.FIRST] * len(entries)
                return await self._ask(connection, head, entries)
        except Exception as error:
            # DataError: an argument that no column can hold. It came from the arguments, so before any COMMIT.
            if isinstance(error.__cause__, asyncpg.DataError):
                raise NotCommitted(str(error)) from error
            raise

    async def _guess(self, connection: Any, head: bytes, entries: Sequence[Entry]) -> list[bytes] | None:
        traces, records, links = _chained(head, entries, [Outcome.FIRST] * len(entries), self._audit_key)
        done = await connection.fetchval(_GUESS, head, *_claims(entries), traces, records, links)
        return links if done else None

    async def _ask(self, connection: Any, guessed: bytes | None, entries: Sequence[Entry]) -> list[Outcome]:
        await connection.execute(_BEGIN)
        outcomes, head, newest = await append(connection, entries, self._audit_key)
        await connection.execute("COMMIT")
        self._head, self._may_guess = newest, head == guessed
        return outcomes


async def append(connection: Any, entries: Sequence[Entry], audit_key: bytes) -> tuple[list[Outcome], bytes, bytes]:
    """Apply these entries and append their records; the transaction has locked the head of the audit log."""
    number, head, forgotten, won = await connection.fetchrow(_CLAIM, *_claims(entries))
    rotations = Rotations(connection)
    await rotations.load(entries)
    claims = _Claims(set(won), forgotten)
    outcomes = [_apply(entry, claims, rotations, place) for place, entry in enumerate(entries, number + 1)]
    await rotations.save()
    traces, records, links = _chained(head, entries, outcomes, audit_key)
    await connection.execute(_APPEND, number, traces, records, links, len(links), links[-1])
    return outcomes, head, links[-1]


def _chained(link: bytes, entries: Sequence[Entry], outcomes: Sequence[Outcome], audit_key: bytes) -> _Rows:
    traces, records, links = [], [], []
    for entry, outcome in zip(entries, outcomes, strict=True):
        audit = entry.audit.refused(outcome.value) if outcome.is_loss else entry.audit
        record = audit.to_json()
        link = chain(link, record, audit_key)
        traces.append(audit.trace_id)
        records.append(record)
        links.append(link)
    return traces, records, links


def _is_plain(entries: Sequence[Entry]) -> bool:
    """Whether the one round trip can do it: no refresh tokens, and no jti twice."""
    keys, _ = _claims(entries)
    return len(keys) == len(set(keys)) and all(map(_is_claim_alone, entries))


def _is_claim_alone(entry: Entry) -> bool:
    changes = (entry.rotation, entry.new_refresh, entry.revoke_family, entry.revoke_refresh)
    return all(change is None for change in changes) and not entry.revocations


def claim_key(client_id: str, digest: bytes) -> bytes:
    """What stands for a client's jti in the table: nobody finds another pair with the same 128 bits."""
    return sha256(digest + client_id.encode("utf-8", "surrogatepass")).digest()[:16]


def _claims(entries: Sequence[Entry]) -> tuple[list[bytes], list[int]]:
    claims = [entry.claim for entry in entries if entry.claim is not None]
    return [claim_key(c.client_id, c.digest) for c in claims], [c.expires_at for c in claims]


class _Claims(NamedTuple):
    """The claims that a group won, and the end of the last one that was deleted."""

    won: set[bytes]
    forgotten: int


def _apply(entry: Entry, claims: _Claims, rotations: Rotations, number: int) -> Outcome:
    is_first = True
    if entry.claim is not None:
        key = claim_key(entry.claim.client_id, entry.claim.digest)
        is_first = key in claims.won
        claims.won.discard(key)  # of several in one group, the one that came first
        if (not is_first and not entry.tolerate_repeat) or entry.claim.expires_at <= claims.forgotten:
            return Outcome.REPLAYED
    outcome = rotations.apply(entry, number)
    return Outcome.REPEATED if not is_first and outcome is Outcome.FIRST else outcome
