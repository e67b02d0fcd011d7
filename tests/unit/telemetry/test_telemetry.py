import importlib.util
import shutil
import subprocess
from typing import Any

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from affiant.errors import ConfigError
from affiant.telemetry import Telemetry
from affiant.telemetry.exposition import render, render_samples
from affiant.telemetry.samples import Number, Samples
from affiant.telemetry.table import LABELS, METRICS, Metric

PROMTOOL = shutil.which("promtool")


def _every() -> Samples:
    """A number of every metric."""
    found: Samples = {}
    for metric in METRICS.values():
        number: Number = [1.5, *[1] * (len(metric.buckets) + 1)] if metric.buckets else 1
        found[metric.name] = {tuple("x" for _ in metric.labels): number}
    return found


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_metric_is_named_by_convention(metric: Metric) -> None:
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    assert (metric.kind == "histogram") == bool(metric.buckets)
    assert metric.name.startswith(
        {"server": "affiant_", "guard": "affiant_guard_", "client": "affiant_client_"}[metric.side]
    ) or metric.name.startswith("process_")
    assert set(metric.labels) <= LABELS.keys()
    assert "client_id" not in metric.labels
    assert metric.help.endswith(".")
    assert list(metric.buckets) == sorted(metric.buckets)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: apt-get install prometheus")
def test_promtool_finds_no_fault_in_any_metric() -> None:
    assert PROMTOOL is not None
    text = render_samples(_every()).text
    assert text.count(b"# TYPE") == len(METRICS)
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_openmetrics_for_who_asks_for_it() -> None:
    telemetry = Telemetry()
    telemetry.count("affiant_client_api_retries_total")
    plain, asked = render(telemetry), render(telemetry, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert plain.media_type.startswith("text/plain; version=0.0.4")
    assert asked.media_type.startswith("application/openmetrics-text; version=1.0.0")
    assert asked.text.endswith(b"affiant_client_api_retries_total 1.0\n# EOF\n")


def test_own_registry_has_both_and_refuses_a_second() -> None:
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.ProcessCollector(registry=registry)
    telemetry = Telemetry(registry)
    telemetry.times("affiant_client_token_seconds").observe(0.015)
    found = {one.name for one in text_string_to_metric_families(prometheus_client.generate_latest(registry).decode())}
    assert "affiant_client_token_seconds" in found
    assert telemetry.registry is registry
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Telemetry(registry)


def test_buckets_are_cumulative() -> None:
    telemetry = Telemetry()
    for seconds in (0.005, 0.02, 0.021, 60):
        telemetry.times("affiant_client_token_seconds").observe(seconds)
    value = telemetry.registry.get_sample_value
    bounds = ("0.01", "0.02", "0.05", "5.0", "+Inf")
    assert [value("affiant_client_token_seconds_bucket", {"le": one}) for one in bounds] == [1, 2, 3, 3, 4]
    assert value("affiant_client_token_seconds_sum") == pytest.approx(60.046)


def test_without_prometheus_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def find(name: str, *more: Any) -> Any:
        return None if name == "prometheus_client" else found(name, *more)

    monkeypatch.setattr("affiant.telemetry.telemetry.find_spec", find)
    with pytest.raises(ConfigError, match=r"affiant\[metrics\]"):
        Telemetry()
