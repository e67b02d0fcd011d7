"""How far archives and sinks are behind the log, as metrics."""

from __future__ import annotations

from collections.abc import Callable

from affiant.server.request.audit.retention import NAME as ARCHIVE
from affiant.server.request.audit.sinks.lag import lags
from affiant.storage.history.archive import instant_of
from affiant.storage.ports import Store
from affiant.telemetry.samples import Samples


async def measure_audit(store: Store, keep: int, clock: Callable[[], float]) -> Samples:
    """Return how far sinks and archives are behind the log; `keep` is in seconds, 0 for ever.

    StoreError while the store fails.
    """
    base, oldest = await store.audit_log.base(), await store.audit_log.export(limit=1)
    behind = await lags(store, clock())
    fails = {cursor.name: float(bool(cursor.problem)) for cursor in await store.cursors.list()}
    archives: Samples = {
        "affiant_audit_keep_seconds": {(): keep},
        "affiant_audit_archive_failing": {(): fails.get(ARCHIVE, 0.0)},
    }
    found: Samples = {
        "affiant_audit_oldest_timestamp_seconds": {(): instant_of(oldest[0])} if oldest else {},
        "affiant_audit_archived_until_timestamp_seconds": {(): base.at} if base.number else {},
        "affiant_audit_sink_lag_records": {(name,): lag.records for name, lag in behind.items()},
        "affiant_audit_sink_lag_seconds": {(name,): lag.seconds for name, lag in behind.items()},
        "affiant_audit_sink_failing": {(name,): fails.get(name, 0.0) for name in behind},
    }
    return found | archives if keep else found
