"""Lines of the log: one for each decision and message, whatever is in it; no request waits for them."""

import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import uvicorn

from affiant.server.request.audit.lines import forms
from affiant.server.request.audit.lines.forms import LONGEST, Event, is_calm, to_json, to_text
from affiant.server.request.audit.lines.logs import Logs
from affiant.server.request.audit.lines.writer import MOST, LineWriter
from affiant.storage.entries import AuditRecord

AT = 1_800_000_000.25
ISSUED = AuditRecord(
    at=AT,
    trace_id="Jx0vT9qkU2aa",
    endpoint="token",
    outcome="issued",
    client_claimed="billing",
    client_id="billing",
    grant="urn:ietf:params:oauth:grant-type:jwt-bearer",
    scope="orders.read",
    address="192.0.2.1",
    milliseconds=3.25,
)
REFUSED = msgspec.structs.replace(ISSUED, outcome="refused", reason="assertion.expired", client_id=None, scope=None)
HOSTILE = (
    'a\n{"level":"info","message":"token issued"}',
    "a\r\n2027-01-15 08:00:00 info    token issued, admin",
    "a\x1b[2J\x1b]0;x\x07",
    "a\u2028b\u2029c\x85d\x0be\x0cf",
    "a\u202egnp",
    '","level":"error","message":"',
    "\\",
    "\x00\x7f\x9b",
    "\ud800",
)


def _json(item: Event | bytes) -> dict[str, Any]:
    line = to_json(item)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    members: dict[str, Any] = json.loads(line)
    return members


def test_a_decision_in_json() -> None:
    """The members of its audit record, with their names, and those that every line has."""
    assert _json(ISSUED.to_json()) == {
        "ts": "2027-01-15T08:00:00.250Z",
        "level": "info",
        "logger": "affiant.decisions",
        "message": "token issued",
        "pid": os.getpid(),
        **json.loads(ISSUED.to_json()),
    }
    refused = _json(REFUSED.to_json())
    assert (refused["level"], refused["message"]) == ("warning", "token refused: assertion.expired")
    assert _json(msgspec.structs.replace(REFUSED, reason="server.error").to_json())["level"] == "error"


def test_a_decision_for_people() -> None:
    """An unproved client id is in parentheses."""
    issued, refused = to_text(ISSUED.to_json()).decode(), to_text(REFUSED.to_json()).decode()
    start = "2027-01-15 08:00:00"
    assert issued == (
        f"{start} info    token issued, billing, jwt-bearer, orders.read, 192.0.2.1, 3.2 ms, trace Jx0vT9qkU2aa\n"
    )
    assert refused.startswith(f"{start} warning token refused: assertion.expired, (billing), jwt-bearer, 192.0.2.1")


@pytest.mark.attack(302)
@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", ["client_claimed", "kid", "detail", "scope", "address", "grant", "subject"])
def test_no_text_of_a_caller_makes_a_second_line(name: str, text: str) -> None:
    """Attack: line ends, controls and JSON in what a caller sends."""
    record = msgspec.structs.replace(REFUSED, **{name: text}).to_json()
    members = _json(record)
    assert (members["level"], members["message"]) == ("warning", "token refused: assertion.expired")
    line = to_text(record).decode()
    assert line.endswith("\n")
    assert line[:-1].isprintable()


@pytest.mark.attack(302)
@pytest.mark.parametrize("text", HOSTILE)
def test_no_message_makes_a_second_line(text: str) -> None:
    event = Event(AT, "warning", "affiant.x", text, {"trace_id": text}, f"Traceback\n  {text}")
    members = _json(event)
    assert (members["level"], members["logger"]) == ("warning", "affiant.x")
    lines = to_text(event).decode().removesuffix("\n").split("\n")
    assert all(line.isprintable() for line in lines)
    assert all(line.startswith("    ") for line in lines[1:])


@pytest.mark.parametrize("make", [to_json, to_text])
def test_a_line_fits_into_one_write(make: forms.Form) -> None:
    """Lines of several processes must not mix: the longest members are left to the audit log."""
    long = msgspec.structs.replace(ISSUED, claims="é" * 5000, nearest="\x1f" * 3000, scope="s" * 900)
    for item in (long.to_json(), Event(AT, "error", "x", "\x1f" * 9000, {}, "\u202e" * 99_999)):
        assert len(make(item)) <= LONGEST
    members = _json(long.to_json())
    assert members["shortened"] is True
    assert (members["trace_id"], members["scope"]) == ("Jx0vT9qkU2aa", "s" * 900)
    assert "claims" not in members


@pytest.mark.parametrize(
    ("record", "calm"),
    [
        (ISSUED, True),
        (REFUSED, False),
        (msgspec.structs.replace(ISSUED, outcome="limited"), False),
        (msgspec.structs.replace(ISSUED, client_claimed='"outcome":"refused"'), True),
    ],
)
def test_level_warning_leaves_out_what_was_granted(record: AuditRecord, *, calm: bool) -> None:
    assert is_calm(record.to_json()) is calm


class _Pipe:
    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()

    def read(self) -> bytes:
        """Everything until the end of the pipe."""
        os.close(self.writing)
        with os.fdopen(self.reading, "rb") as reader:
            return reader.read()


@pytest.fixture
def pipe() -> Iterator[_Pipe]:
    yield _Pipe()
    logging.getLogger("affiant").setLevel(logging.NOTSET)


def test_what_is_put_is_written_in_order(pipe: _Pipe) -> None:
    writer = LineWriter(pipe.writing, to_json)
    for number in range(100):
        writer.put([msgspec.structs.replace(ISSUED, trace_id=str(number)).to_json()])
    writer.close()
    assert [json.loads(line)["trace_id"] for line in pipe.read().splitlines()] == [str(n) for n in range(100)]


def test_a_stuck_pipe_stops_nobody(pipe: _Pipe) -> None:
    """Lines wait up to a bound, and are then dropped; the log says how many, once the pipe is read again."""
    writer = LineWriter(pipe.writing, to_json)
    record = ISSUED.to_json()
    began = time.monotonic()
    for _ in range(3 * MOST):
        writer.put([record])
    assert time.monotonic() - began < 5
    found: list[bytes] = []

    def read() -> None:
        with os.fdopen(pipe.reading, "rb") as lines:
            found.extend(lines)

    reader = threading.Thread(target=read)
    reader.start()
    writer.close()
    end = time.monotonic() + 20
    while not any(b"were dropped" in line for line in found) and time.monotonic() < end:
        writer.put([Event(time.time(), "info", "x", "later")])
        time.sleep(0.02)
    os.close(pipe.writing)
    reader.join(10)
    (said,) = [json.loads(line) for line in found if b"were dropped" in line]
    dropped = int(said["message"].split()[0])
    assert sum(b'"token issued"' in line for line in found) + dropped == 3 * MOST
    assert dropped >= MOST


def test_an_output_that_another_process_made_non_blocking_loses_nothing(pipe: _Pipe) -> None:
    os.set_blocking(pipe.writing, False)
    writer = LineWriter(pipe.writing, to_json)
    put = 3000  # more than the pipe takes
    writer.put([msgspec.structs.replace(ISSUED, trace_id=str(number)).to_json() for number in range(put)])
    with os.fdopen(pipe.reading, "rb") as lines:
        found = [json.loads(lines.readline())["trace_id"] for _ in range(put)]
    assert found == [str(number) for number in range(put)]
    os.close(pipe.writing)


def test_a_reader_that_left_is_no_failure(pipe: _Pipe) -> None:
    os.close(pipe.reading)
    writer = LineWriter(pipe.writing, to_text)
    for _ in range(3):
        writer.put([ISSUED.to_json()])
        writer.close()
    os.close(pipe.writing)


def test_what_is_no_record_makes_a_line_that_says_so(pipe: _Pipe) -> None:
    writer = LineWriter(pipe.writing, to_json)
    writer.put([b"{damaged", ISSUED.to_json()])
    writer.close()
    first, second = pipe.read().splitlines()
    assert json.loads(first)["message"] == "a line cannot be made: DecodeError"
    assert json.loads(second)["message"] == "token issued"


def test_loggers_write_to_it(pipe: _Pipe) -> None:
    """Ours at the level of the setting, those of libraries from warnings on, with trace id and traceback."""
    logs = Logs("json", "info", file=pipe.writing)
    logger = logging.getLogger("affiant.test_lines")
    before = logging.getLogger().handlers[:]
    uvicorn.Config("no:application")  # with its default configuration of logging, which has handlers of its own
    try:
        logs.install()
        logger.info("trace %s: the store failed: %s", "Jx0vT9qkU2aa", "gone")
        logger.debug("nobody sees it")
        logging.getLogger("uvicorn.error").info("nor this")
        logging.getLogger("uvicorn.error").warning("%d trace forged: x", 7)
        try:
            raise ValueError("a\nb")
        except ValueError:
            logger.exception("bad %d", "text")
    finally:
        logging.basicConfig(level=logging.WARNING, handlers=before, force=True)
    logs.writer.close()
    first, second, third = [json.loads(line) for line in pipe.read().splitlines()]
    assert (first["trace_id"], first["level"]) == ("Jx0vT9qkU2aa", "info")
    assert (second["logger"], second["message"], "trace_id" in second) == ("uvicorn.error", "7 trace forged: x", False)
    assert third["exception"].endswith("ValueError: a\nb")
    assert (third["message"], third["level"]) == ("bad %d", "error")


def test_auto_is_json_where_nobody_watches(pipe: _Pipe) -> None:
    assert Logs("auto", file=pipe.writing).is_json
    assert not Logs("human", file=pipe.writing).is_json
    terminal, child = os.openpty()
    assert not Logs("auto", file=child).is_json
    os.close(terminal)
    os.close(child)
