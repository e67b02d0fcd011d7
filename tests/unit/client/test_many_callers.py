"""Many callers on several threads and event loops, tokens that end soon, and a server that fails at times."""

import asyncio
import math
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx2
import pytest
from tests.unit.client.conftest import Answer, Foreign, Request, metadata_answer, token_answer

from affiant import Service
from affiant.jose.keys import PrivateKey

LIFE, EARLIEST = 2, 1.4  # seconds that a token lives, and after which it is renewed at the earliest


class Failing(Foreign):
    """Fails one token request in `every` with 503."""

    every = 10

    def __init__(self) -> None:
        super().__init__()
        self.failed = 0
        self.default["/.well-known/oauth-authorization-server"] = metadata_answer(self.url)

    def answer(self, request: Request) -> Answer:
        if request.path != "/token":
            return super().answer(request)
        with self._lock:
            self.requests.append(request)
            if len(self.sent("/token")) % self.every == 0:
                self.failed += 1
                return Answer(503, {})
            self.issued += 1
            return token_answer(f"token-{self.issued}", LIFE)


@pytest.fixture
def failing() -> Iterator[Failing]:
    server = Failing()
    yield server
    server.close()


@dataclass
class Seen:
    """The results of the callers of one thread."""

    values: set[str] = field(default_factory=set)
    failures: list[BaseException] = field(default_factory=list)
    late: list[float] = field(default_factory=list)  # seconds past the end of a token that was handed out
    calls: int = 0


async def _call(service: Service, end: float, seen: Seen) -> None:
    while time.monotonic() < end:
        try:
            token = await service.atoken()
        except Exception as error:  # noqa: BLE001 - whatever it is, there must be none
            seen.failures.append(error)
            return
        if (past := time.time() - token.expires_at) >= 0:
            seen.late.append(past)
        seen.values.add(token.value)
        seen.calls += 1
        await asyncio.sleep(random.uniform(0.2, 1.8))


def _run(service: Service, end: float, callers: int, seen: Seen) -> None:
    async def all_of_them() -> None:
        await asyncio.gather(*(_call(service, end, seen) for _ in range(callers)))

    asyncio.run(all_of_them())


@pytest.mark.parametrize(
    ("callers", "threads", "seconds", "every"),
    [(400, 4, 5, 3), pytest.param(10_000, 8, 20, 10, marks=pytest.mark.soak)],
)
def test_no_caller_fails_and_no_request_is_made_twice(
    failing: Failing, key: PrivateKey, http: httpx2.Client, callers: int, threads: int, seconds: int, every: int
) -> None:
    failing.every = every
    service = Service(failing.url, "billing", key=key, http=http)
    end, seen = time.monotonic() + seconds, [Seen() for _ in range(threads)]
    running = [threading.Thread(target=_run, args=(service, end, callers // threads, one)) for one in seen]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    requests, values = len(failing.sent("/token")), set[str]().union(*(one.values for one in seen))
    print(
        f"{sum(one.calls for one in seen)} calls, {requests} requests, {failing.issued} tokens, {failing.failed} failures"
    )
    assert [error for one in seen for error in one.failures] == []
    assert [past for one in seen for past in one.late] == []
    assert requests == failing.issued + failing.failed, "each failure is followed by one retry, and nothing else"
    assert failing.issued - len(values) in (0, 1), "each token was used: only the last one may have come too late"
    assert seconds // LIFE <= failing.issued <= math.ceil(seconds / EARLIEST) + 1, "one request for each end of a token"
    assert failing.failed >= 1
    assert sum(one.calls for one in seen) >= callers
