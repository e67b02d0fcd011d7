"""Counts as series over time: slots of a span, reasons of refusals, percentiles of latencies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

ISSUED, REFUSED, LATENCY = "issued", "refused", "latency"  # kinds of counts
Counts = Sequence[Mapping[str, Any]]  # each has at, kind, label and count
_MARKS = {60: "%H:%M", 3600: "%a %H:%M"}
_DATE = "%b %d, %H:%M"


class Span(NamedTuple):
    """A time until now: `unit` of its counts, seconds of one slot, number of slots."""

    title: str
    unit: str
    step: int
    slots: int


SPANS = {
    "1h": Span("1 hour", "minute", 60, 60),
    "24h": Span("24 hours", "hour", 3600, 24),
    "7d": Span("7 days", "hour", 3 * 3600, 56),
}


class Window(NamedTuple):
    """The slots of a span: `since` is the beginning of the first, `until` the end of the last, in epoch seconds."""

    since: int
    until: int
    step: int

    @classmethod
    def ending(cls, now: float, span: Span) -> Window:
        """Return the window whose last slot has this instant."""
        until = (int(now) // span.step + 1) * span.step
        return cls(until - span.slots * span.step, until, span.step)

    @property
    def begins(self) -> Sequence[int]:
        """The beginning of each slot."""
        return range(self.since, self.until, self.step)

    def marks(self) -> list[str]:
        """Return the name of each slot, in UTC."""
        pattern = _MARKS.get(self.step, _DATE)
        return [datetime.fromtimestamp(at, UTC).strftime(pattern) for at in self.begins]

    def sums(self, counts: Iterable[Mapping[str, Any]]) -> list[int]:
        """Return how much was counted in each slot."""
        sums = [0] * len(self.begins)
        for one in counts:
            place = (int(one["at"]) - self.since) // self.step
            if 0 <= place < len(sums):
                sums[place] += one["count"]
        return sums


def read(document: Mapping[str, Any]) -> Counts:
    """Return the counts of the answer of GET /counts, one by one."""
    return [
        {"at": at, "kind": one["kind"], "label": one["label"], "count": count}
        for one in document["series"]
        for at, count in one["points"]
    ]


def of_kind(counts: Counts, kind: str, label: str | None = None) -> list[Mapping[str, Any]]:
    """Return the counts of this kind, and of this label if one is given."""
    return [one for one in counts if one["kind"] == kind and label in (None, one["label"])]


def total(counts: Iterable[Mapping[str, Any]]) -> int:
    return sum(one["count"] for one in counts)


def labels(counts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the labels, the most counted one first."""
    sums = Counter[str]()
    for one in counts:
        sums[one["label"]] += one["count"]
    return [label for label, _ in sorted(sums.items(), key=lambda found: (-found[1], found[0]))]


def percentile(counts: Iterable[Mapping[str, Any]], share: float) -> float | None:
    """Return the upper bound of the bucket in which this share of the counts ends; None if nothing was counted.

    The labels are upper bounds in milliseconds; that of the last bucket is infinite.
    """
    buckets = Counter[float]()
    for one in counts:
        buckets[float(one["label"])] += one["count"]
    left = share * buckets.total()
    for bound in sorted(buckets):
        left -= buckets[bound]
        if left <= 0:
            return bound
    return None
