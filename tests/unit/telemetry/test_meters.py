"""The metrics of a Telemetry, as OpenTelemetry's own SDK collects them."""

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from affiant.telemetry import Telemetry, to_opentelemetry
from affiant.telemetry.samples import Number
from affiant.telemetry.table import METRICS


def _collected(telemetry: Telemetry) -> dict[str, list[NumberDataPoint]]:
    reader = InMemoryMetricReader()
    to_opentelemetry(telemetry, MeterProvider([reader]))
    data: Any = reader.get_metrics_data()
    every = [one for found in data.resource_metrics for scope in found.scope_metrics for one in scope.metrics]
    return {one.name: list(one.data.data_points) for one in every}


def test_counter_gauge_and_histogram() -> None:
    telemetry = Telemetry()
    telemetry.count("affiant_guard_requests_total", "https://orders.example", "refused", "token.expired", number=3)
    telemetry.set("affiant_guard_tokens_remembered", "https://orders.example", number=7)
    for seconds in (0.00002, 0.0003, 9.0):
        telemetry.times("affiant_guard_check_seconds", "https://orders.example").observe(seconds)
    found = _collected(telemetry)
    (requests,), (remembered,) = found["affiant_guard_requests"], found["affiant_guard_tokens_remembered"]
    assert (requests.value, dict(requests.attributes or {})) == (
        3,
        {"api": "https://orders.example", "outcome": "refused", "reason": "token.expired"},
    )
    assert remembered.value == 7
    (count,), (total,) = found["affiant_guard_check_seconds_count"], found["affiant_guard_check_seconds_sum"]
    assert (count.value, round(total.value, 5)) == (3, 9.00032)
    buckets = {(one.attributes or {})["le"]: one.value for one in found["affiant_guard_check_seconds_bucket"]}
    assert (buckets["5e-05"], buckets["0.0005"], buckets["5.0"], buckets["+Inf"]) == (1, 2, 2, 3)


def test_every_metric_becomes_an_instrument() -> None:
    telemetry, now = Telemetry(), dict[str, dict[tuple[str, ...], Number]]()
    for metric in METRICS.values():
        number: Number = [1.0, *[1.0] * (len(metric.buckets) + 1)] if metric.buckets else 1.0
        now[metric.name] = {tuple("x" for _ in metric.labels): number}
    telemetry.watch(lambda: now)
    found = _collected(telemetry)
    for metric in METRICS.values():
        assert (f"{metric.name}_count" if metric.buckets else metric.family) in found


def test_nothing_measured() -> None:
    reader = InMemoryMetricReader()
    to_opentelemetry(Telemetry(), MeterProvider([reader]))
    assert reader.get_metrics_data() is None
