"""Times as users write them, and the records that match a selection."""

from datetime import UTC, datetime

import click
import pytest

from affiant.cli.operations.records import ALL, Duration, Instant, Selection, parse_instant

NOW = datetime(2026, 11, 28, 13, 30, tzinfo=UTC).timestamp()
DAY, HOUR = 86_400, 3600
MIDNIGHT = datetime(2026, 11, 28, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1800000000", 1_800_000_000.0),
        ("now", NOW),
        ("90s", NOW - 90),
        ("45m", NOW - 45 * 60),
        ("2h", NOW - 2 * HOUR),
        ("7d", NOW - 7 * DAY),
        ("1w", NOW - 7 * DAY),
        ("today", MIDNIGHT),
        ("yesterday", MIDNIGHT - DAY),
        ("2026-11-28", MIDNIGHT),
        ("2026-11-28T02:00:00Z", MIDNIGHT + 2 * HOUR),
        ("2026-11-28T02:00:00+02:00", MIDNIGHT),
        ("2026-11-28 02:00", MIDNIGHT + 2 * HOUR),
    ],
)
def test_time_is_read(text: str, instant: float) -> None:
    assert parse_instant(text, NOW) == instant


@pytest.mark.parametrize(
    "text",
    ["", "2 h", "h", "-2h", "2y", "2H", "1.5h", "٢h", "tomorrow", "2026-13-01", "1234567h"],
)
def test_invalid_time_is_refused(text: str) -> None:
    assert parse_instant(text, NOW) is None


def test_time_is_limited_as_in_the_admin_api() -> None:
    read = Instant().convert
    assert [read(text, None, None) for text in ("999999w", "9" * 400, "1900-01-01")] == [0.0, 1e11, 0.0]


def test_a_duration_is_in_seconds() -> None:
    read = Duration().convert
    assert [read(text, None, None) for text in ("90d", "12h", "45m", "2w", "1s")] == [
        7_776_000,
        43_200,
        2700,
        1_209_600,
        1,
    ]


@pytest.mark.parametrize("text", ["", "90", "0d", "-1d", "999999w", "today", "2026-11-21"])
def test_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError, match="write 90d"):
        Duration().convert(text, None, None)


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (ALL, "abc"),
        (Selection(client_id="billing"), "ab"),
        (Selection(outcome="refused"), "b"),
        (Selection(reason="assertion.replayed"), "b"),
        (Selection(since=20), "bc"),
        (Selection(until=20), "a"),
        (Selection(since=10, until=30, client_id="billing", outcome="issued"), "a"),
        (Selection(since=31), ""),
    ],
)
def test_records_match_every_filter(wanted: Selection, fits: str) -> None:
    records = {
        "a": {"at": 10.5, "outcome": "issued", "client_id": "billing"},
        "b": {"at": 20, "outcome": "refused", "client_claimed": "billing", "reason": "assertion.replayed"},
        "c": {"at": 30.0, "outcome": "issued", "client_id": "orders"},
    }
    assert "".join(name for name, members in records.items() if wanted.has(members)) == fits


def test_record_without_a_time_is_as_old_as_can_be() -> None:
    assert Selection(until=1).has({"at": "soon"})
    assert not Selection(since=1).has({"unreadable": "00"})
