"""The figures and the chart of the overview: what is counted is shown, and leads to its requests."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from affiant.server.console.pages.home import chart, figures
from affiant.server.console.rendering import build_link
from affiant.server.console.show import history
from affiant.server.console.show.history import SPANS, Window

NOW = 1_800_000_030
WINDOW = Window.ending(NOW, SPANS["1h"])
LAST = WINDOW.begins[-2]  # the last complete minute


def counts(*series: tuple[str, str, int]) -> history.Counts:
    document: dict[str, Any] = {
        "series": [{"kind": kind, "label": label, "points": [[LAST, number]]} for kind, label, number in series]
    }
    return history.read(document)


def test_figures() -> None:
    found = counts(("issued", "", 90), ("refused", "a", 10), ("latency", "2", 80), ("latency", "20", 10))
    shown = [(figure.value, figure.note) for figure in figures.build(found, WINDOW, 7)]
    assert shown == [
        ("18", "90 in the last hour"),
        ("2", "10 in the last hour: 10.0 % of the requests"),
        ("2 / 20 ms", "p50 / p99 in the last hour, at most"),
        ("7", "got a token in this hour or the last one"),
    ]


def test_figures_of_an_idle_server() -> None:
    assert [figure.value for figure in figures.build([], WINDOW, 0)] == ["0", "0", "none", "0"]


def test_chart_leads_to_the_requests() -> None:
    plot = chart.build(counts(("issued", "", 3), ("refused", "jwt.aud", 2)), WINDOW, "1 hour", build_link("/console"))
    issued, refused = plot.series
    assert (sum(issued.values), sum(refused.values)) == (3, 2)
    leads_to = urlsplit(refused.links[list(WINDOW.begins).index(LAST)])
    assert leads_to.path == "/console/activity"
    assert parse_qs(leads_to.query) == {
        "endpoint": ["token"],
        "reason": ["jwt.aud"],
        "since": [str(LAST)],
        "until": [str(LAST + 60)],
    }


def test_rare_reasons_share_a_colour() -> None:
    many = counts(*(("refused", f"reason.{number}", 10 - number) for number in range(8)))
    series = chart.build(many, WINDOW, "1 hour", build_link("/console")).series
    assert [one.name for one in series] == ["issued", *(f"reason.{number}" for number in range(4)), "4 other reasons"]
    assert sum(sum(one.values) for one in series) == history.total(many)
