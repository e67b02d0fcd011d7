"""The filters of the activity, as they are in its URL."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import NamedTuple

from affiant.server.console.show import times
from affiant.server.console.view import Form

# The filters of `GET /audit`, and what a page calls them.
NAMES = {
    "client_id": "client",
    "outcome": "result",
    "reason": "reason",
    "endpoint": "endpoint",
    "by": "changed by",
    "since": "since",
    "until": "until",
}
_TIMES = ("since", "until")
_OPTIONS = {name: f"--{name.removesuffix('_id')}" for name in ("client_id", "outcome", "reason", *_TIMES)}


class Chip(NamedTuple):
    """One filter, and all filters without it."""

    name: str  # on the page
    shown: str
    others: dict[str, str]


class Filters:
    """The filters that a query has; unknown parameters are none."""

    def __init__(self, query: Form) -> None:
        self.chosen: dict[str, str] = {name: query.text(name) for name in NAMES if query.text(name)}

    @property
    def all(self) -> dict[str, str]:
        """All filters, those that are not chosen empty."""
        return dict.fromkeys(NAMES, "") | self.chosen

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        return tuple(self.chosen.items())

    @property
    def chips(self) -> list[Chip]:
        return [
            Chip(NAMES[name], _shown(name, value), {n: v for n, v in self.chosen.items() if n != name})
            for name, value in self.chosen.items()
        ]

    @property
    def is_open(self) -> bool:
        """Whether new records may be among those that are chosen."""
        return "until" not in self.chosen

    def with_(self, **more: str) -> dict[str, str]:
        return self.chosen | more

    @property
    def command(self) -> str | None:
        """The command that lists the same; None if it does not know one of these filters."""
        if not self.chosen.keys() <= _OPTIONS.keys():
            return None
        given = [(_OPTIONS[name], _shown(name, value, times.machine)) for name, value in self.chosen.items()]
        return shlex.join(["affiant", "audit", "show", *(word for pair in given for word in pair)])


def _shown(name: str, value: str, write: Callable[[float], str] = times.utc) -> str:
    return write(float(value)) if name in _TIMES else value
