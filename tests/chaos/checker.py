"""The judge of every experiment: what clients saw, held against what the database holds.

It knows nothing of the experiment. Whatever was killed, locked, filled or moved, the same must be true.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from tests.chaos.history import ISSUED, LOST, MALFORMED, REFUSED, UNAVAILABLE, Event

from affiant.errors.reasons import Reason
from affiant.jose import claims
from affiant.oauth import assertion
from affiant.storage.entries import AuditRow
from affiant.storage.history.audit_chain import Broken, Verification

DEADLINE = 5.0  # seconds that the server promises
GRACE = 1.0  # for a deadline that looks four times a second, and for a machine that runs the clients too
SHOWN = 5  # violations of one kind in a report

Name = tuple[str, str]  # client, and the digest of the jti, hexadecimal


class Record(msgspec.Struct, frozen=True):
    """What the checker reads of an audit record."""

    trace_id: str
    outcome: str
    client_id: str | None = None
    jti_digest: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Evidence:
    """What the database holds after a run.

    Attributes:
        claims: until when each jti stays claimed.
        forgotten: up to here claims were purged: one that ends by then is refused as used, claimed or not.
        rows: the audit log, in its order.
        given: the highest number that it ever gave.
    """

    claims: dict[Name, int]
    rows: Sequence[AuditRow]
    given: int
    forgotten: int = 0

    def has_spent(self, event: Event, *, now: float) -> bool:
        """Whether what got this token can never get another: by its claim, by what was purged, or by its own end."""
        has_ended = event.exp + claims.LEEWAY <= now
        is_forgotten = event.exp + 2 * claims.LEEWAY <= self.forgotten  # a claim outlives what it is of by a leeway
        return has_ended or is_forgotten or (event.client, digest(event.jti)) in self.claims


@dataclass
class Verdict:
    """What was counted, and every way in which a promise was broken."""

    outcomes: Counter[str]
    records: int
    violations: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def __str__(self) -> str:
        lines = [
            f"{kind} ({len(found)}): " + "; ".join(found[:SHOWN]) for kind, found in sorted(self.violations.items())
        ]
        return "\n".join([f"{dict(self.outcomes)}, {self.records} audit records", *lines])


def digest(jti: str) -> str:
    """The digest of a jti in the database."""
    return assertion.digest(jti, whole=b"").hex()


def read_sqlite(path: Path) -> Evidence:
    """The evidence in a SQLite file, as of one moment."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        claims = connection.execute("SELECT client_id, digest, expires_at FROM jti")
        rows = connection.execute("SELECT number, trace_id, record, link FROM audit ORDER BY number")
        given = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").fetchone()
        (forgotten,) = connection.execute("SELECT until FROM forgotten").fetchone()
        return Evidence(
            {(client, jti.hex()): until for client, jti, until in claims},
            [AuditRow._make(row) for row in rows],
            given[0] if given else 0,
            forgotten,
        )


def check(
    events: Sequence[Event], evidence: Evidence, *, audit_key: bytes, now: float, deadline: float = DEADLINE + GRACE
) -> Verdict:
    """Judge a run.

    Args:
        events: what clients saw; of all clients that there were.
        evidence: read when all of them had stopped.
        audit_key: what the audit log is chained under.
        now: in seconds since the epoch, when the evidence was read.
        deadline: seconds that an answer may take.
    """
    records = [msgspec.json.decode(row.record, type=Record) for row in evidence.rows]
    verdict = Verdict(Counter(event.outcome for event in events), len(records))
    for kind, found in (
        *(("answer", text) for text in _answers(events, deadline)),
        *(("double", text) for text in _doubles(events, records)),
        *(("lost", text) for text in _missing(events, evidence, records, now)),
        *(("unasked", text) for text in _unasked(events, records)),
        *(("torn", text) for text in _torn(events, evidence, records, now)),
        *(("chain", text) for text in _chain(evidence, audit_key)),
    ):
        verdict.violations[kind].append(found)
    return verdict


def approve(events: Sequence[Event], evidence: Evidence, *, audit_key: bytes, now: float) -> Verdict:
    """The verdict, when nothing was broken."""
    verdict = check(events, evidence, audit_key=audit_key, now=now)
    assert not verdict.violations, str(verdict)
    return verdict


def _answers(events: Sequence[Event], deadline: float) -> Iterator[str]:
    """Every answer is well-formed, and in time."""
    for event in events:
        if event.outcome == MALFORMED:
            yield f"{_shown(event)}: {event.reason}"
        if event.end - event.start > deadline:
            yield f"{_shown(event)}: {event.outcome} after {event.end - event.start:.2f} s"


def _doubles(events: Sequence[Event], records: Iterable[Record]) -> Iterator[str]:
    """At most one success for each client and jti, for clients and in the audit log."""
    seen = Counter((event.client, event.jti) for event in events if event.outcome == ISSUED)
    yield from (f"{client} {jti}: {count} tokens" for (client, jti), count in seen.items() if count > 1)
    written = Counter((record.client_id, record.jti_digest) for record in records if _is_issue(record))
    yield from (f"{client} {jti}: {count} records of issue" for (client, jti), count in written.items() if count > 1)


def _missing(events: Sequence[Event], evidence: Evidence, records: Iterable[Record], now: float) -> Iterator[str]:
    """What was acknowledged is there: the record of every answer, and of every success the jti while it lives."""
    by_trace = {record.trace_id: record for record in records}
    for event in events:
        if event.outcome not in (ISSUED, REFUSED):
            continue
        record, name = by_trace.get(event.trace or ""), digest(event.jti)
        if record is None:
            yield f"{_shown(event)}: {event.outcome}, and no audit record"
        elif record.outcome != event.outcome:
            yield f"{_shown(event)}: {event.outcome}, and the audit record says {record.outcome}"
        elif event.outcome == ISSUED and (record.client_id, record.jti_digest) != (event.client, name):
            yield f"{_shown(event)}: the audit record is of {record.client_id} {record.jti_digest}"
        if event.outcome == ISSUED and not evidence.has_spent(event, now=now):
            yield f"{_shown(event)}: issued, and its jti is free again"


def _unasked(events: Sequence[Event], records: Iterable[Record]) -> Iterator[str]:
    """What is recorded as issued was seen by a client, or might have been."""
    possible = {(event.client, digest(event.jti)) for event in events if event.outcome in (ISSUED, LOST, UNAVAILABLE)}
    for record in records:
        if _is_issue(record) and (record.client_id, record.jti_digest) not in possible:
            yield f"trace {record.trace_id}: recorded as issued, and every answer to it was a refusal"


def _torn(events: Sequence[Event], evidence: Evidence, records: Sequence[Record], now: float) -> Iterator[str]:
    """A jti and its audit record are there together or not at all."""
    asked = {(event.client, digest(event.jti)): event for event in events}
    # Who comes second leaves a record too, but it is not the one that belongs to the jti.
    recorded = {_name(record) for record in records if record.reason != Reason.REPLAYED.code}
    for name in evidence.claims.keys() - recorded:
        yield f"{name[0]} {name[1]}: claimed without an audit record"
    for record in records:
        event = asked.get((record.client_id or "", record.jti_digest or ""))
        if event is not None and _is_issue(record) and not evidence.has_spent(event, now=now):
            yield f"trace {record.trace_id}: recorded as issued without its jti"


def _chain(evidence: Evidence, audit_key: bytes) -> Iterator[str]:
    verification = Verification(audit_key)
    for row in evidence.rows:
        verification.feed(row)
    try:
        verification.finish(evidence.given)
    except Broken as broken:
        yield str(broken)


def _is_issue(record: Record) -> bool:
    return record.outcome == ISSUED and record.jti_digest is not None


def _name(record: Record) -> Name:
    return record.client_id or "", record.jti_digest or ""


def _shown(event: Event) -> str:
    return f"{event.client} {event.jti} (trace {event.trace})"
