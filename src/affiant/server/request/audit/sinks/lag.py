"""Measure how far sinks are behind the log."""

from __future__ import annotations

from typing import NamedTuple

from affiant.storage.history.archive import instant_of
from affiant.storage.ports import AuditLog, Store

PREFIX = "audit_"  # of the cursors of sinks, which have the names of their settings


class Lag(NamedTuple):
    """Records that were not delivered yet, and the seconds since the oldest of them; 0 and 0.0 if there is none."""

    records: int
    seconds: float


async def lag_of(log: AuditLog, number: int, now: float) -> Lag:
    """Return the lag of a sink that has the records up to this number."""
    head = await log.head()
    if head.number <= number:
        return Lag(0, 0.0)
    seconds = 0.0
    for row in await log.export(after=number, limit=1):
        at = instant_of(row)
        seconds = max(0.0, now - at) if at else 0.0
    return Lag(head.number - number, round(seconds, 3))


async def lags(store: Store, now: float) -> dict[str, Lag]:
    """Return the lag of every sink that ever began and was not removed, by its name; from any process."""
    cursors = [cursor for cursor in await store.cursors.list() if cursor.name.startswith(PREFIX)]
    return {cursor.name: await lag_of(store.audit_log, cursor.number, now) for cursor in cursors}
