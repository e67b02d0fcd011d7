"""How far archives and sinks are behind the log, as metrics."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contract.archiving import DAY, KEY, archived, fill, parts
from tests.stores import opened

from affiant.errors import ConfigError
from affiant.server.request.audit.measures import measure_audit
from affiant.server.request.audit.retention import Retention
from affiant.storage.memory import MemoryStore
from affiant.telemetry.samples import Samples
from affiant.telemetry.table import METRICS

NOW = 5 * DAY


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with opened(MemoryStore(audit_key=KEY.audit)) as made:
        await fill(made, 100)  # one an hour
        yield made


async def _measure(store: MemoryStore, keep: int = 0) -> Samples:
    found = await measure_audit(store, keep, lambda: float(NOW))
    assert found.keys() <= METRICS.keys()
    return {name.removeprefix("affiant_audit_"): series for name, series in found.items() if series}


async def test_oldest_and_archived_records(store: MemoryStore, tmp_path: Path) -> None:
    assert await _measure(store) == {"oldest_timestamp_seconds": {(): 3600.0}}
    made = await parts(store, tmp_path / "archive")
    await archived(made, 2 * DAY)
    assert await _measure(store, keep=3 * DAY) == {
        "oldest_timestamp_seconds": {(): 48 * 3600.0},
        "archived_until_timestamp_seconds": {(): 47 * 3600},
        "keep_seconds": {(): 3 * DAY},
        "archive_failing": {(): 0.0},
    }


async def test_an_archive_that_fails(store: MemoryStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    await Retention(await parts(store, tmp_path / "file")).keep(DAY)
    assert (await _measure(store, keep=DAY))["archive_failing"] == {(): 1.0}
    assert "archive_failing" not in await _measure(store)  # the setting was removed since
    with pytest.raises(ConfigError, match="file"):
        await archived(await parts(store, tmp_path / "file"), DAY)
    await Retention(await parts(store, tmp_path / "archive")).keep(DAY)
    assert (await _measure(store, keep=DAY))["archive_failing"] == {(): 0.0}


async def test_the_lag_of_each_sink(store: MemoryStore) -> None:
    await store.cursors.take("audit_file", "one", now=NOW, seconds=15, start=100)
    await store.cursors.take("audit_webhook", "two", now=NOW, seconds=15, start=90)
    await store.cursors.advance("audit_webhook", "two", 90, "siem.example answered 503")
    found = await _measure(store)
    assert found["sink_lag_records"] == {("audit_file",): 0, ("audit_webhook",): 10}
    assert found["sink_lag_seconds"] == {("audit_file",): 0.0, ("audit_webhook",): NOW - 91 * 3600.0}
    assert found["sink_failing"] == {("audit_file",): 0.0, ("audit_webhook",): 1.0}
