"""Counts of decisions by minute, hour and day: the history that plots and lists show.

The units, the kinds and how long each is kept are closed sets, and a client is counted by name only while it is
registered. So the table is bounded, whatever strangers send.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from affiant.system.values import Value

MINUTE: Final = "minute"
HOUR: Final = "hour"
DAY: Final = "day"
SECONDS: Final = {MINUTE: 60, HOUR: 3600, DAY: 86_400}
UNITS: Final = tuple(SECONDS)

ISSUED: Final = "issued"  # access tokens; no label
REFUSED: Final = "refused"  # token requests, by the code of the reason
OTHER: Final = "other"  # requests to the other endpoints, by endpoint and outcome: `introspect introspected`
LATENCY: Final = "latency"  # issued tokens, by the upper bound in milliseconds of the time that they took
AGE: Final = "age"  # verified assertions, by the upper bound in seconds of their age (now - iat)
KEY: Final = "key"  # uses of a client's credentials, by the name that KeyUse has for it
OBSERVED: Final = "observed"  # requests that a stricter rule would have refused, by the code of that reason
API: Final = "api"  # issued tokens, by the identifier of the API
KINDS: Final = (ISSUED, REFUSED, OTHER, LATENCY, AGE, KEY, OBSERVED, API)

SERVER: Final = ""  # the client_id of the counts of the whole server
_HOUR, _DAY = SECONDS[HOUR], SECONDS[DAY]
# Seconds for which counts are kept: those of the whole server, and those of one client.
KEPT_OF_SERVER: Final = {MINUTE: 48 * _HOUR, HOUR: 31 * _DAY, DAY: 400 * _DAY}
KEPT_OF_CLIENT: Final = {MINUTE: 0, HOUR: 48 * _HOUR, DAY: 31 * _DAY}

TOP_ROWS: Final = 50_000  # counts that one search for the highest sums reads at most


class Count(Value, frozen=True):
    """How often something happened in one minute, hour or day, which begins at `at` (epoch seconds, UTC)."""

    unit: str
    at: int
    client_id: str  # SERVER: of all clients together, and of requests that name none
    kind: str
    label: str
    count: int

    @property
    def key(self) -> tuple[str, str, str, int, str]:
        """The order of the primary key, in which every store writes."""
        return self.client_id, self.unit, self.kind, self.at, self.label


class Selection(NamedTuple):
    """The counts of these clients and kinds that begin at `since` or later, and before `until`."""

    unit: str
    since: int
    until: int
    client_ids: tuple[str, ...] = (SERVER,)
    kinds: tuple[str, ...] = KINDS


class Total(Value, frozen=True):
    """The sum of several counts."""

    client_id: str
    kind: str
    label: str
    count: int


def begin(unit: str, now: float) -> int:
    """Return the beginning of the minute, hour or day (UTC) of this instant."""
    seconds = SECONDS[unit]
    return int(now) // seconds * seconds


def is_over(count: Count, now: int) -> bool:
    """Whether this count has been kept for long enough."""
    kept = KEPT_OF_SERVER if count.client_id == SERVER else KEPT_OF_CLIENT
    return count.at < now - kept[count.unit]
