"""200 requests a second through a guard whose issuer misbehaves, over sockets and in real time.

What has a known key waits for nothing. A busy machine delays requests, too, so that is measured in the same run, and
taken off: the kernel counts how long a thread was ready and did not run, and a thread that does nothing but sleep notes
when none of this process ran. A second guard, whose issuer is well, has as many requests from the same threads: what
its requests wait is printed next to it.
"""

import asyncio
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from tests.chaos.faulty_issuer import BODIES
from tests.chaos.node import resident
from tests.loopback import free_port

from affiant.jose import compact, keys
from affiant.resource import Caller, Guard

pytestmark = pytest.mark.soak

API = "https://api.example"
RATE, THREADS, STRANGERS = 200, 8, 4  # requests a second, of all threads
SECONDS = 20.0  # four times the life of the keys, and the second attempt after a failure
MOST_WAIT, MOST_REFUSAL, MOST_RECOVERY = 0.05, 20.0, 20.0  # seconds
TICK = 0.005
MORE_MEMORY = 32 << 20
FAULTS = ["slow", "hanging", "dripping", "huge", "dead", "failing", "redirecting", "moved", "another issuer", *BODIES]
PROGRAM = Path(__file__).with_name("faulty_issuer.py")
STRANGER = keys.generate("ES256")

Message = MutableMapping[str, Any]


class Issuer:
    """The process of an issuer, and tokens by its key."""

    def __init__(self, process: subprocess.Popen[str], url: str, key: keys.PrivateKey) -> None:
        self._process, self.url, self.key = process, url, key

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Self]:
        port, key = free_port(), keys.generate("ES256")
        command = [sys.executable, str(PROGRAM), str(port), json.dumps(key.to_jwk())]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            issuer = cls(process, f"http://127.0.0.1:{port}", key)
            issuer._read()
            yield issuer
            process.kill()

    def become(self, fault: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{fault}\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def token(self, number: int = 0, *, key: keys.PrivateKey | None = None) -> str:
        now = int(time.time())
        claims = {"iss": self.url, "aud": API, "sub": "c", "client_id": "c", "iat": now, "exp": now + 3600}
        return compact.sign({"typ": "at+jwt"}, {**claims, "jti": str(number)}, key or self.key)


class Measured:
    """What the requests to one guard took, by any thread."""

    def __init__(self, stalls: "Stalls") -> None:
        self._stalls = stalls
        self.statuses = list[int]()
        self.waits, self.times = list[float](), list[float]()  # seconds; waits without what else the machine did

    def __str__(self) -> str:
        p99, most = sorted(self.waits)[int(len(self.waits) * 0.99)], max(self.waits)
        return f"{dict(Counter(self.statuses))} p99 {1000 * p99:.2f} max {1000 * most:.1f} ms, in all {max(self.times):.3f} s"

    @contextmanager
    def one(self) -> Iterator[list[int]]:
        """Measure a request, which adds its status to the list."""
        begun, ready = time.perf_counter(), _ready_seconds()
        yield self.statuses
        end = time.perf_counter()
        self.times.append(end - begun)
        wait = end - begun - (_ready_seconds() - ready)
        self.waits.append(wait if wait < MOST_WAIT else wait - self._stalls.within(begun, end))


class Stalls(threading.Thread):
    """Notes when no thread of this process ran, such as while the one with the interpreter's lock had no processor."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._found = list[tuple[float, float]]()
        self._is_over = threading.Event()

    def run(self) -> None:
        last = time.perf_counter()
        while not self._is_over.wait(TICK):
            now = time.perf_counter()
            if now - last > 2 * TICK:
                self._found.append((last + TICK, now))
            last = now

    def within(self, begun: float, end: float) -> float:
        """Return the seconds of stalls between two instants."""
        time.sleep(2 * TICK)  # one that has just ended
        return sum(max(0.0, min(end, until) - max(begun, since)) for since, until in self._found)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.join()


def _ready_seconds() -> float:
    """Return for how long this thread was ready to run, and another one had its processor."""
    return int(Path("/proc/thread-self/schedstat").read_bytes().split()[1]) / 1e9


class Load:
    """Requests to a guard whose issuer is well, and to one whose issuer misbehaves.

    In the second half some have an unknown key, so that in the first one nothing but the age of the keys causes a fetch.
    """

    def __init__(self, well: Issuer, faulty: Issuer, stalls: Stalls) -> None:
        self.issuer, self._stalls, self._issuers = faulty, stalls, (well, faulty)
        self.guards = [Guard(issuer.url, audience=API) for issuer in self._issuers]
        self.tokens = [[issuer.token(number) for number in range(50)] for issuer in self._issuers]
        self.forget()

    def forget(self) -> None:
        """Begin to measure."""
        self.measured, self.strange = (Measured(self._stalls), Measured(self._stalls)), Measured(self._stalls)

    def each(self, number: int) -> list[tuple[Guard, str, Measured]]:
        """Return guard and token for the request with this number to each guard; every tenth token is a new one."""
        tokens = [tokens[number % len(tokens)] for tokens in self.tokens]
        if number % 10 == 0:
            tokens = [issuer.token(time.perf_counter_ns()) for issuer in self._issuers]
        return list(zip(self.guards, tokens, self.measured, strict=True))

    def strangers(self) -> list[str]:
        """Return tokens with an unknown key, and with the name of a known one."""
        names = secrets.token_hex(8), self.issuer.key.kid
        return [self.issuer.token(key=keys.parse_private_jwk({**STRANGER.to_jwk(), "kid": name})) for name in names]

    async def run(self, seconds: float) -> None:
        raise NotImplementedError


class InEventLoop(Load):
    async def run(self, seconds: float) -> None:
        """Send each request at its time, whether or not the last one was answered."""
        begun = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(RATE * seconds)):
                await asyncio.sleep(begun + number / RATE - time.monotonic())
                for guard, token, measured in self.each(number):
                    tasks.create_task(self._ask(guard, token, measured))
                if number % (RATE // 2) == 0 and number >= RATE * seconds / 2:
                    for token in self.strangers():
                        tasks.create_task(self._ask(self.guards[-1], token, self.strange))

    async def _ask(self, guard: Guard, token: str, measured: Measured) -> None:
        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                measured.statuses.append(message["status"])

        headers = [(b"authorization", b"Bearer " + token.encode())]
        scope = {"type": "http", "method": "GET", "path": "/orders", "headers": headers, "query_string": b""}
        with measured.one():
            await guard.asgi(_application)(scope, _receive, send)


async def _application(scope: Message, receive: object, send: Callable[[Message], Awaitable[None]]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _receive() -> Message:
    return {"type": "http.disconnect"}


class InThreads(Load):
    async def run(self, seconds: float) -> None:
        begun = time.monotonic()
        with ThreadPoolExecutor(THREADS + STRANGERS) as threads:
            asked = [threads.submit(self._ask_all, begun + number / RATE, seconds) for number in range(THREADS)]
            asked += [
                threads.submit(self._ask_as_strangers, begun + seconds / 2, begun + seconds) for _ in range(STRANGERS)
            ]
            await asyncio.gather(*map(asyncio.wrap_future, asked))

    def _ask_all(self, begun: float, seconds: float) -> None:
        for number in range(int(RATE * seconds / THREADS)):
            time.sleep(max(0.0, begun + number * THREADS / RATE - time.monotonic()))
            for guard, token, measured in self.each(number):
                self._ask(guard, token, measured)

    def _ask_as_strangers(self, begin: float, end: float) -> None:
        time.sleep(max(0.0, begin - time.monotonic()))
        while time.monotonic() < end:
            for token in self.strangers():
                self._ask(self.guards[-1], token, self.strange)
            time.sleep(0.5)

    def _ask(self, guard: Guard, token: str, measured: Measured) -> None:
        with measured.one() as statuses:
            found = guard.check_environ({"HTTP_AUTHORIZATION": f"Bearer {token}"})
            statuses.append(200 if isinstance(found, Caller) else found.status)


@pytest.fixture(params=[InEventLoop, InThreads])
def load(request: pytest.FixtureRequest) -> Iterator[Load]:
    """A warm guard."""
    with Issuer.running() as well, Issuer.running() as faulty, Stalls() as stalls:
        yield request.param(well, faulty, stalls)


@pytest.mark.parametrize("fault", FAULTS)
async def test_known_key_waits_for_nothing(load: Load, fault: str) -> None:
    await load.run(1)  # the keys come, and the machine gets warm
    load.forget()
    before, peak = resident(os.getpid()), asyncio.create_task(_peak())
    load.issuer.become(fault)
    await load.run(SECONDS)
    grown = await _end(peak) - before
    if fault != "moved":  # the guard looks for a move at most once a minute
        load.issuer.become("none")
    recovery = await asyncio.to_thread(_recover, load)
    well, faulty = load.measured
    print(f"\n{type(load).__name__} {fault}: {faulty}; well: {well}; strange: {load.strange}")
    print(f"{type(load).__name__} {fault}: {grown >> 10} KiB more; new key after {recovery:.1f} s")
    assert set(faulty.statuses) == set(well.statuses) == {200}
    assert max(faulty.waits) < MOST_WAIT
    assert set(load.strange.statuses) <= {401, 503}
    assert max(load.strange.times) < MOST_REFUSAL
    assert grown < MORE_MEMORY
    assert recovery < MOST_RECOVERY


@pytest.mark.parametrize("fault", ["wrong keys", "wrong keys of the same name"])
async def test_issuer_that_publishes_wrong_keys_is_obeyed(load: Load, fault: str) -> None:
    """Its tokens are refused until it publishes the right ones again, and no request waits long for that."""
    await load.run(1)
    load.forget()
    load.issuer.become(fault)
    await load.run(SECONDS)
    _, faulty = load.measured
    load.issuer.become("none")
    await load.run(10)
    load.forget()
    await load.run(1)
    print(f"\n{type(load).__name__} {fault}: {faulty}; strange: {load.strange}; then: {load.measured[1]}")
    assert set(faulty.statuses) == {200, 401}
    assert max(faulty.times) < MOST_REFUSAL
    assert set(load.measured[1].statuses) == {200}


async def _peak() -> int:
    """Return the most memory that this process had, once this task is cancelled."""
    most = 0
    while True:
        most = max(most, resident(os.getpid()))
        try:
            await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            return most


async def _end(peak: asyncio.Task[int]) -> int:
    peak.cancel()
    return await peak


def _recover(load: Load) -> float:
    """Return the seconds until a token by a new key is accepted."""
    key = keys.parse_private_jwk(json.loads(load.issuer.become("rotate")))
    begun, guard = time.monotonic(), load.guards[-1]
    headers = {"HTTP_AUTHORIZATION": f"Bearer {load.issuer.token(key=key)}"}
    while not isinstance(guard.check_environ(headers), Caller):
        assert time.monotonic() - begun < MOST_RECOVERY, "it never recovered"
        time.sleep(0.1)
    return time.monotonic() - begun
