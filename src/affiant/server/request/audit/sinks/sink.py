"""The port of a sink, and the batches that it gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from affiant.errors import Error
from affiant.storage.entries import GENESIS, AuditRow
from affiant.storage.history import audit_chain
from affiant.storage.ports import AuditLog
from affiant.system.values import Value

SEND_SECONDS = 5.0  # for one batch; less than the lease of its process leaves
BATCH = 100  # records at once
BATCH_BYTES = 256 * 1024  # of their lines, roughly


class Line(Value, frozen=True):
    """A record as `affiant audit export` prints it: number, previous link, link, record."""

    number: int
    text: bytes  # one line of JSON, without its end
    record: bytes
    link: bytes


class SinkError(Error):
    """A sink did not take a batch; `retry_after` are the seconds that it asks for."""

    def __init__(self, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Sink(Protocol):
    """A receiver of audit records. Its methods may block: a thread calls them, one at a time."""

    name: str  # of the setting, and of the cursor

    def send(self, lines: Sequence[Line]) -> None:
        """Deliver these within SEND_SECONDS; the receiver may have some of them already.

        Raises:
            SinkError: they were not delivered, or only some of them.
        """

    def newest(self) -> tuple[int, bytes] | None:
        """Number and link of the newest record that certainly arrived, if the sink can say."""

    def close(self) -> None:
        """Close files and connections."""


async def read(log: AuditLog, after: int) -> list[Line]:
    """Return the next records after this number, at most a batch."""
    base = await log.base()
    if after <= base.number:  # what is before it was archived
        return _lines(await log.export(after=base.number, limit=BATCH), base.link)
    rows = await log.export(after=after - 1, limit=BATCH + 1)
    if rows and rows[0].number != after:  # it is missing: `affiant audit verify` says so, and so does the gap
        return _lines(rows[:BATCH], GENESIS)
    return _lines(rows[1:], rows[0].link) if rows else []


def _lines(rows: Sequence[AuditRow], previous: bytes) -> list[Line]:
    lines, size = list[Line](), 0
    for row in rows:
        text = audit_chain.build_line(row, previous)
        size += len(text)
        if lines and size > BATCH_BYTES:
            break
        lines.append(Line(row.number, text, row.record, row.link))
        previous = row.link
    return lines
