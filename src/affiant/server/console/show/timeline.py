"""The signing keys as a timeline: one row for each key, with now, and the age that a copy of the key set may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from affiant.server.console.show import times

DAY = 86_400
_LEFT, _WIDTH, _ROW, _TOP = 150, 720, 30, 26
_AFTER = 30 * DAY  # shown after now, and of keys that were removed before it
_COLOURS = {"announced": 3, "active": 1, "retiring": 6}
_KID = 14  # characters of a kid
_BAR = Markup('<rect class="bar-{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="14" rx="3"><title>{}</title></rect>')


class _Scale(NamedTuple):
    """Places instants between two others."""

    first: float
    last: float

    def x(self, at: float) -> float:
        share = (min(max(at, self.first), self.last) - self.first) / max(1.0, self.last - self.first)
        return _LEFT + share * (_WIDTH - _LEFT)


def draw(keys: Sequence[Mapping[str, Any]], now: float, *, copy_age: float) -> Markup:
    """Return the timeline of these documents of keys; a guard may verify with a copy that is `copy_age` seconds old."""
    shown = [key for key in keys if key["removed_at"] is None or key["removed_at"] > now - _AFTER]
    scale = _Scale(min([now - DAY, *(key["announced_at"] for key in shown)]), max([now + _AFTER, *_ends(shown)]))
    height = _TOP + _ROW * len(shown) + 22
    rows = [_row(key, _TOP + _ROW * place, scale) for place, key in enumerate(shown)]
    left, right = scale.x(now - copy_age), scale.x(now)
    horizon = Markup(
        '<rect class="horizon" x="{:.1f}" y="{}" width="{:.1f}" height="{}"><title>a copy of the key set that is in'
        " use now may be from here</title></rect>"
        '<line class="now" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>'
        '<text x="{:.1f}" y="14" text-anchor="middle">now</text>'
    ).format(left, _TOP - 6, max(right - left, 2), height - _TOP - 12, right, right, _TOP - 6, height - 18, right)
    ends = Markup('<text x="{}" y="{}">{}</text><text x="{}" y="{}" text-anchor="end">{}</text>').format(
        _LEFT, height - 4, times.utc(scale.first)[:10], _WIDTH, height - 4, times.utc(scale.last)[:10]
    )
    return Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>').format(
        _WIDTH, height, _describe(shown, now), horizon, Markup("").join(rows), ends
    )


def _ends(keys: Sequence[Mapping[str, Any]]) -> Iterator[float]:
    for key in keys:
        yield from (key[name] for name in ("active_at", "retiring_at", "removed_at") if key[name] is not None)


def spans(key: Mapping[str, Any], last: float) -> Iterator[tuple[str, float, float]]:
    """Yield each state that a key has had or will have, with its begin and its end; `last` for one without an end."""
    removed = key["removed_at"] if key["removed_at"] is not None else last
    instants = [
        ("announced", key["announced_at"], min(key["active_at"], removed)),
        ("active", key["active_at"], key["retiring_at"] if key["retiring_at"] is not None else removed),
        ("retiring", key["retiring_at"] if key["retiring_at"] is not None else removed, removed),
    ]
    for state, begin, end in instants:
        if end > begin:
            yield state, begin, end


def _row(key: Mapping[str, Any], y: float, scale: _Scale) -> Markup:
    bars = [
        _BAR.format(
            _COLOURS[state],
            scale.x(begin),
            y,
            max(scale.x(end) - scale.x(begin), 2),
            f"{key['kid']}: {state} {times.utc(begin)} to {times.utc(end)}",
        )
        for state, begin, end in spans(key, scale.last)
    ]  # fmt: skip
    name = key["kid"] if len(key["kid"]) <= _KID else f"{key['kid'][:_KID]}…"
    return Markup('<text x="0" y="{:.1f}">{} {}</text>{}').format(y + 11, name, key["alg"], Markup("").join(bars))


def _describe(keys: Sequence[Mapping[str, Any]], now: float) -> str:
    """Return the timeline in words."""
    said = [f"{key['kid']} {key['state']}, signs from {times.relative(key['active_at'], now)}" for key in keys]
    return "Signing keys over time. " + ". ".join(said)
