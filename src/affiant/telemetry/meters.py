"""The metrics of a Telemetry as instruments of OpenTelemetry."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from affiant.errors import ConfigError
from affiant.system.version import __version__
from affiant.telemetry.samples import Labels, Number, Samples
from affiant.telemetry.table import METRICS, Metric
from affiant.telemetry.telemetry import Telemetry

if TYPE_CHECKING:  # the otel extra has it
    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation

_FRESH_SECONDS = 0.5  # every instrument asks for the numbers of one collection
Series = Mapping[Labels, Number]
Points = Iterable[tuple[dict[str, str], float]]


def to_opentelemetry(telemetry: Telemetry, provider: MeterProvider | None = None) -> None:
    """Offer the metrics of this process to OpenTelemetry, with each collection of its readers.

    docs/reference/metrics.md has the names; those of counters lose ``_total``, which exporters to Prometheus add again.
    OpenTelemetry has no histogram that is observed from outside. So each histogram becomes three counters, as in
    Prometheus: ``NAME_count``, ``NAME_sum``, and ``NAME_bucket`` with the label ``le``.

    Args:
        telemetry: keeps the numbers.
        provider: of OpenTelemetry; the global one if left out, also if that is set later.

    Raises:
        ConfigError: the API of OpenTelemetry is not installed: it comes with ``affiant[otel]``.
    """
    try:
        from opentelemetry import metrics  # noqa: PLC0415 - loaded only for those who ask for it
    except ImportError:
        raise ConfigError("this needs the API of OpenTelemetry: pip install 'affiant[otel]'") from None
    meter, numbers = metrics.get_meter("affiant", __version__, provider), _Numbers(telemetry)
    for metric in METRICS.values():
        for name, points in _INSTRUMENTS[metric.kind](metric):
            callback = partial(_observe, numbers, metric, points)
            _create(meter, metric)(name, callbacks=[callback], description=metric.help)


class _Numbers:
    """The numbers of one collection."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry, self._at = telemetry, float("-inf")
        self._samples: Samples = {}

    def of(self, metric: Metric) -> Series:
        now = time.monotonic()
        if now - self._at > _FRESH_SECONDS:
            self._samples, self._at = self._telemetry.samples(), now
        return self._samples.get(metric.name, {})


def _observe(
    numbers: _Numbers, metric: Metric, points: Callable[[Metric, Series], Points], _: CallbackOptions
) -> Iterator[Observation]:
    from opentelemetry.metrics import Observation  # noqa: PLC0415 - see `to_opentelemetry`

    for labels, value in points(metric, numbers.of(metric)):
        yield Observation(value, labels)


def _create(meter: Meter, metric: Metric) -> Callable[..., object]:
    if metric.kind != "gauge":
        return meter.create_observable_counter
    return meter.create_observable_up_down_counter if metric.joined == "sum" else meter.create_observable_gauge


def _plain(metric: Metric, series: Series) -> Points:
    for values, number in series.items():
        if not isinstance(number, list):
            yield dict(zip(metric.labels, values, strict=True)), number


def _sums(metric: Metric, series: Series) -> Points:
    return ((labels, numbers[0]) for labels, numbers in _lists(metric, series))


def _counts(metric: Metric, series: Series) -> Points:
    return ((labels, sum(numbers[1:])) for labels, numbers in _lists(metric, series))


def _buckets(metric: Metric, series: Series) -> Points:
    for labels, (_, *counts) in _lists(metric, series):
        upto = 0.0
        for bound, count in zip([*map(str, metric.buckets), "+Inf"], counts, strict=True):
            upto += count
            yield {**labels, "le": bound}, upto


def _lists(metric: Metric, series: Series) -> Iterator[tuple[dict[str, str], list[float]]]:
    for values, number in series.items():
        if isinstance(number, list):
            yield dict(zip(metric.labels, values, strict=True)), number


_INSTRUMENTS: Mapping[str, Callable[[Metric], list[tuple[str, Callable[[Metric, Series], Points]]]]] = {
    "counter": lambda metric: [(metric.family, _plain)],
    "gauge": lambda metric: [(metric.name, _plain)],
    "histogram": lambda metric: [
        (f"{metric.name}_count", _counts),
        (f"{metric.name}_sum", _sums),
        (f"{metric.name}_bucket", _buckets),
    ],
}
