"""How much is in a store, without reading all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from affiant.system.values import Value

EXACT: Final = 50_000  # claims that are counted one by one, within a few milliseconds
SAMPLES: Final = 4  # seconds of an interval in which claims are counted
_SOME = "SELECT count(*) FROM (SELECT 1 FROM jti LIMIT $1) AS some"
_FIRST = "SELECT expires_at FROM jti ORDER BY expires_at LIMIT 1"
_LAST = "SELECT expires_at FROM jti ORDER BY expires_at DESC LIMIT 1"
_IN_SECOND = "SELECT count(*) FROM jti WHERE expires_at = $1"


class Sizes(Value, frozen=True):
    """The sizes of a store.

    Attributes:
        claims: jtis that are claimed; an estimate above `EXACT`.
        stored_bytes: of the database; 0 if it is in memory.
        newest: number of the newest audit record that was ever written.
    """

    claims: int
    stored_bytes: int
    newest: int


class Reads(Protocol):
    """Runs one SELECT; StoreError if the database fails."""

    async def page(self, query: str, *values: Any) -> Sequence[Sequence[Any]]:
        """Many rows."""


async def estimate_claims(reads: Reads) -> int:
    """Return about how many jtis are claimed.

    To count ten million rows would take a second of every worker. Claims are counted in some of the seconds in which
    they expire instead, by an index: a few in each of ever longer intervals, since most expire soon.
    """
    counted = await _number(reads, _SOME, EXACT + 1)
    if counted <= EXACT:
        return counted
    begin, last, length, found = await _number(reads, _FIRST), await _number(reads, _LAST), 1, 0.0
    while begin <= last:
        end = min(begin + length, last + 1)
        step = -(-(end - begin) // SAMPLES)
        seconds = range(begin + (step - 1) // 2, end, step)
        in_them = [await _number(reads, _IN_SECOND, second) for second in seconds]
        found += sum(in_them) / len(in_them) * (end - begin)
        begin, length = end, 2 * length
    return round(found)


async def _number(reads: Reads, query: str, *values: int) -> int:
    rows = await reads.page(query, *values)
    return int(rows[0][0]) if rows else 0
