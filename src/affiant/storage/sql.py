"""The common part of SQLite and PostgreSQL: the reads, and the SQL of the steps of storage/registry.

Values are written as PostgreSQL's `$1`; SQLite takes `?1`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec

from affiant.errors import StoreError
from affiant.storage import ports
from affiant.storage.commit import parse_ends
from affiant.storage.console import RegistryAndUsers
from affiant.storage.entries import (
    GENESIS,
    AuditBase,
    AuditHead,
    AuditRow,
    RefreshToken,
    Revocation,
    Sought,
    as_ended,
    reaches,
)
from affiant.storage.history.counts import (
    KEPT_OF_CLIENT,
    KEPT_OF_SERVER,
    KINDS,
    TOP_ROWS,
    UNITS,
    Count,
    Selection,
    Total,
)
from affiant.storage.history.cursors import Cursor
from affiant.storage.records import KeyUse
from affiant.storage.registry import Drop, Forget, Get, Put, Record, Rows, Write

TOKEN = "SELECT record FROM refresh_token WHERE digest = $1"  # noqa: S105 - a query
_REVOCATION = "SELECT kind, value, at, until FROM revocation WHERE"
_AUDIT = "SELECT number, trace_id, record, link FROM audit WHERE"
_HOLDING = "name = $1 AND holder = $2"
# As in history.cursors.is_free, in one statement.
_TAKE = (
    "INSERT INTO cursor (name, number, holder, until, problem) VALUES ($1, $2, $3, $4, '')"
    " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until"
    " WHERE cursor.holder = excluded.holder OR cursor.until <= $5 OR cursor.until > $6 RETURNING number"
)
_ADVANCE = (
    "UPDATE cursor SET number = CASE WHEN number < $3 THEN $3 ELSE number END, problem = $4"  # noqa: S608 - our own
    f" WHERE {_HOLDING} RETURNING number"
)
_RELEASE = f"UPDATE cursor SET until = 0 WHERE {_HOLDING}"  # noqa: S608 - text of our own
# The newest record stays: the next one follows its link.
MAY_DROP = (
    "SELECT EXISTS (SELECT number FROM audit WHERE number = $1 AND link = $2)"
    " AND EXISTS (SELECT number FROM audit WHERE number > $1)"
)
DROP = "DELETE FROM audit WHERE number <= $1"
REBASE = "UPDATE audit_base SET number = $1, link = $2, at = $3, seal = $4"
_BASE = "SELECT number, link, at, seal FROM audit_base"
_LOWEST, HIGHEST = -(2**63), 2**63 - 1  # of a column
Statement = tuple[str, tuple[Any, ...]]


class Reads(Protocol):
    """Runs one SELECT; StoreError if the database fails."""

    async def fetch(self, query: str, *values: Any) -> Sequence[Sequence[Any]]:
        """A few rows, found by an index."""

    async def page(self, query: str, *values: Any) -> Sequence[Sequence[Any]]:
        """Many rows."""


def is_text(name: object) -> bool:
    """Whether a column can have it: a text with NUL, or half a surrogate pair, is the name of nothing."""
    if not isinstance(name, str):
        return True
    return "\0" not in name and not any("\ud800" <= character <= "\udfff" for character in name)


def among(column: str, values: Sequence[Any], *, after: int = 0) -> str:
    """Return the condition that a column has one of these values, which follow `after` others."""
    return f"{column} IN ({', '.join(f'${place}' for place in range(after + 1, after + len(values) + 1))})"


def select(step: Get[Any] | Rows[Any]) -> Statement:
    table = step.table
    query = f"SELECT {table.column} FROM {table.name}"  # noqa: S608 - names of our own
    if isinstance(step, Get):
        return f"{query} WHERE {step.column or table.key} = $1", (step.value,)
    if step.of is not None:
        return f"{query} WHERE {table.copied[0]} = $1 ORDER BY {table.key}", (step.of,)
    if table.is_by_age:
        return f"{query} ORDER BY number DESC", ()
    limit = HIGHEST if step.limit is None else step.limit
    if step.among is None:
        return f"{query} WHERE {table.key} > $1 ORDER BY {table.key} LIMIT $2", (step.after, limit)
    marks = ", ".join(f"${place}" for place in range(3, 3 + len(step.among)))
    some = f"{table.copied[0]} IN ({marks})" if marks else "FALSE"
    return f"{query} WHERE {table.key} > $1 AND {some} ORDER BY {table.key} LIMIT $2", (step.after, limit, *step.among)


def write(step: Write) -> list[Statement]:
    match step:
        case Put(table, key, record):
            values = (key, *(getattr(record, name) for name in table.copied), table.encode(record))
            columns = ", ".join((table.key, *table.copied, table.column))
            marks = ", ".join(f"${place}" for place in range(1, len(values) + 1))
            changed = ", ".join(f"{name} = excluded.{name}" for name in (*table.copied, table.column))
            put = (
                f"INSERT INTO {table.name} ({columns}) VALUES ({marks})"  # noqa: S608 - names of our own
                f" ON CONFLICT ({table.key}) DO UPDATE SET {changed}"
            )
            return [(put, values)]
        case Drop(table, key):
            return [(f"DELETE FROM {table.name} WHERE {table.key} = $1", (key,))]  # noqa: S608 - the same
        case Forget(client_id):
            tables = ("refresh_token", "key_use", "counts")
            return [(f"DELETE FROM {name} WHERE client_id = $1", (client_id,)) for name in tables]  # noqa: S608


class SqlTables:
    """The reads of storage.registry.Tables."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def get(self, step: Get[Record]) -> Record | None:
        query, values = select(step)
        rows = await self._reads.fetch(query, *values) if is_text(step.value) else ()
        return step.table.decode(rows[0][0]) if rows else None

    async def rows(self, step: Rows[Record]) -> list[Record]:
        query, values = select(step)
        rows = await self._reads.page(query, *values) if all(map(is_text, values)) else ()
        return [step.table.decode(stored) for (stored,) in rows]


class SqlKeyUses:
    """The reads of ports.KeyUses."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def list(self, *client_ids: str) -> list[KeyUse]:
        known = list(filter(is_text, client_ids))
        query = "SELECT client_id, credential, count, first_at, last_at FROM key_use WHERE"
        rows = await self._reads.page(f"{query} {among('client_id', known)}", *known) if known else ()
        return [KeyUse(*row) for row in rows]


class SqlCounts:
    """The reads of ports.Counts."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def totals(self, selection: Selection) -> list[Total]:
        columns = "client_id, kind, label, CAST(sum(count) AS bigint)"
        rows = await self._of_clients(columns, selection, "GROUP BY 1, 2, 3 ORDER BY 1, 2, 3")
        return [Total(*row) for row in rows]

    async def top(self, selection: Selection, limit: int) -> list[Total]:
        found, values = _newest_counts(selection)
        query = (
            f"SELECT client_id, CAST(sum(count) AS bigint) FROM ({found}) AS found"  # noqa: S608 - text of our own
            f" GROUP BY client_id ORDER BY 2 DESC, 1 LIMIT ${len(values) + 1}"
        )
        return [Total(client_id, "", "", count) for client_id, count in await self._reads.page(query, *values, limit)]

    async def clients(self, selection: Selection) -> int:
        found, values = _newest_counts(selection)
        query = f"SELECT count(DISTINCT client_id) FROM ({found}) AS found"  # noqa: S608 - text of our own
        return int((await self._reads.page(query, *values))[0][0])

    async def list(self, selection: Selection) -> list[Count]:
        rows = await self._of_clients("unit, at, client_id, kind, label, count", selection, "ORDER BY 3, 4, 2, 5")
        return [Count(*row) for row in rows]

    async def _of_clients(self, columns: str, selection: Selection, end: str) -> Sequence[Sequence[Any]]:
        unit, since, until, client_ids, kinds = selection
        known = list(filter(is_text, client_ids))
        if not known or not kinds:
            return ()
        query = (
            f"SELECT {columns} FROM counts WHERE unit = $1 AND at >= $2 AND at < $3"  # noqa: S608 - the same
            f" AND {among('kind', kinds, after=3)} AND {among('client_id', known, after=3 + len(kinds))} {end}"
        )
        return await self._reads.page(query, unit, since, until, *kinds, *known)


def _newest_counts(selection: Selection) -> Statement:
    unit, since, until, _, kinds = selection
    # The comparison with '' is written out: only so does the index of the clients' counts fit.
    query = (
        "SELECT client_id, count FROM counts"  # noqa: S608 - text of our own
        " WHERE client_id > '' AND unit = $1 AND at >= $2 AND at < $3"
        f" AND {among('kind', kinds, after=3)} ORDER BY at DESC LIMIT {TOP_ROWS}"
    )
    return query, (unit, since, until, *kinds)


def ended_counts(now: int) -> list[Statement]:
    """Return, for each unit, the conditions of counts that were kept for long enough.

    All columns of an index but the last have given values, so that each search is one step for each kind.
    """
    kinds = among("kind", KINDS, after=2)
    return [
        (f"client_id {compared} '' AND unit = $1 AND {kinds} AND at < $2", (unit, now - kept[unit], *KINDS))
        for compared, kept in (("=", KEPT_OF_SERVER), (">", KEPT_OF_CLIENT))
        for unit in UNITS
    ]


def count_rows(counts: Sequence[Count]) -> list[tuple[str, str, str, int, str, int]]:
    """Return the rows of these counts in the order of the primary key, without those that no column can have.

    In that order two nodes that add at once never wait for each other in a circle.
    """
    known = [count for count in counts if is_text(count.client_id) and is_text(count.label)]
    return [(*count.key, count.count) for count in sorted(known, key=lambda count: count.key)]


class SqlCursors:
    """All of ports.Cursors.

    Args:
        reads: runs the query.
        run: runs a statement that changes rows, in a commit of its own; the rows that it returns.
        clock_offset: by how many seconds this process's clock is ahead of the store's.
    """

    def __init__(
        self, reads: Reads, run: Callable[..., Awaitable[Sequence[Any]]], clock_offset: Callable[[], float]
    ) -> None:
        self._reads = reads
        self._run = run
        self._clock_offset = clock_offset

    async def take(self, name: str, holder: str, *, now: int, seconds: int, start: int = 0) -> int | None:
        at = now - round(self._clock_offset())
        rows = await self._run(_TAKE, name, start, holder, at + seconds, at, at + 2 * seconds)
        return rows[0][0] if rows else None

    async def advance(self, name: str, holder: str, number: int, problem: str = "") -> bool:
        return bool(await self._run(_ADVANCE, name, holder, number, problem))

    async def release(self, name: str, holder: str) -> None:
        await self._run(_RELEASE, name, holder)

    async def list(self) -> list[Cursor]:
        query = "SELECT name, number, holder, until, problem FROM cursor ORDER BY name"
        return [Cursor(*row) for row in await self._reads.page(query)]

    async def remove(self, name: str) -> bool:
        return bool(await self._run("DELETE FROM cursor WHERE name = $1 RETURNING name", name))


class SqlRefreshTokens:
    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def find(self, digest: bytes) -> RefreshToken | None:
        tokens = await _tokens(self._reads, await self._reads.fetch(TOKEN, digest))
        return tokens[0] if tokens else None

    async def list(self, client_id: str | None = None, *, after: bytes = b"", limit: int = 100) -> list[RefreshToken]:
        query = "SELECT record FROM refresh_token WHERE digest > $1"
        if client_id is None:
            return await _tokens(self._reads, await self._reads.page(f"{query} ORDER BY digest LIMIT $2", after, limit))
        if not is_text(client_id):
            return []
        # A query of its own: with one for both, SQLite looks through the tokens of all clients.
        mine = f"{query} AND client_id = $3 ORDER BY digest LIMIT $2"
        return await _tokens(self._reads, await self._reads.page(mine, after, limit, client_id))


class SqlRevocations:
    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def find(self, names: Sequence[tuple[str, str]]) -> list[Revocation]:
        known = [name for name in names if is_text(name[1])]
        if not known:
            return []
        pairs = ", ".join(f"(${place}, ${place + 1})" for place in range(1, 2 * len(known), 2))
        query = f"{_REVOCATION} (kind, value) IN (VALUES {pairs})"
        return [Revocation(*row) for row in await self._reads.fetch(query, *(part for name in known for part in name))]

    async def list(self, now: int, *, after: Revocation | None = None, limit: int | None = None) -> list[Revocation]:
        most = HIGHEST if limit is None else limit
        order = "ORDER BY at DESC, value, kind"
        if after is None:
            rows = await self._reads.page(f"{_REVOCATION} until >= $1 {order} LIMIT $2", now, most)
        else:
            query = f"{_REVOCATION} until >= $1 AND (-at, value, kind) > ($3, $4, $5) {order} LIMIT $2"
            rows = await self._reads.page(query, now, most, -after.at, after.value, after.kind)
        return [Revocation(*row) for row in rows]

    async def mark(self, now: int) -> str:
        # Rows are deleted only when `until` is past, so that both numbers only grow.
        query = "SELECT count(*), coalesce(sum(at + until), 0) FROM revocation WHERE until >= $1"
        return "{} {}".format(*(await self._reads.fetch(query, now))[0])


class SqlAuditLog:
    """The audit log.

    Args:
        reads: runs its queries.
        head: selects the newest number and link ($1 for none) and the highest number ever given.
        position: the place of a text in a record, from 1 on; 0 without it.
    """

    def __init__(self, reads: Reads, head: str, position: str) -> None:
        self._reads = reads
        self._head = head
        self._position = position

    async def find(self, trace_id: str) -> dict[str, Any] | None:
        query = "SELECT record FROM audit WHERE trace_id = $1 LIMIT 1"
        rows = await self._reads.fetch(query, trace_id) if is_text(trace_id) else ()
        return msgspec.json.decode(rows[0][0], type=dict[str, Any]) if rows else None

    async def export(self, *, after: int | None = None, limit: int = 1000) -> list[AuditRow]:
        start = _LOWEST if after is None else min(after + 1, HIGHEST)
        rows = await self._reads.page(f"{_AUDIT} number >= $1 ORDER BY number LIMIT $2", start, limit)
        return [AuditRow(*row) for row in rows]

    async def newest(self, *, before: int | None = None, limit: int = 1000) -> list[AuditRow]:
        end = HIGHEST if before is None else max(min(before, HIGHEST), _LOWEST)
        rows = await self._reads.page(f"{_AUDIT} number < $1 ORDER BY number DESC LIMIT $2", end, limit)
        return [AuditRow(*row) for row in rows]

    async def search(
        self, texts: Sequence[bytes], *, before: int | None = None, looked: int = 10_000, limit: int = 1000
    ) -> Sought:
        newest = await self.newest(before=before, limit=1)
        if not newest:
            return Sought([], None)
        # Numbers have no gaps. Where rows were deleted, fewer are looked at.
        begin = max(newest[0].number - looked, _LOWEST)
        having = "".join(f" AND {self._position.format(f'${place}')} > 0" for place in range(4, 4 + len(texts)))
        query = f"{_AUDIT} number <= $1 AND number > $2{having} ORDER BY number DESC LIMIT $3"
        rows = [AuditRow(*row) for row in await self._reads.page(query, newest[0].number, begin, limit, *texts)]
        end = rows[-1].number if len(rows) == limit else begin + 1
        older = await self.newest(before=end, limit=1)
        return Sought(rows, older[0] if older else None)

    async def head(self) -> AuditHead:
        return AuditHead(*(await self._reads.fetch(self._head, GENESIS))[0])

    async def base(self) -> AuditBase:
        return AuditBase(*(await self._reads.fetch(_BASE))[0])


def cannot_drop(base: AuditBase) -> StoreError:
    return StoreError(f"the audit log cannot begin after record {base.number}: it has none of this link, or no newer")


async def _tokens(reads: Reads, rows: Sequence[Sequence[Any]]) -> list[RefreshToken]:
    tokens = [msgspec.json.decode(record, type=RefreshToken) for (record,) in rows]
    found = list({reach for token in tokens for reach in reaches(token)})
    if not found:
        return []
    # Order: the ends after the tokens, so that an end that was committed before this call is always among them.
    query = f"SELECT selection, number, at FROM refresh_end WHERE {among('reach', found)}"  # noqa: S608
    ends = parse_ends(await reads.fetch(query, *found))
    return [as_ended(token, ends) for token in tokens]


class SqlStore(RegistryAndUsers):
    """The ports that both stores make of their tables and reads."""

    def __init__(self, tables: ports.Tables, reads: Reads) -> None:
        super().__init__(tables)
        self.refresh_tokens: ports.RefreshTokens = SqlRefreshTokens(reads)
        self.revocations: ports.Revocations = SqlRevocations(reads)
