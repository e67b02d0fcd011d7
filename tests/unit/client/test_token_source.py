"""One request, however many want a token."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from tests.unit.client.conftest import Answer, Foreign, token_answer

from affiant import Service
from affiant.client.token import Token, TokenKey
from affiant.client.token_source import TokenSource
from affiant.errors import Refused, RemoteError
from affiant.jose.keys import PrivateKey
from affiant.oauth.token import TokenResponse

KEY = TokenKey("https://orders.example", "orders.read")


@pytest.fixture
def service(foreign: Foreign, key: PrivateKey, http: httpx2.Client) -> Service:
    foreign.delay = 0.1  # long enough for all callers to come while the first one waits
    return Service(foreign.url, "billing", key=key, http=http)


def _together(work: Callable[[], Token], count: int = 20) -> set[str]:
    start = threading.Barrier(count)

    def one(_: int) -> str:
        start.wait()
        return work().value

    with ThreadPoolExecutor(count) as pool:
        return set(pool.map(one, range(count)))


def test_twenty_threads_make_one_request(foreign: Foreign, service: Service) -> None:
    assert _together(service.token) == {"token-1"}
    assert len(foreign.sent("/token")) == 1


def test_twenty_tasks_make_one_request(foreign: Foreign, service: Service) -> None:
    async def run() -> set[str]:
        return {token.value for token in await asyncio.gather(*(service.atoken() for _ in range(20)))}

    assert asyncio.run(run()) == {"token-1"}
    assert len(foreign.sent("/token")) == 1


def test_twenty_event_loops_make_one_request(foreign: Foreign, service: Service) -> None:
    assert _together(lambda: asyncio.run(service.atoken())) == {"token-1"}
    assert len(foreign.sent("/token")) == 1


def test_cancelled_first_caller_cancels_no_other(foreign: Foreign, service: Service) -> None:
    async def run() -> list[str]:
        first = asyncio.create_task(service.atoken())
        await asyncio.sleep(0)
        others = [asyncio.create_task(service.atoken()) for _ in range(5)]
        await asyncio.sleep(0.02)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        return [token.value for token in await asyncio.gather(*others)]

    assert asyncio.run(run()) == ["token-1"] * 5
    assert len(foreign.sent("/token")) == 1


def test_blocked_event_loop_still_gets_its_token(foreign: Foreign, service: Service) -> None:
    """A caller that blocks the event loop of the first caller waits for the response, not for the loop."""

    async def both() -> set[str]:
        waiting = asyncio.create_task(service.atoken())
        await asyncio.sleep(0)
        return {service.token().value, (await waiting).value}

    assert asyncio.run(both()) == {"token-1"}
    assert len(foreign.sent("/token")) == 1


def test_event_loop_that_closes_leaves_its_flight_to_others(foreign: Foreign, service: Service) -> None:
    """An event loop may end before the response comes: other callers still get it."""

    async def leave() -> None:
        waiting = asyncio.create_task(service.atoken())
        await asyncio.sleep(0)
        assert not waiting.done()

    asyncio.run(leave())
    assert service.token().value == "token-1"
    assert len(foreign.sent("/token")) == 1


def test_other_resource_or_scope_is_another_token(foreign: Foreign, service: Service) -> None:
    values = {service.token("https://a.example").value, service.token("https://b.example").value}
    values |= {service.token("https://a.example", "x").value, service.token("https://a.example").value}
    assert values == {"token-1", "token-2", "token-3"}
    assert [request.form.get("scope") for request in foreign.sent("/token")] == [None, None, "x"]


def test_failure_reaches_all_callers_and_is_not_cached(foreign: Foreign, service: Service) -> None:
    foreign.script["/token"] = [Answer(400, {"error": "invalid_scope"})]
    start = threading.Barrier(10)

    def one(_: int) -> str:
        start.wait()
        try:
            return service.token().value
        except Refused as error:
            return error.error

    with ThreadPoolExecutor(10) as pool:
        assert set(pool.map(one, range(10))) == {"invalid_scope"}
    assert len(foreign.sent("/token")) == 1
    assert service.token().value == "token-1"


class _Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def test_unknown_client_is_not_asked_for_again_for_five_seconds(foreign: Foreign, key: PrivateKey) -> None:
    clock = _Clock()
    service = Service(foreign.url, "billing", key=key, clock=clock)
    foreign.script["/token"] = [Answer(401, {"error": "invalid_client", "trace_id": "t-9"})]
    caught = []
    for _ in range(3):
        with pytest.raises(Refused) as error:
            service.token()
        caught.append(error.value)
    assert len(foreign.sent("/token")) == 1
    assert {error.trace_id for error in caught} == {"t-9"}
    assert len({id(error) for error in caught}) == 3  # a shared one would grow a traceback at every raise
    clock.now += 5
    assert service.token().value == "token-1"


class _Script:
    """A token endpoint without a network: what the cache does by the clock, exactly."""

    def __init__(self, *answers: TokenResponse | Exception) -> None:
        self.clock = _Clock()
        self.asked = 0
        self.landed = threading.Event()
        self._answers = list(answers)
        self.source = TokenSource(self._fetch, self.clock)

    def _fetch(self, _: TokenKey) -> TokenResponse:
        self.asked += 1
        try:
            answer = self._answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            self.landed.set()

    def get(self) -> str:
        return self.source.get(KEY).value

    def settle(self) -> None:
        assert self.landed.wait(5)
        self.landed.clear()
        for thread in threading.enumerate():
            if thread.name.startswith("Thread-") and "_fly" in thread.name:
                thread.join(5)


def _answer(value: str, expires_in: int | None) -> TokenResponse:
    return TokenResponse(value, "Bearer", expires_in)


def test_short_tokens_are_kept_too() -> None:
    script = _Script(_answer("a", 60), _answer("b", 60))
    script.get()
    script.clock.now += 41
    assert (script.get(), script.asked) == ("a", 1)


def test_early_renewal_returns_the_old_token() -> None:
    script = _Script(_answer("a", 1000), _answer("b", 1000))
    script.get()
    script.settle()
    script.clock.now += 801
    assert script.get() == "a"
    script.settle()
    assert (script.get(), script.asked) == ("b", 2)


def test_renewal_ahead_that_fails_is_not_repeated_at_every_call() -> None:
    script = _Script(_answer("a", 1000), RemoteError("down"), _answer("b", 1000))
    script.get()
    script.settle()
    script.clock.now += 801
    assert script.get() == "a"
    script.settle()
    assert {script.get() for _ in range(10)} == {"a"}
    assert script.asked == 2
    script.clock.now += 5
    assert script.get() == "a"
    script.settle()
    assert (script.get(), script.asked) == ("b", 3)


@pytest.mark.attack(273)
@pytest.mark.parametrize(("expires_in", "kept"), [(None, 300), (10**9, 300), (3600, 3600), (0, 0), (-5, 0)])
def test_lifetime_is_bounded(expires_in: int | None, kept: int) -> None:
    script = _Script(_answer("a", expires_in))
    token = script.source.get(KEY)
    assert token.expires_at - script.clock.now == kept
    assert token.is_good(script.clock.now) is (kept > 0)
    assert not token.is_good(script.clock.now + kept - min(30, kept / 10))


def test_life_begins_when_it_is_asked_for() -> None:
    clock = _Clock()

    def slow(_: TokenKey) -> TokenResponse:
        clock.now += 20
        return _answer("a", 100)

    assert TokenSource(slow, clock).get(KEY).expires_at == 1_800_000_100


def test_forgotten_token_is_requested_again() -> None:
    script = _Script(_answer("a", 3600), _answer("b", 3600))
    assert script.get() == "a"
    script.source.forget(KEY, "another")
    assert script.get() == "a"
    script.source.forget(KEY, "a")
    assert script.get() == "b"


def test_numeric_string_is_a_lifetime(foreign: Foreign, key: PrivateKey) -> None:
    clock = _Clock()
    foreign.script["/token"] = [token_answer("t", "120")]
    assert Service(foreign.url, "billing", key=key, clock=clock).token().expires_at == clock.now + 120
