"""A real Prometheus scrapes a real server, and alerts; the dashboard and every alert name metrics that are there."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from tests.loopback import free_port
from tests.process import ORDERS, Child, Server

from affiant.telemetry.table import METRICS

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PAGE = DEPLOY.parent / "docs" / "how-to" / "monitor.md"
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
needs_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason="Prometheus is missing: apt-get install prometheus")
SECONDS = 60
SECRET = "not-for-any-label-3f9d1c"
_NAME = re.compile(r"(?<![:\w])(?:affiant_|process_)[a-z_]+\b(?!:)")  # no recorded series, which have colons
_CLAUSES = re.compile(r"\b(by|on|without|ignoring)\s*\([^)]*\)")

Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


class Monitored:
    """The server with its metrics at a port of their own."""

    def __init__(self, server: Server, metrics: str) -> None:
        self.server, self.metrics = server, metrics

    def text(self, accept: str = "text/plain") -> str:
        return httpx2.get(self.metrics, headers={"accept": accept}, timeout=10).raise_for_status().text

    def scrape(self) -> Samples:
        found: Samples = {}
        for family in text_string_to_metric_families(self.text()):
            for one in family.samples:
                found.setdefault(one.name, {})[tuple(sorted(one.labels.items()))] = one.value
        return found

    def until(self, holds: Callable[[Samples], bool]) -> Samples:
        end = time.monotonic() + SECONDS
        while not holds(found := self.scrape()):
            assert time.monotonic() < end, self.text()
            time.sleep(0.2)
        return found

    def issue(self) -> httpx2.Response:
        return self.server.token(**self.server.proof("billing"), grant_type="client_credentials")

    def refuse(self, **form: str) -> None:
        assert self.server.token(**form).status_code >= 400


def _total(found: Samples, name: str, **labels: str) -> float:
    return sum(value for place, value in found.get(name, {}).items() if labels.items() <= dict(place).items())


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    folder = tmp_path_factory.mktemp("monitored")
    place = f"127.0.0.1:{free_port()}"
    records = {"AFFIANT_AUDIT_FILE": str(folder / "records.jsonl"), "AFFIANT_AUDIT_KEEP": "90d"}
    server = Server(
        folder, workers=2, environment={"AFFIANT_METRICS": place, "AFFIANT_FAILURE_BURST": "100000", **records}
    )
    with server:
        server.add_api()
        server.affiant("client", "new", "billing", "--scope", "orders.read")
        yield Monitored(server, f"http://{place}/metrics")


def test_decisions_of_all_workers_are_added_up(monitored: Monitored) -> None:
    for _ in range(12):
        assert monitored.issue().is_success
    monitored.refuse(grant_type="client_credentials", client_id="nobody", client_secret=SECRET)
    labels = {"outcome": "issued", "method": "private_key_jwt", "grant": "client_credentials", "reason": ""}
    name = "affiant_token_requests_total"
    found = monitored.until(lambda one: _total(one, name, **labels) == 12 and _total(one, name) == 13)
    assert _total(found, "affiant_request_seconds_count", endpoint="token") == 13
    assert _total(found, "affiant_signature_seconds_count") == 12
    assert _total(found, "affiant_commit_seconds_count") >= 13
    found = monitored.until(lambda one: _total(one, "affiant_live_jtis") == 12 and _total(one, "affiant_workers") == 2)
    assert _total(found, "affiant_audit_newest_number") >= 13
    assert _total(found, "affiant_signing_keys", state="active") == 1
    assert _total(found, "affiant_store_bytes") > 0
    assert 0 <= time.time() - _total(found, "affiant_audit_oldest_timestamp_seconds") < 600
    assert found["affiant_audit_archive_failing"] == {(): 0.0}
    sink = (("sink", "audit_file"),)
    monitored.until(lambda one: one.get("affiant_audit_sink_lag_records", {}).get(sink) == 0)
    assert _total(found, "affiant_background_problems", work="store") == 0
    assert found.keys() >= {"affiant_open_connections", "process_cpu_seconds_total", "affiant_build_info"}


def test_counters_never_go_back_when_workers_are_replaced(monitored: Monitored) -> None:
    before = monitored.until(lambda one: _total(one, "affiant_workers") == 2)
    assert monitored.server.child is not None
    supervisor = monitored.server.child.process.pid
    workers = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text("ascii").split()
    os.kill(int(workers[0]), signal.SIGKILL)
    names = [metric.name for metric in METRICS.values() if metric.kind == "counter" and metric.side == "server"]

    def is_replaced(found: Samples) -> bool:
        for name in names:
            assert _total(found, name) >= _total(before, name), name
        new = _total(found, "process_start_time_seconds") > _total(before, "process_start_time_seconds")
        return new and _total(found, "affiant_workers") == 2

    monitored.until(is_replaced)


@pytest.mark.parametrize("times", [40])
def test_no_label_grows_by_a_stranger(monitored: Monitored, times: int) -> None:
    """Attack: ever new clients, grants, methods, paths and secrets. Only the closed values of the labels are seen."""
    monitored.refuse(grant_type="client_credentials", client_id="made-up", client_secret=SECRET)
    monitored.refuse(grant_type="made-up", client_id="made-up", client_secret=SECRET)
    issuer = monitored.server.issuer
    with httpx2.Client(timeout=20) as http:
        assert http.get(f"{issuer}/made-up-path").status_code == 404
        before = monitored.until(lambda one: _total(one, "affiant_token_requests_total", grant="other") > 0)
        for number in range(times):
            http.post(f"{issuer}/token", data={"grant_type": f"made-up-{number}", "client_id": f"m{number}"})
            http.post(f"{issuer}/token", data={"grant_type": "client_credentials", "client_id": f"m{number}"})
            http.get(f"{issuer}/made-up-path-{number}?{SECRET}")
            http.get(f"{issuer}/errors/made-up-{number}")
            http.get(f"{issuer}/admin/api/made-up-{number}")
            http.request(f"MADEUP{number}", f"{issuer}/jwks")
    total = _total(before, "affiant_token_requests_total") + 2 * times
    found = monitored.until(lambda one: _total(one, "affiant_token_requests_total") >= total)
    text = monitored.text()
    assert not {"made-up", "MADEUP", SECRET, "nobody", "billing"} & set(re.findall(r"[\w.-]+", text))
    assert not re.search(r"made-up|MADEUP|nobody|billing|eyJ", text)
    for name in ("affiant_token_requests_total", "affiant_http_requests_total"):
        assert len(found[name]) - len(before[name]) < 8, found[name].keys()


def test_metrics_are_at_the_main_port_for_viewers_alone(monitored: Monitored) -> None:
    server = monitored.server
    for path in ("/metrics", "/admin/metrics", "/console/metrics"):
        answer = httpx2.get(f"{server.issuer}{path}", timeout=10)
        assert (answer.status_code >= 300, "affiant_" in answer.text) == (True, False), path
    url = f"{server.issuer}/admin/api/metrics"
    token = monitored.issue().json()["access_token"]
    for headers in ({}, {"authorization": f"Bearer {token}"}):
        refused = httpx2.get(url, headers=headers, timeout=10)
        assert (refused.status_code, "affiant_" in refused.text) == (401, False)
    assert httpx2.get(monitored.metrics.replace("/metrics", "/"), timeout=10).status_code == 404
    assert httpx2.post(monitored.metrics, timeout=10).status_code == 405


def test_open_connections_to_the_listener_are_bounded(monitored: Monitored) -> None:
    """Attack: hundreds of connections that send nothing. Scrapes and tokens go on."""
    host, port = monitored.metrics.removeprefix("http://").removesuffix("/metrics").split(":")
    opened = [socket.create_connection((host, int(port)), 5) for _ in range(200)]
    try:
        assert "affiant_workers" in monitored.text()
        assert monitored.issue().is_success
    finally:
        for one in opened:
            one.close()


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is missing: apt-get install prometheus")
def test_promtool_accepts_the_metrics_and_the_rules(monitored: Monitored, tmp_path: Path) -> None:
    assert PROMTOOL is not None
    checked = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=monitored.text(), text=True, capture_output=True, check=False, timeout=30
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    assert monitored.text("application/openmetrics-text; version=1.0.0").endswith("# EOF\n")
    for words in (["rules", "alerts.yaml"], ["config", "prometheus.yaml"]):
        shutil.copytree(DEPLOY / "prometheus", tmp_path / words[0])
        done = subprocess.run(
            [PROMTOOL, "check", *words],
            cwd=tmp_path / words[0],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        # The file of the secret is the reader's.
        assert done.returncode == 0 or "prometheus.secret" in done.stderr, done.stdout + done.stderr
    done = subprocess.run(
        [PROMTOOL, "test", "rules", "alerts.test.yaml"],
        cwd=DEPLOY / "prometheus",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _panels() -> list[dict[str, Any]]:
    return json.loads((DEPLOY / "grafana" / "affiant.json").read_text())["panels"]  # type: ignore[no-any-return]


def _expressions() -> list[str]:
    targets = [target["expr"] for panel in _panels() for target in panel.get("targets", ())]
    return [*targets, *(rule["expr"] for rule in _alerts())]


def test_expressions_name_metrics_that_there_are(monitored: Monitored) -> None:
    assert monitored.issue().is_success
    httpx2.post(f"{monitored.server.issuer}/introspect", data={"token": "none"}, timeout=10)
    httpx2.get(f"{monitored.server.issuer}/jwks", timeout=10)
    counters = ("affiant_token_requests_total", "affiant_requests_total", "affiant_http_requests_total")
    looked = "affiant_signing_keys"
    scraped = monitored.until(lambda one: all(_total(one, name) > 0 for name in (*counters, looked)))
    kinds = {
        f"{name}{suffix}": metric
        for name, metric in METRICS.items()
        for suffix in (("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",))
    }
    absent = {  # here: no trust, no TLS, no KMS, no refused connection, no fetch of a guard
        "affiant_tls_certificate_until_timestamp_seconds", "affiant_followed_feed_age_seconds",
        "affiant_followed_feed_failing", "affiant_fetch_failures_total",
    }  # fmt: skip
    for expression in _expressions():
        names = _NAME.findall(_CLAUSES.sub("", expression))
        for name in names:
            assert name in kinds, f"{name} in {expression}"
            if kinds[name].side == "server" and name not in absent:
                assert name in scraped, f"{name} in {expression}"
        labels = {
            label for found in re.findall(r"\{([^}]*)\}", expression) for label in re.findall(r"(\w+)\s*[=!]", found)
        }
        known = {label for name in names for label in kinds[name].labels} | {"job", "instance", "le"}
        assert labels <= known, expression


def test_each_alert_says_what_it_means_and_what_to_do() -> None:
    headings = set(re.findall(r"^### (\w+)$", PAGE.read_text("utf-8"), re.MULTILINE))
    alerts = [rule for rule in _alerts() if "alert" in rule]
    assert {rule["alert"] for rule in alerts} == headings
    for rule in alerts:
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}
        assert rule["annotations"]["runbook"] == f"docs/how-to/monitor.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_api_and_client_of_the_page_are_measured(monitored: Monitored, monkeypatch: pytest.MonkeyPatch) -> None:
    server, port = monitored.server, free_port()
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(server.folder)
    names: dict[str, Any] = {}
    exec(code.replace("https://as.example", server.issuer).replace("9378", str(port)), names)
    try:
        token = names["service"].token(resource=ORDERS)
        names["guard"].check_sync([f"Bearer {token.value}".encode()], need="orders.read")
        text = httpx2.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    finally:
        names["server"].shutdown()
        names["server"].server_close()
        REGISTRY.unregister(names["telemetry"])
    assert f'affiant_guard_requests_total{{api="{ORDERS}",outcome="accepted",reason=""}} 1.0' in text
    assert f'affiant_guard_check_seconds_count{{api="{ORDERS}"}} 1.0' in text
    assert 'affiant_client_token_requests_total{error="",outcome="renewed"} 1.0' in text
    assert "affiant_client_token_seconds_count 1.0" in text
    assert "billing" not in text


@needs_prometheus
def test_prometheus_gets_a_token_and_fires_an_alert(monitored: Monitored, tmp_path: Path) -> None:
    """Each second: it scrapes the listener, and the admin API with a token of this server; refusals fire an alert."""
    assert PROMETHEUS is not None
    server, port = monitored.server, free_port()
    server.affiant("admin", "bootstrap", "alice")
    server.affiant(
        "client",
        "new",
        "prometheus",
        "--auth",
        "client_secret_basic",
        "--scope",
        "admin.viewer",
        "--resource",
        f"{server.issuer}/admin/api",
    )
    (tmp_path / "prometheus.secret").write_text(server.credentials("prometheus")["client_secret"])
    config = (DEPLOY / "prometheus" / "prometheus.yaml").read_text()
    for written, here in (
        ("15s", "1s"),
        ("127.0.0.1:9377", monitored.metrics.removeprefix("http://").removesuffix("/metrics")),
        ("scheme: https", "scheme: http"),
        ("https://as.example", server.issuer),
        ('"as.example"', f'"127.0.0.1:{server.port}"'),
    ):
        assert written in config
        config = config.replace(written, here)
    (tmp_path / "prometheus.yaml").write_text(config)
    rules = (DEPLOY / "prometheus" / "alerts.yaml").read_text().replace("for: 5m", "for: 1s").replace("[5m]", "[10s]")
    (tmp_path / "alerts.yaml").write_text(rules)
    address = f"127.0.0.1:{port}"
    with Child.start(
        tmp_path,
        PROMETHEUS,
        "--config.file=prometheus.yaml",
        f"--web.listen-address={address}",
        "--storage.tsdb.path=tsdb",
        name="prometheus",
    ) as child:
        child.until_listening(port)

        def has_fired() -> bool:
            monitored.refuse(grant_type="client_credentials", client_id="nobody", client_secret=SECRET)
            found = httpx2.get(f"http://{address}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
            return any(one["labels"]["alertname"] == "AffiantRefusals" and one["state"] == "firing" for one in found)

        child.until(has_fired)
        targets = httpx2.get(f"http://{address}/api/v1/targets", timeout=10).json()["data"]["activeTargets"]
        health = {one["labels"]["job"]: (one["health"], one["lastError"]) for one in targets}
        assert health["affiant"] == ("up", "")
        assert health["affiant-admin"][0] == "up", health["affiant-admin"][1]
