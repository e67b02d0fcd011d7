"""Ask every road of affiant, and every peer, about every row of the grid."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field

from bench.guards import roads
from bench.guards.roads import JOINING, Road, Sender
from bench.guards.rows import INVALID, Row


@dataclass
class Column:
    """What one subject made of the rows it was asked about."""

    name: str
    asked: int = 0
    accepted: int = 0
    wrongly_accepted: list[str] = field(default_factory=list)
    wrongly_refused: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # by row: neither accepted nor refused

    @property
    def wrong(self) -> int:
        return len(self.wrongly_accepted) + len(self.wrongly_refused) + len(self.failed)


def ours(name: str, road: Road, rows: Iterable[Row]) -> Column:
    """Send each row over HTTP."""
    column = Column(name)
    with road(roads.guard()) as port, closing(Sender(port)) as sender:
        for row in rows:
            expected = INVALID if name in JOINING and len(row.authorization) > 1 else row.expected
            status = sender.send(row.authorization, query=row.query).status
            column.asked += 1
            column.accepted += status == 200
            if status in expected:
                continue
            if status == 200:
                column.wrongly_accepted.append(row.name)
            elif 200 in expected:
                column.wrongly_refused.append(row.name)
            else:
                column.failed[row.name] = f"{status} in place of {min(expected)}"
    return column


def theirs(name: str, verdicts: Iterable[tuple[Row, str]]) -> Column:
    """Count verdicts: ``accepted``, ``refused``, or what was raised that is no refusal."""
    column = Column(name)
    for row, verdict in verdicts:
        column.asked += 1
        column.accepted += verdict == "accepted"
        if verdict not in ("accepted", "refused"):
            column.failed[row.name] = verdict
        elif row.is_valid is False and verdict == "accepted":
            column.wrongly_accepted.append(row.name)
        elif row.is_valid is True and verdict == "refused":
            column.wrongly_refused.append(row.name)
    return column
