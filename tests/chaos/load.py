"""Clients that ask for tokens over plain sockets, and write down what they saw."""

import asyncio
import contextlib
import json
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from tests.chaos.history import ISSUED, LIMITED, LOST, MALFORMED, REFUSED, UNAVAILABLE, Event, History

from affiant.jose.keys import PrivateKey
from affiant.oauth import assertion, names

PATIENCE = 20.0  # seconds after which a client gives up; far beyond what the server promises
LIFETIME = 290
PAUSE = 0.05  # seconds, after a 503: shorter than Retry-After asks for, as bad clients are


@dataclass(frozen=True)
class Shot:
    """One assertion, ready to be sent any number of times."""

    client: str
    jti: str
    exp: int
    message: bytes = field(repr=False)


@dataclass
class Crowd:
    """So many connections, each with one request at a time.

    Attributes:
        clients: the names that fresh assertions are made for, in turn.
        replays: assertions to be sent (again) before any fresh one.
        shots: every assertion that was ever sent, by its jti.
    """

    port: int
    key: PrivateKey
    history: History
    clients: tuple[str, ...] = ("c0",)
    replays: deque[Shot] = field(default_factory=deque)
    shots: dict[str, Shot] = field(default_factory=dict)
    is_done: bool = False
    _turn: int = 0

    def fresh(self) -> Shot:
        """A new assertion."""
        self._turn += 1
        client, jti, now = self.clients[self._turn % len(self.clients)], secrets.token_urlsafe(16), time.time()
        text = assertion.build(
            client,
            issuer=f"http://127.0.0.1:{self.port}",
            signer=self.key,
            now=now,
            lifetime=LIFETIME,
            jti=jti,
        )
        return Shot(client, jti, int(now) + LIFETIME, message(self.port, text))

    @contextlib.asynccontextmanager
    async def running(self, connections: int) -> AsyncIterator[None]:
        """Ask without end; what is on its way at the end is waited for."""
        self.is_done = False
        tasks = [asyncio.create_task(self._connection()) for _ in range(connections)]
        try:
            yield
        finally:
            self.is_done = True
            await asyncio.gather(*tasks)

    async def replay(self, shots: list[Shot], connections: int = 8) -> list[Event]:
        """Send all of these once, and return what came of it."""
        before = len(self.history.events)
        waiting = deque(shots)
        await asyncio.gather(*(self._drain(waiting) for _ in range(min(connections, len(shots)))))
        return self.history.events[before:]

    async def until(self, is_reached: Callable[[], bool], *, seconds: float = 15.0) -> float:
        """Wait for it; how long that took."""
        begun = time.monotonic()
        while not is_reached():
            assert time.monotonic() < begun + seconds, f"not within {seconds} s"
            await asyncio.sleep(0.01)
        return time.monotonic() - begun

    async def answered(self, number: int, *, seconds: float = 15.0) -> float:
        """Wait for so many tokens that were asked for from now on; seconds until the last of them."""
        begun, seen, events = time.monotonic(), len(self.history.events), self.history.events

        def is_reached() -> bool:
            return sum(event.outcome == ISSUED and event.start >= begun for event in events[seen:]) >= number

        return await self.until(is_reached, seconds=seconds)

    async def refused(self, number: int, *, seconds: float) -> float:
        """Wait for so many more times 503; seconds until the last of them."""
        wanted = self.history.count(UNAVAILABLE) + number
        return await self.until(lambda: self.history.count(UNAVAILABLE) >= wanted, seconds=seconds)

    async def _connection(self) -> None:
        while not self.is_done:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:  # no server: nothing was asked
                await asyncio.sleep(0.02)
                continue
            with contextlib.closing(writer):
                while not self.is_done:
                    event = await self._ask(reader, writer, self.replays.popleft() if self.replays else self.fresh())
                    if event.outcome == LOST:
                        break
                    if event.outcome == UNAVAILABLE:
                        await asyncio.sleep(PAUSE)

    async def _drain(self, waiting: deque[Shot]) -> None:
        while waiting:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            with contextlib.closing(writer):
                while waiting:
                    event = await self._ask(reader, writer, waiting.popleft())
                    if event.outcome == LOST:
                        break

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, shot: Shot) -> Event:
        self.shots[shot.jti] = shot
        at, start = time.time(), time.monotonic()
        try:
            writer.write(shot.message)
            outcome, reason, trace = await asyncio.wait_for(_answer(reader), PATIENCE)
        except (OSError, EOFError) as error:  # TimeoutError is an OSError
            outcome, reason, trace = LOST, type(error).__name__, None
        event = Event(
            op="token",
            client=shot.client,
            jti=shot.jti,
            start=start,
            end=time.monotonic(),
            outcome=outcome,
            exp=shot.exp,
            at=at,
            trace=trace,
            reason=reason,
        )
        self.history.add(event)
        return event


def message(port: int, text: str) -> bytes:
    """A token request with this assertion, as it goes over the wire."""
    form = {
        "grant_type": names.CLIENT_CREDENTIALS,
        "client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE,
        "client_assertion": text,
    }
    body = urlencode(form).encode()
    head = (
        f"POST /token HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/x-www-form-urlencoded\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _answer(reader: asyncio.StreamReader) -> tuple[str, str | None, str | None]:
    """Outcome, reason and trace id of the next answer; EOFError when it does not come whole."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return judge(int(head.split(" ")[1]), headers, body)


def judge(status: int, headers: dict[str, str], body: bytes) -> tuple[str, str | None, str | None]:
    """What an answer is: one of the five that a client must be ready for, or malformed."""
    try:
        members: dict[str, Any] = json.loads(body)
        if headers["content-type"] != "application/json" or headers["cache-control"] != "no-store":
            return MALFORMED, f"{status} with {headers}", None
        if status == 200 and members["access_token"] and members["expires_in"] > 0:
            return ISSUED, None, headers["x-trace-id"]
        reason, trace = members["error_uri"].rpartition("/")[2], members["trace_id"]
        kind = {400: REFUSED, 401: REFUSED, 429: LIMITED, 503: UNAVAILABLE}.get(status)
        if kind is None or not members["error"] or not members["error_description"]:
            return MALFORMED, f"{status}: {body[:200]!r}", trace
        if kind in (LIMITED, UNAVAILABLE) and int(headers["retry-after"]) < 1:
            return MALFORMED, f"{status} with Retry-After {headers['retry-after']}", trace
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return MALFORMED, f"{status}: {body[:200]!r} ({error!r})", None
    return kind, reason, trace
