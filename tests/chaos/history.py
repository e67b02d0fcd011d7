"""What clients saw, one JSON line for each request, in the order of the answers."""

from pathlib import Path

import msgspec

ISSUED, REFUSED, LIMITED, UNAVAILABLE, LOST, MALFORMED = (
    "issued",
    "refused",  # 400 and 401
    "limited",  # 429
    "unavailable",  # 503
    "lost",  # the connection ended before the answer: it may be either
    "malformed",  # an answer that no client should ever see; `reason` says why
)


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request and its answer.

    Attributes:
        start: in seconds, of a clock that only goes forward; so is `end`.
        exp: of the assertion, in seconds since the epoch.
        trace: the trace id of the answer.
        at: when it was sent, in seconds since the epoch.
    """

    op: str
    client: str
    jti: str
    start: float
    end: float
    outcome: str
    exp: int
    at: float = 0.0
    trace: str | None = None
    reason: str | None = None


class History:
    """The events of a run, in memory and in a file that outlives a test that fails."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[Event] = []
        self._file = path.open("wb")

    def add(self, event: Event) -> None:
        """Append it."""
        self.events.append(event)
        self._file.write(msgspec.json.encode(event) + b"\n")

    def close(self) -> None:
        """Bring all of it into the file."""
        self._file.close()

    def of(self, outcome: str) -> list[Event]:
        """The events with this outcome."""
        return [event for event in self.events if event.outcome == outcome]

    def count(self, outcome: str) -> int:
        """How many have this outcome."""
        return sum(event.outcome == outcome for event in self.events)


def read(path: Path) -> list[Event]:
    """The events of a file."""
    return [msgspec.json.decode(line, type=Event) for line in path.read_bytes().splitlines()]
