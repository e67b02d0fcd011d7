"""The chart of the overview: issued and refused over time, the refused by their reasons."""

from __future__ import annotations

from collections.abc import Callable

from affiant.server.console.show import history
from affiant.server.console.show.history import Counts, Window
from affiant.server.console.show.plots import COLOURS, Plot, Series

_REASONS = COLOURS - 2  # that have a colour of their own; the others share the last one
Link = Callable[..., str]


def build(counts: Counts, window: Window, title: str, link: Link) -> Plot:
    """Return the chart; each part of a bar leads to its requests in Activity."""
    refused = history.of_kind(counts, history.REFUSED)
    reasons = history.labels(refused)
    rows = [_series("issued", history.of_kind(counts, history.ISSUED), window, _to(link, outcome="issued"))]
    rows += [
        _series(reason, history.of_kind(refused, history.REFUSED, reason), window, _to(link, reason=reason))
        for reason in reasons[:_REASONS]
    ]
    if others := reasons[_REASONS:]:
        rest = [one for one in refused if one["label"] in others]
        rows.append(_series(f"{len(others)} other reasons", rest, window, _to(link, outcome="refused")))
    return Plot(f"Token requests over {title}, by their outcome (UTC)", window.marks(), rows)


def _series(name: str, counts: Counts, window: Window, to: Callable[[int, int], str]) -> Series:
    links = [to(at, at + window.step) for at in window.begins]
    return Series(name, window.sums(counts), to(window.since, window.until), links)


def _to(link: Link, **chosen: str) -> Callable[[int, int], str]:
    """Return the function that makes the link to the requests of a time."""
    return lambda since, until: link("activity", endpoint="token", **chosen, since=since, until=until)
