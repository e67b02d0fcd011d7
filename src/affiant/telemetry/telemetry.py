"""The public class: numbers in memory, and the registry that offers them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING

from affiant.errors import ConfigError
from affiant.telemetry.samples import Labels, Samples, Times, labelled, merge
from affiant.telemetry.table import METRICS

if TYPE_CHECKING:  # the metrics extra has it
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric as Family

Source = Callable[[], Samples]


class Telemetry:
    """Measures what affiant does in this process: give one to `Guard`, to `Service`, or to both.

    The numbers are in `registry`, with those of your own code if you pass yours::

        telemetry = Telemetry(prometheus_client.REGISTRY)
        guard = Guard("https://as.example", audience="https://orders.example", telemetry=telemetry)

    docs/reference/metrics.md has all names. No label holds a client id, a token or a key. Several worker processes of
    an API have a Telemetry each, with the numbers of that process alone.

    Args:
        registry: of prometheus-client, where the metrics go; by default one of its own.

    Raises:
        ConfigError: prometheus-client is not installed: it comes with ``affiant[metrics]``.
        ValueError: the registry has metrics of affiant already. One Telemetry serves any number of guards and services.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        if find_spec("prometheus_client") is None:
            raise ConfigError("metrics need prometheus-client: pip install 'affiant[metrics]'")
        self._counters: dict[str, dict[Labels, float]] = {}
        self._gauges: dict[str, dict[Labels, float]] = {}
        self._times: dict[str, dict[Labels, Times]] = {}
        self._sources: list[Source] = []
        if registry is not None:
            registry.register(self)
            vars(self)["registry"] = registry

    @cached_property
    def registry(self) -> CollectorRegistry:
        """The registry of prometheus-client that has these metrics, and no other unless one was given."""
        from prometheus_client import CollectorRegistry  # noqa: PLC0415 - it loads a web server; few processes need it

        registry = CollectorRegistry()
        registry.register(self)
        return registry

    def count(self, name: str, *labels: str, number: float = 1) -> None:
        """Add to a counter of the table."""
        series = self._counters.setdefault(name, {})
        series[labels] = series.get(labels, 0) + number

    def set(self, name: str, *labels: str, number: float | None) -> None:
        """Set a gauge of the table; None takes it away."""
        series = self._gauges.setdefault(name, {})
        if number is None:
            series.pop(labels, None)
        else:
            series[labels] = number

    def times(self, name: str, *labels: str) -> Times:
        """Return what counts the seconds of a histogram of the table; the same for the same labels."""
        series = self._times.setdefault(name, {})
        if labels not in series:
            series[labels] = Times(METRICS[name].buckets)
        return series[labels]

    def watch(self, source: Source) -> None:
        """Ask this function for more samples each time that the numbers are read."""
        self._sources.append(source)

    def samples(self) -> Samples:
        """Return all numbers as they are now."""
        own: Samples = {}
        for kept in (self._counters, self._gauges):
            own |= {name: dict(series) for name, series in list(kept.items())}
        for name, times in list(self._times.items()):
            own[name] = {labels: one.sample() for labels, one in list(times.items())}
        return merge((own, *(source() for source in self._sources)))

    def collect(self) -> Iterator[Family]:
        """Return the metrics that have a number, for a registry of prometheus-client."""
        samples = self.samples()
        for name, metric in METRICS.items():
            if samples.get(name):
                yield _family(name, samples) if metric.kind != "histogram" else _histogram(name, samples)

    def describe(self) -> Iterator[Family]:
        """Return the names of affiant: a registry refuses the same one twice.

        Those of the process are only a server's, whose registry has no other collector.
        """
        for name in METRICS:
            if name.startswith("affiant_"):
                yield _family(name, {})


def _family(name: str, samples: Samples) -> Family:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 - see `registry`

    metric = METRICS[name]
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family: Family = kind(metric.family, metric.help, labels=metric.labels)
    for labels, number in labelled(samples.get(name, {})).items():
        family.add_metric(labels, number)  # type: ignore[attr-defined]
    return family


def _histogram(name: str, samples: Samples) -> Family:
    from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415 - see `registry`

    metric = METRICS[name]
    family = HistogramMetricFamily(name, metric.help, labels=metric.labels)
    bounds = [*map(str, metric.buckets), "+Inf"]
    for labels, number in labelled(samples[name]).items():
        assert isinstance(number, list)  # noqa: S101 - that of a histogram
        total, *counts = number
        upto, buckets = 0.0, []
        for bound, count in zip(bounds, counts, strict=True):
            upto += count
            buckets.append((bound, upto))
        family.add_metric(labels, buckets=buckets, sum_value=total)
    return family
