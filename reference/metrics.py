"""docs/reference/metrics.md: every metric of the server, the guard and the client."""

from __future__ import annotations

from reference.markdown import code, head, table

from affiant.telemetry.table import LABELS, METRICS, Metric

_TEXT = """\
What Prometheus finds at `/metrics`: [how to switch it on](../how-to/monitor.md). All times are in seconds. A label is
left out where it is empty. The numbers of all worker processes of a node are added up; each node has its own."""
_SIDES = {
    "server": "## Server",
    "guard": "## Guard\n\nOf `Guard(..., telemetry=Telemetry())`, and of `affiant guard serve` at its `/metrics`.",
    "client": "## Client\n\nOf `Service(..., telemetry=Telemetry())`.",
}


def build() -> str:
    """The page, in Markdown."""
    sections = (_section(side, text) for side, text in _SIDES.items())
    labels = table(("label", "values"), ((code(name), meaning) for name, meaning in LABELS.items()))
    page = head("Metrics", _TEXT, change="src/affiant/telemetry/table.py")
    return f"{page}{''.join(sections)}\n## Labels\n\nNo label has a value that a stranger chooses.\n{labels}"


def _section(side: str, text: str) -> str:
    rows = (_row(metric) for metric in METRICS.values() if metric.side == side)
    return f"\n{text}\n{table(('metric', 'kind', 'labels', 'meaning'), rows)}"


def _row(metric: Metric) -> tuple[str, ...]:
    return code(metric.name), metric.kind, ", ".join(map(code, metric.labels)), metric.help
