"""Who may read at length, and for how long: so many at once, while the reader is there and reads."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.admin import make_context, member

from affiant.server.admin import app, lists, reads
from affiant.server.admin.roles import Principal, Role
from affiant.storage.memory import MemoryStore

NOW = 1_800_000_000


class Reader:
    """One request over a connection that it can close, or stop reading."""

    def __init__(self, gate: Any, path: str, *, reads: bool = True, lines: bool = True) -> None:
        self.sent: list[Any] = []
        self.closed, self.started = asyncio.Event(), asyncio.Event()
        self._reads, self._asked = reads, False
        headers = [(b"accept", lists.LINES.encode())] if lines else []
        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": f"/admin/api{path.partition('?')[0]}",
            "headers": headers,
        }
        scope |= {"query_string": path.partition("?")[2].encode(), "asgi": {"version": "3.0", "spec_version": "2.3"}}
        self.task = asyncio.create_task(gate(scope, self._receive, self._send))

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def is_whole(self) -> bool:
        return bool(self.sent) and self.sent[-1].get("more_body") is False

    async def _receive(self) -> Any:
        if self._asked:
            await self.closed.wait()
            return {"type": "http.disconnect"}
        self._asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)
        if message.get("body"):
            self.started.set()
            if not self._reads:
                await asyncio.Event().wait()


class Callers:
    """A store of many clients, and the admin API for any number of callers."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.readers: list[Reader] = []
        self._context = make_context(store)

    def ask(self, path: str = "/clients", who: str = "owner", **more: Any) -> Reader:
        async def authenticate(*_: object) -> Principal:
            return Principal(who, Role.VIEWER)

        gate = app.build(self._context, clock=lambda: float(NOW), authenticate=authenticate)
        self.readers.append(Reader(gate, path, **more))
        return self.readers[-1]


@pytest.fixture
async def callers() -> AsyncIterator[Callers]:
    store = MemoryStore()
    for number in range(2 * lists.PAGE + 1):
        await store.clients.add(member(f"c{number:04}"))
    made = Callers(store)
    yield made
    for reader in made.readers:
        reader.task.cancel()
    await asyncio.gather(*(reader.task for reader in made.readers), return_exceptions=True)


async def test_reads_beyond_those_of_one_caller_are_refused(callers: Callers, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a wait, with Retry-After; other callers read, and nothing is written of it or counted as a failure."""
    monkeypatch.setattr(reads, "WAIT_SECONDS", 0.01)
    stuck = [callers.ask(reads=False) for _ in range(reads.OPEN_BY_ONE)]
    for reader in stuck:
        await reader.started.wait()
    refused = callers.ask("/grants")
    await refused.task
    assert refused.status == 503
    assert dict(refused.sent[0]["headers"])[b"retry-after"] == b"1"
    assert b"admin.busy" in refused.sent[1]["body"]
    other = callers.ask(who="another")
    await other.task
    assert (other.status, other.is_whole) == (200, True)
    assert (await callers.store.audit_log.head()).given == 0


async def test_reads_of_all_callers_are_bounded(callers: Callers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "WAIT_SECONDS", 0.01)
    stuck = [callers.ask(who=f"v{number}", reads=False) for number in range(reads.OPEN)]
    for reader in stuck:
        await reader.started.wait()
    refused = callers.ask(who="one more")
    await refused.task
    assert refused.status == 503


async def test_read_waits_for_its_place(callers: Callers) -> None:
    stuck = [callers.ask(reads=False) for _ in range(reads.OPEN_BY_ONE)]
    for reader in stuck:
        await reader.started.wait()
    waiting = callers.ask()
    stuck[0].closed.set()
    await waiting.task
    assert (waiting.status, waiting.is_whole) == (200, True)


async def test_short_reads_need_no_place(callers: Callers) -> None:
    stuck = [callers.ask(reads=False) for _ in range(reads.OPEN_BY_ONE)]
    for reader in stuck:
        await reader.started.wait()
    short = callers.ask("/clients/c0001", lines=False)
    await short.task
    assert short.status == 200


@pytest.mark.parametrize("path", ["/clients", "/grants", "/audit/export", "/audit/verification", "/audit"])
async def test_read_ends_when_its_reader_disconnects(
    callers: Callers, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a page already; no trace is left, and the place is free."""
    reading, looked = asyncio.Event(), []

    async def stuck(fetch: Any, work: Any) -> Any:
        looked.append((fetch, work))
        reading.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(reads.Reads, "each", lambda _, fetch, work: stuck(fetch, work))
    reader = callers.ask(path)
    await reading.wait()
    assert not reader.task.done()
    reader.closed.set()
    await reader.task
    assert len(looked) == 1
    assert not reader.is_whole
    monkeypatch.undo()
    after = [callers.ask() for _ in range(reads.OPEN_BY_ONE)]
    await asyncio.gather(*(reader.task for reader in after))
    assert all(reader.is_whole for reader in after)


async def test_reader_that_takes_nothing_loses_its_place(callers: Callers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is not ended like a whole one: the server then closes the connection."""
    monkeypatch.setattr(reads, "STALLED_SECONDS", 0.01)
    reader = callers.ask(reads=False)
    with contextlib.suppress(BaseExceptionGroup):
        await reader.task
    assert (reader.status, reader.is_whole) == (200, False)
    monkeypatch.setattr(reads, "STALLED_SECONDS", 30)
    again = [callers.ask() for _ in range(reads.OPEN_BY_ONE)]
    await asyncio.gather(*(reader.task for reader in again))


async def test_server_that_is_stopped_cancels_the_read(callers: Callers) -> None:
    reader = callers.ask(reads=False)
    await reader.started.wait()
    reader.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader.task
