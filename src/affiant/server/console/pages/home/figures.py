"""The four figures of the overview, each with its last hour as a line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from markupsafe import Markup

from affiant.server.console.show import history, plots
from affiant.server.console.show.history import Counts, Window

_MINUTES = 5  # complete minutes of which a rate is the mean


class Figure(NamedTuple):
    """A figure with its title, what it means, and its last hour."""

    title: str
    value: str
    note: str
    line: Markup


def build(counts: Counts, window: Window, active: int) -> list[Figure]:
    """Return the figures of these counts by minute; `active` clients got a token lately."""
    issued, refused = history.of_kind(counts, history.ISSUED), history.of_kind(counts, history.REFUSED)
    latencies = history.of_kind(counts, history.LATENCY)
    number, failed = history.total(issued), history.total(refused)
    share = 100 * failed / (number + failed) if failed else 0
    return [
        _rate("Tokens a minute", window.sums(issued), f"{number:,} in the last hour"),
        _rate("Refusals a minute", window.sums(refused), f"{failed:,} in the last hour: {share:.1f} % of the requests"),
        _latency(latencies, window),
        Figure("Active clients", f"{active:,}", "got a token in this hour or the last one", Markup()),
    ]


def _rate(title: str, sums: list[int], note: str) -> Figure:
    mean = sum(sums[-_MINUTES - 1 : -1]) / _MINUTES
    shown = f"{mean:,.0f}" if mean >= 10 or mean == int(mean) else f"{mean:.1f}"  # noqa: PLR2004 - two digits
    return Figure(title, shown, note, plots.sparkline(sums, f"{title}, over the last hour"))


def _latency(latencies: Iterable[Mapping[str, Any]], window: Window) -> Figure:
    """Return half and nearly all of the tokens: the bounds of the time that they took."""
    all_of_them = list(latencies)
    half, most = (history.percentile(all_of_them, share) for share in (0.5, 0.99))
    by_minute = [history.percentile([one for one in all_of_them if one["at"] == at], 0.99) or 0 for at in window.begins]
    line = plots.sparkline([0 if value == math.inf else value for value in by_minute], "p99, over the last hour")
    if half is None or most is None:
        return Figure("Time for a token", "none", "no token in the last hour", line)
    return Figure(
        "Time for a token", f"{_bound(half)} / {_bound(most)} ms", "p50 / p99 in the last hour, at most", line
    )


def _bound(bound: float) -> str:
    return "more" if bound == math.inf else f"{bound:,g}"
