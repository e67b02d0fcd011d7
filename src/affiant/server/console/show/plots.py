"""Plots, drawn on the server as inline SVG: markup made of numbers and escaped texts, coloured by CSS classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

COLOURS = 6  # of console.css: --plot-1 to --plot-6; the last one is for all further series
_SPARK_WIDTH, _SPARK_HEIGHT = 100, 24
_WIDTH, _HEIGHT = 720, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 8, 10, 22  # margins, for the texts of the axes
_STEPS = (1, 2, 5, 10)
_GRID_LINES = 4


class Series(NamedTuple):
    """One kind of what is counted: its name, and its value in each slot of time.

    `link` is the page of the whole series, `links` has that of each slot.
    """

    name: str
    values: Sequence[float]
    link: str = ""
    links: Sequence[str] = ()


class Plot(NamedTuple):
    """The contents of a plot.

    `marks` names each slot of time. `links` has the page of each slot, if one can be opened.
    """

    label: str  # for readers who do not see it
    marks: Sequence[str]
    series: Sequence[Series]
    links: Sequence[str] = ()


def sparkline(values: Sequence[float], label: str) -> Markup:
    """Return a small line without axes."""
    step, top = _SPARK_WIDTH / max(1, len(values) - 1), max([*values, 1])
    points = " ".join(
        f"{place * step:.1f},{_SPARK_HEIGHT - 2 - value / top * (_SPARK_HEIGHT - 4):.1f}"
        for place, value in enumerate(values)
    )
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<polyline class="line-1" points="{}"/></svg>'
    ).format(_SPARK_WIDTH, _SPARK_HEIGHT, label, points)


def stacked_bars(plot: Plot) -> Markup:
    """Return one bar for each slot, with the series on top of each other."""
    totals = [sum(values) for values in zip(*(one.values for one in plot.series), strict=True)]
    top = ceiling(max([*totals, 1]))
    width = (_WIDTH - _LEFT - _RIGHT) / max(1, len(plot.marks))
    bars = [_bar(plot, place, _LEFT + place * width, (width, top)) for place, total in enumerate(totals) if total]
    return _frame(plot, top, Markup("").join(bars))


def lines(plot: Plot) -> Markup:
    """Return one line for each series."""
    top = ceiling(max([*(value for one in plot.series for value in one.values), 1]))
    step = (_WIDTH - _LEFT - _RIGHT) / max(1, len(plot.marks) - 1)
    drawn = [
        Markup('<polyline class="line-{}" points="{}"><title>{}</title></polyline>').format(
            colour(number),
            " ".join(f"{_LEFT + place * step:.1f},{_y(value, top):.1f}" for place, value in enumerate(one.values)),
            one.name,
        )
        for number, one in enumerate(plot.series)
    ]
    return _frame(plot, top, Markup("").join(drawn))


def legend(plot: Plot) -> Markup:
    """Return the names of the series with their colours and sums, as a list."""
    rows = [
        Markup('<li><svg class="key" viewBox="0 0 10 10" aria-hidden="true"><rect class="bar-{}" width="10"'
               ' height="10" rx="2"/></svg> {} <span class="soft">{}</span></li>').format(
            colour(number),
            Markup('<a href="{}">{}</a>').format(one.link, one.name) if one.link else one.name,
            _text(sum(one.values)),
        )
        for number, one in enumerate(plot.series)
    ]  # fmt: skip
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(rows))


def colour(number: int) -> int:
    """Return the number of the colour of a series, counted from 0."""
    return min(number + 1, COLOURS)


def ceiling(value: float) -> float:
    """Return the next round number, which ends the axis: 1, 2 or 5 times a power of ten."""
    size = 1.0
    while size * 10 < value:
        size *= 10
    return next(step * size for step in _STEPS if step * size >= value)


def _bar(plot: Plot, place: int, left: float, scale: tuple[float, float]) -> Markup:
    (width, top), below, parts = scale, 0.0, []
    for number, one in enumerate(plot.series):
        value = one.values[place]
        if value:
            high, low = _y(below + value, top), _y(below, top)
            part = Markup('<rect class="bar-{}" x="{}" y="{}" width="{}" height="{}"/>').format(
                colour(number),
                f"{left + width * 0.1:.1f}",
                f"{high:.1f}",
                f"{width * 0.8:.1f}",
                f"{low - high:.1f}",
            )
            parts.append(_linked(part, one, place))
            below += value
    said = ", ".join(f"{one.name} {_text(one.values[place])}" for one in plot.series if one.values[place])
    bar = Markup("<g><title>{}: {}</title>{}</g>").format(plot.marks[place], said, Markup("").join(parts))
    if not plot.links:
        return bar
    return Markup('<a href="{}" aria-label="{}: {}">{}</a>').format(plot.links[place], plot.marks[place], said, bar)


def _linked(part: Markup, one: Series, place: int) -> Markup:
    """Return the part of a bar with its page. It is no stop of the Tab key: the legend leads to the same requests."""
    if not one.links:
        return part
    said = f"{one.name} {_text(one.values[place])}"
    return Markup('<a href="{}" tabindex="-1" aria-label="{}">{}</a>').format(one.links[place], said, part)


def _frame(plot: Plot, top: float, drawn: Markup) -> Markup:
    """Return the plot with its axes; a plot with links is no picture, or they could not be reached by keyboard."""
    grid = []
    for number in range(_GRID_LINES + 1):
        value = top * number / _GRID_LINES
        y = f"{_y(value, top):.1f}"
        grid.append(
            Markup(
                '<line class="grid-line" x1="{}" x2="{}" y1="{}" y2="{}"/>'
                '<text x="{}" y="{}" text-anchor="end" dominant-baseline="middle">{}</text>'
            ).format(_LEFT, _WIDTH - _RIGHT, y, y, _LEFT - 6, y, _text(value))
        )
    return Markup('<svg class="plot" viewBox="0 0 {} {}" role="{}" aria-label="{}">{}{}{}</svg>').format(
        _WIDTH,
        _HEIGHT,
        "group" if plot.links or any(one.links for one in plot.series) else "img",
        plot.label,
        Markup("").join(grid),
        _marks(plot.marks),
        drawn,
    )


def _marks(marks: Sequence[str]) -> Markup:
    """Return the names of the first, the middle and the last slot."""
    places = [(0, _LEFT, "start"), (len(marks) // 2, (_LEFT + _WIDTH - _RIGHT) / 2, "middle")]
    places.append((len(marks) - 1, _WIDTH - _RIGHT, "end"))
    shown = places if len(marks) > 2 else places[: len(marks)]  # noqa: PLR2004 - three places
    return Markup("").join(
        Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(x, _HEIGHT - 6, anchor, marks[place])
        for place, x, anchor in shown
    )


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - value / top * (_HEIGHT - _TOP - _BOTTOM)


def _text(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}".rstrip("0")
