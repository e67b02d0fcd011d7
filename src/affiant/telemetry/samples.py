"""Numbers of metrics as plain values, which processes exchange: pure functions."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping

import msgspec

from affiant.telemetry.table import METRICS, Metric

Labels = tuple[str, ...]  # the values, in the order of the table
# A number; of a histogram the sum, and then how many are in each bucket, with the one above all bounds.
Number = float | list[float]
Samples = dict[str, dict[Labels, Number]]  # by the name of the metric

_decode = msgspec.json.Decoder(list[tuple[str, list[tuple[Labels, Number]]]]).decode


class Times:
    """One histogram of seconds. To observe one costs a search among the bounds and two additions."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts: list[int] = [0] * (len(bounds) + 1)
        self.total: float = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self._bounds, seconds)] += 1
        self.total += seconds

    def sample(self) -> list[float]:
        return [self.total, *self.counts]


def encode(samples: Samples) -> bytes:
    return msgspec.json.encode([(name, list(series.items())) for name, series in samples.items()])


def decode(text: bytes) -> Samples:
    """Return the samples in this text; metrics of another version of affiant are left out."""
    return {name: dict(series) for name, series in _decode(text) if name in METRICS}


def merge(every: Iterable[Samples]) -> Samples:
    """Return the samples of several processes, or of several parts of one, as one."""
    merged: Samples = {}
    for samples in every:
        for name, series in samples.items():
            join, into = _joins(METRICS[name]), merged.setdefault(name, {})
            for labels, number in series.items():
                into[labels] = join(into[labels], number) if labels in into else number
    return merged


def lasting(samples: Samples) -> Samples:
    """Return what a process leaves behind when it has ended: counters and histograms, which never go back."""
    return {name: series for name, series in samples.items() if METRICS[name].kind != "gauge"}


def _joins(metric: Metric) -> Callable[[Number, Number], Number]:
    return _farthest if metric.joined == "most" and metric.kind == "gauge" else _add


def _add(one: Number, other: Number) -> Number:
    if isinstance(one, list) and isinstance(other, list):
        return [a + b for a, b in zip(one, other, strict=True)]
    assert not isinstance(one, list) and not isinstance(other, list)  # noqa: S101, PT018 - one metric has one kind
    return one + other


def _farthest(one: Number, other: Number) -> Number:
    return max(one, other, key=lambda number: abs(number) if not isinstance(number, list) else 0.0)


def labelled(series: Mapping[Labels, Number]) -> Mapping[Labels, Number]:
    """Return the series of a metric in the order of their labels."""
    return dict(sorted(series.items()))
