"""A record of the audit log as one row of a list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from markupsafe import Markup

from affiant.server.console.show import dots
from affiant.server.console.show.dots import Dot

REFUSED = "refused"
_QUIET = frozenset({"limited", "restored", "archived", "announced", "advanced"})  # by the server itself


class Members(dict[str, Any]):
    """The members of a record, in which one that is not there is None."""

    def __missing__(self, name: str) -> None:
        return None


class Row(NamedTuple):
    """A record: its number, its members, and which of three kinds it is (`good`, `bad` or `other`)."""

    number: int
    record: Members
    kind: str

    @classmethod
    def of(cls, item: dict[str, Any]) -> Row:
        record = Members(item["record"])
        outcome = record.get("outcome")
        is_change = outcome in _QUIET or record.get("by") is not None
        return cls(item["number"], record, "bad" if outcome == REFUSED else "other" if is_change else "good")

    @property
    def at(self) -> float:
        at = self.record.get("at")
        return float(at) if isinstance(at, int | float) else 0.0

    @property
    def milliseconds(self) -> float | None:
        found = self.record.get("milliseconds")
        return float(found) if isinstance(found, int | float) else None

    @property
    def client(self) -> str | None:
        """The client that proved itself."""
        return self.record.get("client_id")

    @property
    def who(self) -> str:
        """The client as it is shown: the proved one, the claimed one, or who changed something."""
        found = self.client or self.record.get("client_claimed") or self.record.get("by")
        return str(found or "")


def plot(rows: Iterable[Row]) -> Markup:
    """Return the plot of these decisions."""
    drawn = [
        Dot(row.at, row.milliseconds, row.kind, f"{row.who} {row.record.get('reason') or row.record.get('outcome')}")
        for row in rows
        if row.milliseconds is not None
    ]
    return dots.draw(drawn, f"{len(drawn)} decisions, by when they came and how long they took")
