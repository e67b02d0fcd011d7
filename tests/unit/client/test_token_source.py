"""One request, however many want a token."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from tests.unit.client.conftest import Answer, Foreign, token_answer

from affiant import Service
from affiant.client.cache import breaker
from affiant.client.cache.token_source import MOST_TOKENS, TokenSource
from affiant.client.token import Token, TokenKey
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
    foreign.script["/token"] = [Answer(400, {"error": "slow_down"})]
    start = threading.Barrier(10)

    def one(_: int) -> str:
        start.wait()
        try:
            return service.token().value
        except Refused as error:
            return error.error

    with ThreadPoolExecutor(10) as pool:
        assert set(pool.map(one, range(10))) == {"slow_down"}
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
        self._others = set(threading.enumerate())  # an earlier test's may wait for a server that never answers
        self.source = TokenSource(self._fetch, self.clock)

    def _fetch(self, _: TokenKey) -> tuple[TokenResponse, float]:
        self.asked += 1
        sent_at = self.clock.now
        try:
            answer = self._answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer, sent_at
        finally:
            self.landed.set()

    def get(self) -> str:
        return self.source.get(KEY).value

    def settle(self) -> None:
        assert self.landed.wait(5)
        self.landed.clear()
        for thread in set(threading.enumerate()) - self._others:
            if "_request" in thread.name:
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

    def slow(_: TokenKey) -> tuple[TokenResponse, float]:
        sent_at = clock.now
        clock.now += 20
        return _answer("a", 100), sent_at

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


def _down(status: int = 500, **headers: str) -> Answer:
    return Answer(status, {}, {name.replace("_", "-"): value for name, value in headers.items()})


def _failures(service: Service, calls: int) -> list[RemoteError]:
    found = []
    for _ in range(calls):
        with pytest.raises(RemoteError) as error:
            service.token()
        found.append(error.value)
    return found


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client", "invalid_scope", "invalid_target"])
def test_permanent_refusal_is_not_asked_for_again(foreign: Foreign, key: PrivateKey, error: str) -> None:
    clock = _Clock()
    service = Service(foreign.url, "billing", key=key, clock=clock)
    foreign.default["/token"] = Answer(400, {"error": error})
    _failures(service, 10)
    assert len(foreign.sent("/token")) == 1
    with pytest.raises(Refused):
        service.token("https://other.example")
    assert len(foreign.sent("/token")) == 2, "another API may be another matter"
    clock.now += 5
    _failures(service, 1)
    assert len(foreign.sent("/token")) == 3


def test_retry_after_holds_for_all_tokens_of_the_server(foreign: Foreign, key: PrivateKey) -> None:
    clock = _Clock()
    service = Service(foreign.url, "billing", key=key, clock=clock)
    foreign.script["/token"] = [_down(503, Retry_After="3600")]
    errors = _failures(service, 15)
    with pytest.raises(RemoteError):
        service.token("https://other.example")
    assert len(foreign.sent("/token")) == 1
    assert [error.retry_after for error in errors] == [3600.0] * 15
    assert "no request was sent now" in str(errors[-1])
    clock.now += 3599
    _failures(service, 1)
    clock.now += 1
    assert service.token().value == "token-1"


def test_retry_after_has_a_limit(foreign: Foreign, key: PrivateKey) -> None:
    clock = _Clock()
    service = Service(foreign.url, "billing", key=key, clock=clock)
    foreign.script["/token"] = [_down(503, Retry_After="999999999")]
    _failures(service, 2)
    clock.now += breaker.LONGEST_RETRY_AFTER
    assert service.token().value == "token-1"


def test_failing_server_is_left_alone_then_probed(foreign: Foreign, key: PrivateKey) -> None:
    clock = _Clock()
    service = Service(foreign.url, "billing", key=key, clock=clock)
    foreign.default["/token"] = _down()
    _failures(service, 20)
    assert len(foreign.sent("/token")) == breaker.FAILURES
    clock.now += breaker.FIRST_PAUSE
    _failures(service, 20)
    assert len(foreign.sent("/token")) == breaker.FAILURES + 1, "one probe"
    del foreign.default["/token"]
    clock.now += 2 * breaker.FIRST_PAUSE
    assert service.token().value.startswith("token-")
    foreign.script["/token"] = [_down()] * (breaker.FAILURES - 1)
    for _ in range(breaker.FAILURES - 1):
        with pytest.raises(RemoteError):
            service.token("https://other.example")
    assert service.token("https://other.example").value.startswith("token-"), "a success begins the count again"


def test_one_probe_at_a_time(foreign: Foreign, key: PrivateKey, http: httpx2.Client) -> None:
    clock = _Clock()
    service = Service(foreign.url, "billing", key=key, http=http, clock=clock)
    foreign.default["/token"] = _down()
    _failures(service, breaker.FAILURES)
    clock.now += breaker.FIRST_PAUSE
    del foreign.default["/token"]
    foreign.delay = 0.3
    probe = threading.Thread(target=service.token)
    probe.start()
    while len(foreign.sent("/token")) == breaker.FAILURES:
        pass
    with pytest.raises(RemoteError):
        service.token("https://other.example")
    probe.join(5)
    assert service.token("https://other.example").value.startswith("token-")


def test_refusals_do_not_open_the_breaker(foreign: Foreign, key: PrivateKey) -> None:
    service = Service(foreign.url, "billing", key=key, clock=_Clock())
    foreign.default["/token"] = Answer(400, {"error": "slow_down"})
    _failures(service, 20)
    assert len(foreign.sent("/token")) == 20


def test_good_token_is_returned_while_the_server_is_left_alone(foreign: Foreign, key: PrivateKey) -> None:
    clock = _Clock()
    service = Service(foreign.url, "billing", key=key, clock=clock)
    assert service.token().value == "token-1"
    foreign.default["/token"] = _down(503, Retry_After="3600")
    with pytest.raises(RemoteError):
        service.token("https://other.example")
    clock.now += 3000  # the token is to be renewed, and still good
    assert {service.token().value for _ in range(5)} == {"token-1"}
    assert len(foreign.sent("/token")) == 2


def test_refused_token_is_replaced_once_in_five_seconds() -> None:
    script = _Script(_answer("a", 3600), _answer("b", 3600), _answer("c", 3600))
    assert script.get() == "a"
    assert script.source.forget(KEY, "a")
    assert script.source.forget(KEY, "a"), "another caller has dropped it"
    assert script.get() == "b"
    assert not script.source.forget(KEY, "b")
    assert script.get() == "b"
    script.clock.now += 5
    assert script.source.forget(KEY, "b")
    assert script.get() == "c"


def test_failed_renewal_of_a_short_token_is_tried_again_before_its_end() -> None:
    script = _Script(_answer("a", 10), RemoteError("down"), _answer("b", 10))
    script.get()
    script.settle()
    script.clock.now += 8.1
    assert script.get() == "a"
    script.settle()
    script.clock.now += 0.5
    assert script.get() == "a"
    script.settle()
    assert script.get() == "b"


class _Keys:
    """A token endpoint for any number of keys; `hold` stops its answers."""

    def __init__(self) -> None:
        self.clock = _Clock()
        self.asked = list[str | None]()
        self.hold = threading.Event()
        self.hold.set()
        self.source = TokenSource(self._fetch, self.clock)

    def _fetch(self, key: TokenKey) -> tuple[TokenResponse, float]:
        self.asked.append(key.resource)
        assert self.hold.wait(10)
        if key.scope == "refused":
            raise Refused("invalid_scope")
        return _answer(f"for-{key.resource}", int(key.scope or 3600)), self.clock.now

    def get(self, name: object, scope: str | None = None) -> str:
        return self.source.get(TokenKey(str(name), scope)).value


def test_memory_is_bounded() -> None:
    """A program that puts an id into the resource or the scope must not grow for ever, refused or not."""
    made = _Keys()
    for number in range(3 * MOST_TOKENS):
        made.clock.now += 0.001
        if number % 3:
            assert made.get(number) == f"for-{number}"
        else:
            with pytest.raises(Refused):
                made.get(number, "refused")
    assert len(made.source._entries) <= MOST_TOKENS
    assert made.get(3 * MOST_TOKENS - 1) == f"for-{3 * MOST_TOKENS - 1}"
    assert len(made.asked) == 3 * MOST_TOKENS, "the last one is kept"


def test_what_is_used_stays_and_what_ended_goes_first() -> None:
    made = _Keys()
    for number in range(MOST_TOKENS - 10):
        made.clock.now += 0.001
        made.get(number)
    for number in range(10):
        made.get(f"short-{number}", "2")
    made.clock.now += 10
    assert made.get(0) == "for-0"
    made.get("one more")
    asked = len(made.asked)
    assert [made.get(number) for number in (0, MOST_TOKENS - 11)] == ["for-0", f"for-{MOST_TOKENS - 11}"]
    assert len(made.asked) == asked, "the one that was used a moment ago, and one of the newest"
    made.get(1)
    assert len(made.asked) == asked + 1, "the one that was not used for longest made room"
    assert not any(key.scope == "2" for key in made.source._entries)


def test_requests_in_flight_are_never_dropped() -> None:
    made = _Keys()
    made.hold.clear()
    with ThreadPoolExecutor(40) as pool:
        waiting = [pool.submit(made.get, f"waiting-{number}") for number in range(20)]
        while len(made.asked) < 20:
            time.sleep(0.001)
        for number in range(2 * MOST_TOKENS):  # as many, which are refused at once
            key = TokenKey(f"gone-{number}", None)
            made.source._find_or_begin(key, made.clock.now) if number < 20 else made.source._add(key, made.clock.now)
        again = [pool.submit(made.get, f"waiting-{number}") for number in range(20)]
        while sum(not future.done() for future in (*waiting, *again)) < 40:
            time.sleep(0.001)
        made.hold.set()
        assert [future.result(10) for future in waiting] == [future.result(10) for future in again]
    assert sorted(str(name) for name in made.asked if str(name).startswith("waiting")) == sorted(
        f"waiting-{number}" for number in range(20)
    )


@pytest.mark.parametrize("failure", [RemoteError("down"), Refused("invalid_client", status=401)])
def test_clock_that_is_set_back_ends_every_pause(failure: RemoteError) -> None:
    """A machine that booted with a clock hours ahead would otherwise send no request for hours."""
    failure.retry_after = 3600
    script = _Script(failure, _answer("a", 600))
    for _ in range(2):
        with pytest.raises(type(failure)):
            script.get()
    assert script.asked == 1
    script.clock.now -= 5 * 3600
    assert script.get() == "a"


def test_token_from_before_the_clock_was_set_back_is_not_used() -> None:
    """Its end, by the new clock, is hours too late."""
    script = _Script(_answer("a", 600), _answer("b", 600))
    assert script.get() == "a"
    script.settle()
    script.clock.now -= 200
    assert script.get() == "a", "a small step is no reason"
    script.clock.now -= 5 * 3600
    assert script.get() == "b"
