"""Audit sinks: each record arrives in order and at least once, whatever ends, and a broken sink stops no token."""

import asyncio
import base64
import contextlib
import hmac
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from tests.stores import entry

from affiant.errors import ConfigError, StoreError
from affiant.server.request.audit.sinks import configured, relay, webhook
from affiant.server.request.audit.sinks.file import FileSink
from affiant.server.request.audit.sinks.lag import Lag, lags
from affiant.server.request.audit.sinks.relay import LEASE_SECONDS, START, Relay, relaying
from affiant.server.request.audit.sinks.sink import BATCH, Line, Sink, SinkError, read
from affiant.server.request.audit.sinks.syslog import SyslogSink, parse_receiver
from affiant.server.request.audit.sinks.webhook import WebhookSink, parse_secret, parse_url
from affiant.server.settings import Settings
from affiant.storage.history import audit_chain
from affiant.storage.history.audit_chain import Verification
from affiant.storage.memory import MemoryStore

SECRET = b"0123456789abcdef0123456789abcdef"


class Kept:
    """A sink in memory that fails on demand."""

    name = "audit_test"

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.failure: Exception | None = None
        self.has_some = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def send(self, lines: Sequence[Line]) -> None:
        if self.failure is not None:
            raise self.failure
        self.lines += lines
        self._loop.call_soon_threadsafe(self.has_some.set)

    def newest(self) -> tuple[int, bytes] | None:
        return None

    def close(self) -> None: ...


class Clock:
    at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


async def _store(records: int) -> MemoryStore:
    store = MemoryStore()
    for number in range(records):
        claimed = entry(number)
        await store.ledger.claim(msgspec.structs.replace(claimed, audit=msgspec.structs.replace(claimed.audit, at=1.0)))
    return store


async def _drain(one: Relay) -> None:
    while await one.turn() < relay.LOOK_SECONDS:
        pass


def _verify(lines: Sequence[bytes]) -> int:
    """Check that these are all records from the first on, each once; return how many."""
    verification = Verification(b"")
    for line in lines:
        verification.feed(*audit_chain.parse_line(line))
    return verification.finish().number


async def test_every_record_arrives_once_in_order() -> None:
    store, sink = await _store(2 * BATCH + 7), Kept()
    one = Relay(sink, store, begin=START)
    await _drain(one)
    assert _verify([line.text for line in sink.lines]) == 2 * BATCH + 7
    assert one.lag == Lag(0, 0.0)
    await store.ledger.claim(entry(5000))
    await _drain(one)
    assert [line.number for line in sink.lines][-2:] == [2 * BATCH + 7, 2 * BATCH + 8]


async def test_a_new_sink_begins_at_its_first_start() -> None:
    """Afterwards it continues from its cursor, not from the newest record."""
    store, sink = await _store(3), Kept()
    await _drain(Relay(sink, store, clock=Clock()))
    await store.ledger.claim(entry(100))
    later = Clock()
    later.at += LEASE_SECONDS
    await _drain(Relay(sink, store, clock=later))
    assert [line.number for line in sink.lines] == [4]


async def test_one_process_at_a_time_and_the_next_goes_on() -> None:
    """The first is killed: after its lease another goes on, and what was delivered but not noted comes again."""
    store, sink, clock = await _store(5), Kept(), Clock()
    first, second = (Relay(sink, store, begin=START, clock=clock) for _ in range(2))
    assert await first.turn() == relay.LOOK_SECONDS
    assert await second.turn() == relay._OTHERS_SECONDS
    assert second.lag is None
    await store.ledger.claim(entry(100))
    sink.lines += await read(store.audit_log, 5)  # delivered by the first, which is killed then
    clock.at += LEASE_SECONDS - 1
    assert await second.turn() == relay._OTHERS_SECONDS
    clock.at += 1
    await _drain(second)
    assert [line.number for line in sink.lines] == [1, 2, 3, 4, 5, 6, 6]
    first._renewed_at = float("-inf")  # it was only stopped, and wakes up
    assert await first.turn() == relay._OTHERS_SECONDS


async def test_a_broken_sink_is_tried_again(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Retries back off, or follow Retry-After; problem and lag are reported, and tokens do not wait."""
    store, sink = await _store(3), Kept()
    now = [0.0]
    monkeypatch.setattr(f"{relay.__name__}.time", SimpleNamespace(monotonic=lambda: now[0]))
    one = Relay(sink, store, begin=START)
    sink.failure = SinkError("it is\x1b broken")
    waits = []
    for _ in range(8):
        assert await one.turn() == 0
        waits.append(one._not_before - now[0])
        now[0] = one._not_before
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert one.problem == "it is\\u001b broken"
    assert (await store.cursors.list())[0].problem == one.problem
    assert (await lags(store, 4.5))["audit_test"] == Lag(3, 3.5)
    sink.failure = SinkError("later", retry_after=200)
    await one.turn()
    assert one._not_before - now[0] == 200
    sink.failure = None
    now[0] += 200
    await _drain(one)
    assert [line.number for line in sink.lines] == [1, 2, 3]
    assert (one.problem, (await store.cursors.list())[0].problem) == ("", "")
    assert [record.message for record in caplog.records] == [
        "audit_test: it is\\u001b broken; records wait for it",
        "audit_test: it works again",
    ]


async def test_a_stop_ends_after_the_batch_and_frees_the_lease() -> None:
    store, sink = await _store(3), Kept()
    async with relaying([Relay(sink, store, begin=START)]):
        await asyncio.wait_for(sink.has_some.wait(), 10)
    other = Relay(sink, store)
    await _drain(other)
    assert len(sink.lines) == 3
    assert (await store.cursors.list())[0].number == 3


async def test_a_cursor_ahead_of_the_log_is_a_problem_until_it_is_forgotten() -> None:
    """Attack: who writes to the database moves it, so that records do not leave."""
    sink, store = Kept(), await _store(3)
    await store.cursors.take(sink.name, "attacker", now=1, seconds=1, start=1_000_000)
    one = Relay(sink, store, begin=START)
    await one.turn()
    assert (one.problem, sink.lines) == (
        f"its cursor is ahead of the log: affiant audit sinks --forget {sink.name}",
        [],
    )
    (cursor,) = await store.cursors.list()
    assert cursor.problem == one.problem
    await store.cursors.remove(sink.name)
    one._not_before = 0
    await _drain(one)
    assert (one.problem, len(sink.lines)) == ("", 3)


async def test_a_failing_store_ends_nothing() -> None:
    store, sink = await _store(1), Kept()
    one, take = Relay(sink, store, begin=START), store.cursors.take

    async def fail(*_: Any, **__: Any) -> int | None:
        store.cursors.take = take  # type: ignore[method-assign]
        raise StoreError("away")

    store.cursors.take = fail  # type: ignore[method-assign]
    async with relaying([one]):
        await asyncio.wait_for(sink.has_some.wait(), 10)


async def test_a_fault_of_ours_does_not_end_the_relay() -> None:
    store, sink = await _store(1), Kept()
    one = Relay(sink, store, begin=START)
    sink.failure = UnicodeError("a name that is none")
    await one.turn()
    assert one.problem == "it failed: UnicodeError"
    sink.failure, one._not_before = None, 0
    await _drain(one)
    assert len(sink.lines) == 1


# The file.


async def _finish(one: Relay) -> None:
    """Deliver everything, and close the sink."""
    await _drain(one)
    one.stop()
    await one.run()


async def _to_file(store: MemoryStore, path: Path) -> None:
    sink = FileSink(path)
    await _finish(Relay(sink, store, begin=START))


async def test_the_file_verifies_and_survives_a_rename(tmp_path: Path) -> None:
    store, path = await _store(3), tmp_path / "audit.jsonl"
    one = Relay(FileSink(path), store, begin=START)
    await _drain(one)
    assert path.stat().st_mode & 0o777 == 0o600
    path.rename(tmp_path / "audit.1")
    await store.ledger.claim(entry(100))
    await _drain(one)
    lines = (tmp_path / "audit.1").read_bytes().splitlines() + path.read_bytes().splitlines()
    assert _verify(lines) == 4


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
@pytest.mark.parametrize("rest", [b"", b'{"number":4,"prev'])
async def test_the_file_after_a_kill_has_no_gap_and_no_record_twice(tmp_path: Path, kept: int, rest: bytes) -> None:
    """Killed at any point: what is whole in the file counts, and an incomplete line goes."""
    store, path = await _store(3), tmp_path / "audit.jsonl"
    lines = [line.text + b"\n" for line in await read(store.audit_log, 0)]
    path.write_bytes(b"".join(lines[:kept]) + rest)
    await _to_file(store, path)
    assert _verify(path.read_bytes().splitlines()) == 3


async def test_a_file_of_another_server_skips_nothing(tmp_path: Path) -> None:
    store, path = await _store(3), tmp_path / "audit.jsonl"
    other = MemoryStore(audit_key=b"other")
    for number in range(3):
        await other.ledger.claim(entry(number))
    foreign = b"".join(line.text + b"\n" for line in await read(other.audit_log, 0))
    path.write_bytes(foreign)
    await _to_file(store, path)
    assert _verify(path.read_bytes().removeprefix(foreign).splitlines()) == 3


@pytest.mark.parametrize("content", [b"\x00\x01" * 100, b"key = 1\n", b"key = 1\nkey = 2", b'{}\n{"key": 1}'])
async def test_a_file_of_something_else_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "affiant.toml"
    path.write_bytes(content)
    one = Relay(FileSink(path), await _store(1), begin=START)
    await one.turn()
    assert one.problem == f"{path} cannot be written: it has something else than audit records"
    assert path.read_bytes() == content


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full on this system")  # noqa: PTH110
async def test_a_full_disk_is_a_problem() -> None:
    one = Relay(FileSink(Path("/dev/full")), await _store(1), begin=START)
    await one.turn()
    assert one.problem == "/dev/full cannot be written: No space left on device"


# The webhook.


class Receiver(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/audit"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver  # type: ignore[mutable-override]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        status, headers = self.server.answers.pop(0) if self.server.answers else (204, {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002 - the library's name


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


async def test_a_batch_is_signed_and_verifies(receiver: Receiver) -> None:
    store, clock = await _store(3), Clock()
    sink = WebhookSink(receiver.url, SECRET, clock=clock)
    await _finish(Relay(sink, store, begin=START))
    ((headers, body),) = receiver.got
    assert _verify(body.splitlines()) == 3
    assert (headers["content-type"], headers["webhook-id"]) == ("application/x-ndjson", "audit-1-3")
    signed = f"audit-1-3.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(SECRET, signed, sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["webhook-timestamp"] == str(int(clock.at))


async def test_the_check_of_the_page_takes_what_is_sent_and_nothing_else(receiver: Receiver) -> None:
    page = (Path(__file__).parents[5] / "docs" / "how-to" / "audit-sinks.md").read_text("utf-8")
    names: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], names)
    sink = WebhookSink(receiver.url, SECRET)
    await _finish(Relay(sink, await _store(2), begin=START))
    ((headers, body),) = receiver.got
    assert names["check"](headers, body, SECRET)
    assert not names["check"](headers, body + b" ", SECRET)
    assert not names["check"](headers, body, SECRET[1:])
    assert not names["check"]({**headers, "webhook-id": "audit-1-9"}, body, SECRET)
    assert not names["check"]({**headers, "webhook-timestamp": "1800000000"}, body, SECRET)


async def test_answers_that_are_no_success_are_failures(receiver: Receiver) -> None:
    """A redirect is not followed: it would lead the records to another host."""
    store = await _store(1)
    one = Relay(WebhookSink(receiver.url, SECRET), store, begin=START)
    for status, headers in ((302, {"location": receiver.url}), (429, {"retry-after": "30"}), (500, {})):
        receiver.answers.append((status, headers))
        one._not_before = 0
        await one.turn()
        assert one.problem == f"127.0.0.1 answered {status}"
    assert len(receiver.got) == 3
    one._not_before = 0
    await _finish(one)
    assert one.problem == ""
    assert _verify(receiver.got[-1][1].splitlines()) == 1


async def test_an_answer_without_end_holds_no_relay_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: a receiver that sends one byte at a time, and never ends."""
    monkeypatch.setattr(webhook, "SEND_SECONDS", 0.6)

    def drip(listening: socket.socket) -> None:
        with listening.accept()[0] as peer, contextlib.suppress(OSError):
            peer.sendall(b"HTTP/1.1 200 OK\r\nx: ")
            while peer.send(b"x"):
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=drip, args=(listening,), daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        one = Relay(WebhookSink(url, SECRET), await _store(1), begin=START)
        await asyncio.wait_for(one.turn(), 20)
    assert "did not answer in time" in one.problem


async def test_a_receiver_that_is_gone_is_named() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        one = Relay(WebhookSink(f"http://127.0.0.1:{unused.getsockname()[1]}/", SECRET), await _store(1), begin=START)
        await one.turn()
    assert one.problem.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    "url",
    ["http://siem.example/x", "ftp://siem.example/", "https://user:secret@siem.example/", "https://", "https://x:y/"],
)
def test_urls_that_would_show_records(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_url(url)
    assert "secret" not in str(refused.value)


def test_secrets() -> None:
    assert parse_secret(" 0123456789abcdef\n") == b"0123456789abcdef"
    assert parse_secret(f"whsec_{base64.b64encode(SECRET).decode()}") == SECRET
    for weak in ("short", "whsec_c2hvcnQ=", "whsec_%%%"):
        with pytest.raises(ConfigError) as refused:
            parse_secret(weak)
        assert weak not in str(refused.value)


# Syslog.

_MESSAGE = re.compile(
    rb'<(\d+)>1 (\S+) (\S+) affiant \d+ token \[affiant@32473 number="(\d+)" trace_id="(\S+)" endpoint="token"'
    rb' outcome="(\w+)"[^\]]*\] (\{.*\})'
)


def _checked(messages: Sequence[bytes]) -> int:
    found = [_MESSAGE.fullmatch(message) for message in messages]
    assert all(found), messages
    return _verify([match[7] for match in found if match])


@contextlib.contextmanager
def _datagrams(family: int, address: Any) -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_DGRAM) as listening:
        listening.bind(address)
        listening.settimeout(5)
        yield listening


async def test_syslog_in_datagrams(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    with _datagrams(socket.AF_INET, ("127.0.0.1", 0)) as udp, _datagrams(socket.AF_UNIX, path) as unix:
        for place, listening in ((f"udp://127.0.0.1:{udp.getsockname()[1]}", udp), (f"unix:{path}", unix)):
            sink = SyslogSink(parse_receiver(place))
            await _drain(Relay(sink, await _store(3), begin=START))
            sink.close()
            assert _checked([listening.recv(65_536) for _ in range(3)]) == 3


def _frames(data: bytes) -> list[bytes]:
    """RFC 6587 section 3.4.1."""
    found = []
    while data:
        size, _, rest = data.partition(b" ")
        found.append(rest[: int(size)])
        data = rest[int(size) :]
    return found


async def test_syslog_over_tcp_counts_octets_and_connects_again() -> None:
    """A connection that the receiver has closed delivers nothing: the batch is sent again on another."""
    store = await _store(3)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sink = SyslogSink(parse_receiver(f"tcp://127.0.0.1:{listening.getsockname()[1]}"))
        one = Relay(sink, store, begin=START)
        await _drain(one)
        peer, _ = listening.accept()
        with peer:
            assert _checked(_frames(peer.recv(1 << 16))) == 3
        await store.ledger.claim(entry(100))
        await one.turn()
        assert "closed the connection" in one.problem
        one._not_before = 0
        await _drain(one)
        peer, _ = listening.accept()
        with peer:
            (frame,) = _frames(peer.recv(1 << 16))
            match = _MESSAGE.fullmatch(frame)
            assert match is not None
            assert match[4] == b"4"
        sink.close()


@pytest.mark.attack(302)
async def test_no_client_forges_structured_data() -> None:
    store = MemoryStore()
    made = entry(1)
    await store.ledger.claim(
        type(made)(type(made.audit)(**{**_fields(made.audit), "client_id": 'x"] evil\n<34>1 y\\'}))
    )
    message = SyslogSink(parse_receiver("udp://127.0.0.1:9"))._message((await read(store.audit_log, 0))[0])
    assert b"\n" not in message
    assert b'client_id="x\\"\\] evil\\\\u000a<34>1 y\\\\"]' in message


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


@pytest.mark.parametrize(
    "text", ["", "x", "tcp://", "tcp://h:0x", "http://h:1", "tcp://h/path", "unix:log", "udp://u@h"]
)
def test_places_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_receiver(text)


# The settings.


def test_sinks_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    file.write_text("0123456789abcdef\n")
    chosen = Settings(
        audit_file=tmp_path / "a", audit_syslog="tls://h", audit_webhook="https://h", audit_webhook_secret_file=file
    )
    made: list[Sink] = configured.sinks(chosen)
    assert [sink.name for sink in made] == ["audit_file", "audit_syslog", "audit_webhook"]
    assert configured.sinks(Settings()) == []
    without = Settings(audit_webhook="https://h/?key=hidden")
    assert "hidden" not in repr(without)
    with pytest.raises(ConfigError, match="needs a secret"):
        configured.sinks(without)
    monkeypatch.setenv(configured.SECRET, "0123456789abcdef")
    assert len(configured.sinks(without)) == 1
    with pytest.raises(ConfigError, match="cannot be read"):
        configured.sinks(Settings(audit_webhook="https://h", audit_webhook_secret_file=tmp_path / "none"))


def test_lines_are_json(tmp_path: Path) -> None:
    del tmp_path
    store = asyncio.run(_store(1))
    (line,) = asyncio.run(read(store.audit_log, 0))
    assert json.loads(line.text)["number"] == 1
    assert os.linesep.encode() not in line.text
