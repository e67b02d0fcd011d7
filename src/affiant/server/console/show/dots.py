"""Decisions as dots: when each came, and how long it took, on a scale of powers of ten."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from affiant.server.console.show import times

_WIDTH, _HEIGHT = 720, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 8, 22
_LOWEST, _HIGHEST = -1, 4  # powers of ten of a millisecond
_LINES = ((-1, "0.1 ms"), (0, "1 ms"), (1, "10 ms"), (2, "100 ms"), (3, "1 s"), (4, "10 s"))
_SIZE = 3.2
# A refusal has another shape, too, for readers who see no difference of colours.
_SHAPES = {
    "good": Markup('<circle class="dot-good" cx="{x}" cy="{y}" r="{r}"><title>{title}</title></circle>'),
    "other": Markup('<rect class="dot-other" x="{x}" y="{y}" width="{r}" height="{r}"><title>{title}</title></rect>'),
    "bad": Markup('<path class="dot-bad" d="M{x} {y}m-{r}-{r}l{d} {d}m-{d} 0l{d}-{d}"><title>{title}</title></path>'),
}


class Dot(NamedTuple):
    """One decision; `at` in seconds since the epoch, `kind` is good, bad or other."""

    at: float
    milliseconds: float
    kind: str
    title: str


def draw(dots: Sequence[Dot], label: str) -> Markup:
    """Return the plot of these dots."""
    first, last = min((dot.at for dot in dots), default=0.0), max((dot.at for dot in dots), default=0.0)
    span = max(last - first, 0.001)
    drawn = Markup("").join(_dot(dot, (dot.at - first) / span) for dot in dots)
    begins, ends = (times.utc(first), times.utc(last)) if dots else ("", "")
    axis = Markup('<text x="{}" y="{}">{}</text><text x="{}" y="{}" text-anchor="end">{}</text>').format(
        _LEFT, _HEIGHT - 6, begins, _WIDTH - _RIGHT, _HEIGHT - 6, ends
    )
    return Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>').format(
        _WIDTH, _HEIGHT, label, _grid(), axis, drawn
    )


def _dot(dot: Dot, place: float) -> Markup:
    x, y = _LEFT + place * (_WIDTH - _LEFT - _RIGHT), _y(dot.milliseconds)
    if dot.kind == "other":
        x, y = x - _SIZE, y - _SIZE
    size = 2 * _SIZE if dot.kind == "other" else _SIZE
    return _SHAPES[dot.kind].format(x=f"{x:.1f}", y=f"{y:.1f}", r=f"{size:.1f}", d=f"{2 * _SIZE:.1f}", title=dot.title)


def _grid() -> Markup:
    row = Markup(
        '<line class="grid-line" x1="{}" x2="{}" y1="{}" y2="{}"/>'
        '<text x="{}" y="{}" text-anchor="end" dominant-baseline="middle">{}</text>'
    )
    shown = []
    for power, name in _LINES:
        y = f"{_y(10.0**power):.1f}"
        shown.append(row.format(_LEFT, _WIDTH - _RIGHT, y, y, _LEFT - 6, y, name))
    return Markup("").join(shown)


def _y(milliseconds: float) -> float:
    power = min(max(math.log10(max(milliseconds, 1e-6)), _LOWEST), _HIGHEST)
    return _HEIGHT - _BOTTOM - (power - _LOWEST) / (_HIGHEST - _LOWEST) * (_HEIGHT - _TOP - _BOTTOM)
