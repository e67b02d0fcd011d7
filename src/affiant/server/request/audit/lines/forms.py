"""The two forms of a line: text for people, and one JSON object.

Attack: a client id, a kid or a message with line ends or control characters, which would forge a line or command a
terminal. In both forms they are escaped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from affiant.storage.entries import AuditRecord, escape_controls
from affiant.system.text import printable, timestamp
from affiant.system.values import Value

DECISIONS: Final = "affiant.decisions"  # the logger of the lines of decisions
# Bytes that a pipe takes in one piece from one of several processes (Linux).
LONGEST: Final = 4096
_LONGEST_TEXT = 1000  # characters of a message, and of the end of a traceback
# What the audit log has, and a person at a terminal does not need.
_BY_CALLER: Final = ("client_id", "by", "client_claimed")


class Event(Value, frozen=True):
    """A message of Python's logging."""

    at: float
    level: str
    logger: str
    message: str
    members: Mapping[str, Any] = {}
    traceback: str | None = None


class _Decided(msgspec.Struct):
    """The members of an audit record that say how it is logged."""

    at: float
    endpoint: str
    outcome: str
    reason: str | None = None


Form = Callable[[Event | bytes], bytes]


def to_json(item: Event | bytes) -> bytes:
    """Return an event, or an audit record that is JSON, as one line of JSON."""
    if isinstance(item, Event):
        return _event_to_json(item)
    decided = msgspec.json.decode(item, type=_Decided)
    head = _head(decided.endpoint, decided.outcome, decided.reason, os.getpid())
    line = b'{"ts":"' + timestamp(decided.at).encode() + head + item[1:] + b"\n"
    return line if len(line) <= LONGEST else _shortened(line)


def to_text(item: Event | bytes) -> bytes:
    """Return the same as a line for people; a traceback has a line for each of its own, indented."""
    if isinstance(item, Event):
        first = _text(item.at, item.level, item.message[:_LONGEST_TEXT])
        more = (item.traceback or "")[-_LONGEST_TEXT:].splitlines()
        return _cut("".join([first, *(f"    {printable(line)}\n" for line in more)]))
    record = msgspec.json.decode(item, type=AuditRecord)
    level = _level(record.outcome, record.reason)
    return _cut(_text(record.at, level, ", ".join(_parts(record))))


def is_calm(record: bytes) -> bool:
    """Whether this audit record is of a decision that log_level = warning leaves out."""
    # Exact: within a text of the record every quotation mark is escaped.
    return b'"outcome":"refused"' not in record and b'"outcome":"limited"' not in record


def _parts(record: AuditRecord) -> list[str]:
    who = next((value for name in _BY_CALLER if (value := getattr(record, name)) is not None), None)
    if who is not None and who is record.client_claimed:
        who = f"({who})"  # as `affiant audit show` marks it: nothing proves it
    what = f"{record.endpoint} {record.outcome}" + (f": {record.reason}" if record.reason else "")
    took = f"{record.milliseconds:.1f} ms" if record.milliseconds is not None else None
    grant = record.grant.rsplit(":", 1)[-1] if record.grant else None
    parts = (what, who, record.subject, grant, record.scope, record.address, took, f"trace {record.trace_id}")
    return [part for part in parts if part]


def _text(at: float, level: str, message: str) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
    return f"{when} {level:<7} {printable(message)}\n"


def _cut(text: str) -> bytes:
    data = text.encode("utf-8", "backslashreplace")
    return data if len(data) <= LONGEST else data[: LONGEST - 1].decode("utf-8", "ignore").encode() + b"\n"


def _event_to_json(event: Event) -> bytes:
    members = {
        "ts": timestamp(event.at),
        "level": event.level,
        "logger": event.logger,
        "message": event.message[:_LONGEST_TEXT],
        "pid": os.getpid(),
        **event.members,
    }
    if event.traceback is not None:
        members["exception"] = event.traceback[-_LONGEST_TEXT:]
    try:
        line = msgspec.json.encode(members)
    except UnicodeEncodeError:  # half a surrogate pair
        line = msgspec.json.encode({name: printable(str(value)) for name, value in members.items()})
    line = escape_controls(line) + b"\n"
    return line if len(line) <= LONGEST else _shortened(line)


def _shortened(line: bytes) -> bytes:
    """Return the line without its longest members; the audit log has them."""
    members: dict[str, Any] = msgspec.json.decode(line)
    sizes = {name: len(escape_controls(msgspec.json.encode(value))) for name, value in members.items()}
    members["shortened"] = True
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        if len(line) <= LONGEST:
            break
        del members[name]
        line = escape_controls(msgspec.json.encode(members)) + b"\n"
    return line


# Bounded: endpoints, outcomes and reasons are closed sets.
@lru_cache(maxsize=1024)
def _head(endpoint: str, outcome: str, reason: str | None, pid: int) -> bytes:
    members = {
        "level": _level(outcome, reason),
        "logger": DECISIONS,
        "message": f"{endpoint} {outcome}" + (f": {reason}" if reason else ""),
        "pid": pid,
    }
    return b'",' + msgspec.json.encode(members)[1:-1] + b","


def _level(outcome: str, reason: str | None) -> str:
    if reason is not None and reason.startswith("server."):
        return "error"
    return "warning" if outcome in ("refused", "limited") else "info"
