"""A server, as far as the checks have come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from affiant.cli.diagnosis.checkup.finding import Finding
from affiant.server.request.audit.sinks.lag import Lag
from affiant.server.settings import Settings

DAY = 86_400
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts that the database has.

    Attributes:
        issuer: of the server.
        is_issuer_known: False if it is only the default address.
        kids: of the signing keys that a server must publish.
        signing: the findings about signing keys.
        weak: names of clients whose secret can be guessed.
        backed_up_at: when the last backup was noted.
        oldest_at: the time of the oldest audit record that is in the log.
        newest_at: that of the newest.
        records_a_day: how fast the audit log grows.
        sinks: of the audit log, that ever began, with the lag of each, and why its last batch was not delivered.
        archive_problem: why the last attempt to archive failed.
        rotating_since: when a rotation of the master key began that is not finished.
    """

    issuer: str
    is_issuer_known: bool
    kids: frozenset[str]
    signing: Sequence[Finding]
    weak: Sequence[str]
    backed_up_at: int | None
    oldest_at: float | None
    newest_at: float | None
    records_a_day: float | None
    sinks: Mapping[str, tuple[Lag, str]]
    archive_problem: str
    rotating_since: int | None


@dataclass(slots=True)
class Installation:
    """A check that needs what is None or False finds nothing."""

    chosen: Settings
    has_data: bool = False
    is_current: bool = False  # the database is whole, and has the schema of this version
    free: int | None = None  # bytes of the disk
    is_full: bool = False  # the disk: writes fail, now or soon
    facts: Facts | None = None


Check = Callable[[Installation], Iterator[Finding]]
