"""Check the chain of the audit log, in one pass over any number of records.

The chain shows every edit, deletion or move without the key. It cannot show that the newest records were deleted, since
the rest is a chain too. For that, the end must be known from elsewhere: the highest number that the database ever gave,
or a head that was written down (`affiant audit head`). The oldest records may be in archives: then the chain begins at
a base, which is sealed (see base.py).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from enum import Enum

import msgspec

from affiant.errors import Error
from affiant.storage.entries import NO_BASE, AuditBase, AuditHead, AuditRow, chain, escape_controls
from affiant.storage.history.base import is_sealed
from affiant.storage.ports import AuditLog
from affiant.system.text import printable

_HEAD = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")
_PAGE = 1000


class Damage(Enum):
    """The likely damage; if two explanations fit, the message names both."""

    EDITED = "edited"
    DELETED = "deleted"
    INSERTED = "inserted"
    REORDERED = "reordered"
    CUT = "cut"  # the newest records are gone
    REWRITTEN = "rewritten"  # the chain is valid, but not the one that was written down
    OTHER_KEY = "other_key"
    BASE = "base"  # where the log begins was changed
    ARCHIVED = "archived"  # what was written down can only be compared with the archives
    SIGNATURE = "signature"  # of an archive


class Broken(Error):
    """The log was changed; `number` and `trace_id` are of the first record that is wrong or missing."""

    def __init__(self, message: str, *, damage: Damage, number: int, trace_id: str | None = None) -> None:
        super().__init__(message)
        self.damage = damage
        self.number = number
        self.trace_id = trace_id


class Verification:
    """Takes every row in the order of the log; then returns the log's end, or raises the first damage.

    After the first damage it reads on, because only later rows show whether a record was edited or moved. It keeps a
    few rows.
    """

    def __init__(self, key: bytes, *, base: AuditBase = NO_BASE, expected: AuditHead | None = None) -> None:
        self._key = key
        self._expected = expected
        self._base = base
        self._number, self._link = base.number, base.link  # of the last row that was right
        self._stored = base.link  # link of the last row, right or wrong
        self._count = self._followed = 0
        self._suspect: _Suspect | None = None
        self._is_noted: bool | None = None  # whether the expected record was as expected; None: not seen yet
        self._compare(base.number, base.link)

    def rebase(self, base: AuditBase) -> None:
        """Go on after the base to which the log has moved while it was read."""
        self._base = base
        if self._suspect is None and base.number > self._number:
            self._number, self._link = base.number, base.link
            self._stored = base.link
            self._compare(base.number, base.link)

    def resume(self, row: AuditRow, previous: bytes) -> None:
        """Accept a gap before this row: a selection has gaps, in which damage cannot be seen."""
        if self._suspect is None and row.number > self._number + 1:
            self._number, self._link = row.number - 1, previous
            self._stored = previous

    def feed(self, row: AuditRow, previous: bytes | None = None) -> None:
        """Take the next row; an exported row also has the link before it."""
        self._count += 1
        self._followed += chain(self._stored, row.record, self._key) == row.link
        self._stored = row.link
        if self._suspect is not None:
            self._suspect.compare(row)
        elif self._is_next(row) and previous in (None, self._link):
            self._number, self._link = row.number, row.link
            self._compare(row.number, row.link)
        else:
            self._suspect = _Suspect(row, follows=self._number + 1, previous=self._link, key=self._key)

    def finish(self, given: int = 0) -> AuditHead:
        """The end of the log; `given` is the highest number ever given, if the store knows it."""
        if not is_sealed(self._base, self._key):
            raise _misplaced_base(self._base)
        if self._suspect is not None:
            raise self._suspect.verdict(strangers=0 if self._followed else self._count)
        noted = self._expected.number if self._expected is not None else 0
        if self._expected is not None and self._is_noted is None and noted < self._base.number:
            raise _archived(noted, self._base.number)
        if self._number < max(given, noted):
            raise _cut(self._number + 1, max(given, noted), source="noted down" if noted > given else "given")
        if self._is_noted is False:
            message = (
                f"the chain holds, but record {noted} is not the one that was noted down: all up to it was rewritten"
            )
            raise Broken(message, damage=Damage.REWRITTEN, number=noted)
        return AuditHead(self._number, self._link, max(given, self._number))

    def _compare(self, number: int, link: bytes) -> None:
        if self._expected is not None and self._expected.number == number:
            self._is_noted = self._expected.link == link

    def _is_next(self, row: AuditRow) -> bool:
        return (
            row.number == self._number + 1
            and chain(self._link, row.record, self._key) == row.link
            and row.trace_id == trace_id_of(row.record)
        )


class _Suspect:
    """The first wrong row, and what later rows show about it."""

    def __init__(self, row: AuditRow, *, follows: int, previous: bytes, key: bytes) -> None:
        self.row = row
        self._wanted = follows
        self._previous = previous
        self._key = key
        self._fits = chain(previous, row.record, key) == row.link
        self._right_link = chain(previous, row.record, key)
        self._next: AuditRow | None = None
        self._moved: AuditRow | None = None
        self._after_moved: AuditRow | None = None

    def compare(self, row: AuditRow) -> None:
        """Check whether this later row belongs in the place of the wrong one."""
        if self._next is None:
            self._next = row
        if self._moved is not None:
            self._after_moved = self._after_moved or row
        elif chain(self._previous, row.record, self._key) in (row.link, self.row.link):
            self._moved = row

    def verdict(self, *, strangers: int) -> Broken:
        """The likely damage; `strangers` is the number of records if none follows from the one before it."""
        if self.row.number < self._wanted:
            return self._named(Damage.INSERTED, "was inserted: its number had its turn already")
        if self._moved is not None:
            return self._misplaced(self._moved)
        if self.row.number > self._wanted:
            return self._missing()
        if self._fits:
            return self._named(Damage.EDITED, "was edited: it is filed under another trace id, or another predecessor")
        if self._next is not None and chain(self._right_link, self._next.record, self._key) == self._next.link:
            return self._named(Damage.EDITED, "was edited: its link is wrong, its text is not")
        if strangers > 1:
            return self._named(
                Damage.OTHER_KEY,
                f"does not follow, nor does any of {strangers}: this is not the master key that the log was written"
                " under, or all of it was rewritten",
            )
        return self._named(
            Damage.EDITED, "was edited, or records before it were deleted and the rest was given their numbers"
        )

    def _misplaced(self, moved: AuditRow) -> Broken:
        number = self._wanted
        if self.row.number == number and self._is_inserted(moved):
            return self._named(Damage.INSERTED, f"was inserted: the right one is record {moved.number}")
        trace_id = trace_id_of(moved.record)
        return Broken(
            f"record {number}{_trace(trace_id)} was moved: it is now record {moved.number}",
            damage=Damage.REORDERED,
            number=number,
            trace_id=trace_id,
        )

    def _is_inserted(self, moved: AuditRow) -> bool:
        """Whether the log goes on undamaged after the right record, where that is now."""
        if chain(self._previous, moved.record, self._key) != moved.link:
            return False
        if self._after_moved is not None:
            return chain(moved.link, self._after_moved.record, self._key) == self._after_moved.link
        follows = chain(moved.link, self.row.record, self._key) == self.row.link
        return moved is self._next and not follows

    def _missing(self) -> Broken:
        first, last = self._wanted, self.row.number - 1
        what = f"record {first} is" if first == last else f"records {first} to {last} are"
        so = (
            "the chain goes on without: cut off the end before more was written, or the rest was given other numbers"
            if self._fits
            else "deleted"
        )
        after = f"record {self.row.number}{_trace(trace_id_of(self.row.record))}"
        return Broken(f"{what} missing before {after}: {so}", damage=Damage.DELETED, number=first)

    def _named(self, damage: Damage, what: str) -> Broken:
        trace_id = trace_id_of(self.row.record) or self.row.trace_id
        message = f"record {self.row.number}{_trace(trace_id)} {what}"
        return Broken(message, damage=damage, number=self.row.number, trace_id=trace_id)


def _cut(first: int, last: int, *, source: str) -> Broken:
    what = f"record {first} is" if first == last else f"records {first} to {last} are"
    return Broken(f"{what} gone: cut off the end, number {last} was {source}", damage=Damage.CUT, number=first)


def _misplaced_base(base: AuditBase) -> Broken:
    message = (
        f"the log begins after record {base.number}, and no server with this master key has put its beginning there:"
        " records were deleted that were not archived, or this is not the master key that the log was written under"
    )
    return Broken(message, damage=Damage.BASE, number=base.number)


def _archived(noted: int, last: int) -> Broken:
    message = (
        f"record {noted}, which was noted down, is archived: verify the archives up to record {last} together with the"
        " log,  affiant audit verify --log FILE..."
    )
    return Broken(message, damage=Damage.ARCHIVED, number=noted)


def _trace(trace_id: str | None) -> str:
    return f" (trace {printable(trace_id)})" if trace_id else ""


async def walk(log: AuditLog, *, after: int | None = None) -> AsyncIterator[AuditRow]:
    """Every row after this number, a page at a time: a long read would block writers."""
    while page := await log.export(after=after, limit=_PAGE):
        for row in page:
            yield row
        after = page[-1].number


def parse_head(text: str) -> AuditHead:
    """A head as `affiant audit head` prints it."""
    found = _HEAD.fullmatch(text)
    if found is None:
        raise ValueError("not NUMBER:LINK with a link of 64 hexadecimal digits")
    return AuditHead(int(found[1]), bytes.fromhex(found[2]), int(found[1]))


def build_head(head: AuditHead) -> str:
    """A head as text."""
    return f"{head.number}:{head.link.hex()}"


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    number: int
    previous: str
    link: str
    record: msgspec.Raw


def build_line(row: AuditRow, previous: bytes) -> bytes:
    """A row as one line of an export, with the link before it, so that it can be checked alone.

    The record is included byte for byte, because the chain is over its bytes; as hexadecimal digits if it is damaged so
    much that it is not JSON.
    """
    record = row.record if _is_json(row.record) else msgspec.json.encode(row.record.hex())
    return msgspec.json.encode(_Line(row.number, previous.hex(), row.link.hex(), msgspec.Raw(record)))


def parse_line(line: bytes) -> tuple[AuditRow, bytes]:
    """The row of an exported line, and the link before it."""
    try:
        members = msgspec.json.decode(line, type=_Line)
        record = bytes(members.record)
        if record.startswith(b'"'):
            record = bytes.fromhex(msgspec.json.decode(record))
        link, previous = bytes.fromhex(members.link), bytes.fromhex(members.previous)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None
    return AuditRow(members.number, trace_id_of(record) or "", record, link), previous


class _Traced(msgspec.Struct):
    trace_id: str


def trace_id_of(record: bytes) -> str | None:
    try:
        return msgspec.json.decode(record, type=_Traced).trace_id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _is_json(record: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(record), dict) and escape_controls(record) == record
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
