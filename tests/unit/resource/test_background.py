"""What a request waits for: for nothing that the guard knows, however slow or broken its issuer is."""

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx2
import pytest
from tests.unit.resource.issuer import trusted
from tests.unit.resource.listening import METADATA, ListeningIssuer, listening, until

from affiant.errors import Rejected, RemoteError, Unreachable
from affiant.errors.reasons import Reason
from affiant.jose import keys
from affiant.resource import Guard
from affiant.resource.issuer import keys as resource_keys
from affiant.resource.issuer import revocations
from affiant.resource.issuer.keys import ABSENT_SECONDS, FAILING_SECONDS, FRESH_SECONDS, STALE_SECONDS
from affiant.resource.issuer.worker import worker

FEED = "/revocations"


@pytest.fixture
def issuer() -> Iterator[ListeningIssuer]:
    with listening() as found:
        yield found


def check(guard: Guard, token: bytes) -> str:
    """Check on an event loop of its own, as a server with a thread for each request does."""
    return asyncio.run(guard.check([token])).client_id


def close(issuer: ListeningIssuer, path: str) -> threading.Event:
    """Let the path wait for the event."""
    issuer.gates[path] = threading.Event()
    return issuer.gates[path]


def test_keys_are_replaced_in_the_background(issuer: ListeningIssuer) -> None:
    guard, token = issuer.guard(), issuer.token()
    check(guard, token)
    issuer.now += 0.8 * FRESH_SECONDS - 1
    check(guard, token)
    assert issuer.count("/jwks") == 1
    gate = close(issuer, "/jwks")
    issuer.rotate()
    issuer.now += 1
    for _ in range(5):
        check(guard, token)  # none waits: the gate is closed
    issuer.await_requests("/jwks", 2)
    gate.set()
    until(lambda: trusted(guard).keys.edition == 2)
    check(guard, issuer.token())
    with pytest.raises(Rejected):
        check(guard, token)
    assert issuer.count("/jwks") <= 3  # the last one for the key that is gone


def test_outage_delays_no_request_with_a_known_key(issuer: ListeningIssuer, caplog: pytest.LogCaptureFixture) -> None:
    """And it is logged once, not for each request."""
    guard, token = issuer.guard(), issuer.token()
    check(guard, token)
    issuer.statuses["/jwks"] = 500
    issuer.now += FRESH_SECONDS - 1
    check(guard, token)
    until(lambda: "cannot be fetched" in caplog.text)
    gate = close(issuer, "/jwks")
    issuer.await_requests("/jwks", 2)
    for _ in range(3):
        issuer.now += FAILING_SECONDS - 1
        asked = issuer.count("/jwks")
        for _ in range(20):
            check(guard, token)  # the gate is closed
        gate.set()
        issuer.await_requests("/jwks", asked + 1)
        until(lambda: trusted(guard).keys._flight.find() is None)
        gate = close(issuer, "/jwks")
        assert issuer.count("/jwks") == asked + 1
    assert caplog.text.count("cannot be fetched") == 1
    gate.set()
    issuer.now += STALE_SECONDS
    with pytest.raises(RemoteError, match="answered 500"):
        check(guard, token)
    issuer.statuses.clear()
    caplog.set_level(logging.INFO)
    check(guard, token)
    assert "were fetched again" in caplog.text


def test_copy_that_is_too_old_is_replaced_first(
    issuer: ListeningIssuer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a pause without requests: one wait, which is short, before the issuer counts as unreachable."""
    monkeypatch.setattr(resource_keys, "REPLACE_SECONDS", 0.05)
    guard, token = issuer.guard(), issuer.token()
    check(guard, token)
    issuer.now += 2 * FRESH_SECONDS
    gate = close(issuer, "/jwks")
    assert not trusted(guard).keys.is_ready()
    check(guard, token)
    assert trusted(guard).keys.is_ready()
    assert caplog.text.count("cannot be fetched") == 1
    gate.set()
    until(lambda: trusted(guard).keys._flight.find() is None)
    monkeypatch.setattr(resource_keys, "REPLACE_SECONDS", 10)
    issuer.rotate()
    issuer.now += 2 * FRESH_SECONDS
    with pytest.raises(Rejected) as refusal:
        check(guard, token)
    assert refusal.value.reason is Reason.TOKEN_KEY


def test_fetch_that_comes_as_its_wait_ends_has_not_failed(
    issuer: ListeningIssuer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The keys arrive after the request gave them up, and before it notes that."""
    monkeypatch.setattr(resource_keys, "REPLACE_SECONDS", 0.05)
    monkeypatch.setattr(resource_keys, "BURST", 0.0)  # no fetch for missing keys
    requester = threading.get_ident()

    def clock() -> float:
        if made and threading.get_ident() == requester and has_given_up(made[0]):
            gate.set()
            until(lambda: trusted(guard).keys._flight.find() is None)
        return issuer.now

    def has_given_up(guard: Guard) -> bool:
        keys = trusted(guard).keys
        return keys._flight.find() is not None and time.monotonic() >= keys._begun_at + resource_keys.REPLACE_SECONDS

    made = list[Guard]()
    guard, token = issuer.guard(clock=clock), issuer.token()
    check(guard, token)
    made.append(guard)
    issuer.now += 2 * FRESH_SECONDS
    gate = close(issuer, "/jwks")
    check(guard, token)
    assert gate.is_set()
    assert "cannot be fetched" not in caplog.text
    with pytest.raises(Rejected) as refusal:  # 401 and not 503
        check(guard, issuer.token(key=keys.generate("ES256")))
    assert refusal.value.reason is Reason.TOKEN_KEY


def test_fetch_that_is_slow_already_is_not_waited_for(issuer: ListeningIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It began when the copy was due, and the lifetime ended since."""
    monkeypatch.setattr(resource_keys, "REPLACE_SECONDS", 60)
    guard, token = issuer.guard(), issuer.token()
    check(guard, token)
    close(issuer, "/jwks")
    issuer.now += FRESH_SECONDS - 1
    check(guard, token)
    issuer.await_requests("/jwks", 2)
    trusted(guard).keys._begun_at -= 60
    issuer.now += 1
    check(guard, token)  # the gate is closed


def test_no_key_is_no_acceptance(issuer: ListeningIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_keys, "WAIT_SECONDS", 0.05)
    guard = issuer.guard()
    close(issuer, "/jwks")
    with pytest.raises(Unreachable, match="did not come within"):
        check(guard, issuer.token())


def test_optional_feed_that_hangs_delays_one_request(issuer: ListeningIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "OPTIONAL_WAIT_SECONDS", 0.05)
    issuer.metadata["revocations_uri"] = issuer.url + FEED
    close(issuer, FEED)
    guard = issuer.guard(revocations="optional")
    for number in range(3):
        check(guard, issuer.token(str(number)))
    monkeypatch.setattr(revocations, "OPTIONAL_WAIT_SECONDS", 60)
    trusted(guard).revocations._begun_at -= 60  # the time of the first wait is up, so no later request waits
    check(guard, issuer.token())
    assert issuer.count(FEED) == 1


def test_required_feed_that_hangs_refuses_all(issuer: ListeningIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "MOST_WAIT_SECONDS", 0.05)
    issuer.metadata["revocations_uri"] = issuer.url + FEED
    close(issuer, FEED)
    guard = issuer.guard(revocations="required")
    for _ in range(2):
        with pytest.raises(Unreachable):
            check(guard, issuer.token())


def test_threads_share_one_fetch(issuer: ListeningIssuer) -> None:
    guard, gate, start = issuer.guard(), close(issuer, "/jwks"), threading.Barrier(20)

    def ask(number: int) -> str:
        start.wait()
        return check(guard, issuer.token(str(number)))

    with ThreadPoolExecutor(20) as pool:
        answers = pool.map(ask, range(20))
        issuer.await_requests("/jwks", 1)
        gate.set()
        assert set(answers) == {"c"}
    assert issuer.count("/jwks") == 1
    assert issuer.count(METADATA) == 1


def test_plain_threads_need_no_event_loop(issuer: ListeningIssuer) -> None:
    guard = issuer.guard()
    assert worker.submit(guard.check([issuer.token()])).result(10).client_id == "c"


def test_keys_that_moved_are_found(issuer: ListeningIssuer) -> None:
    guard, old = issuer.guard(), issuer.token()
    check(guard, old)
    issuer.statuses["/jwks"] = 404
    issuer.metadata["jwks_uri"] = issuer.url + "/jwks-2"
    issuer.rotate()
    issuer.now += 2 * FRESH_SECONDS
    check(guard, issuer.token())
    with pytest.raises(Rejected):
        check(guard, old)
    assert issuer.count(METADATA) == 2


def test_metadata_are_read_again_every_day(issuer: ListeningIssuer) -> None:
    """The old address still answers, and what has no feed yet may have one then."""
    guard = issuer.guard(revocations="optional")
    check(guard, issuer.token())
    assert trusted(guard).revocations.is_ready()
    issuer.metadata |= {"jwks_uri": issuer.url + "/jwks-2", "revocations_uri": issuer.url + FEED}
    issuer.now += 86_400
    check(guard, issuer.token())
    assert (issuer.count("/jwks"), issuer.count("/jwks-2")) == (1, 1)
    issuer.await_requests(FEED, 1)


def test_unreadable_metadata_change_nothing(issuer: ListeningIssuer) -> None:
    guard = issuer.guard()
    check(guard, issuer.token())
    issuer.metadata["issuer"] = "https://evil.example"
    issuer.metadata["jwks_uri"] = issuer.url + "/jwks-2"
    issuer.now += 86_400
    check(guard, issuer.token())
    assert (issuer.count("/jwks"), issuer.count("/jwks-2")) == (2, 0)


def test_unchanged_keys_are_not_sent_again(issuer: ListeningIssuer) -> None:
    issuer.etag = '"1"'
    guard = issuer.guard()
    check(guard, issuer.token())
    for _ in range(2):
        issuer.now += FRESH_SECONDS
        check(guard, issuer.token())
    assert [known for path, known in issuer.requests if path == "/jwks"] == [None, '"1"', '"1"']
    assert trusted(guard).keys.edition == 1
    issuer.rotate()
    issuer.etag = '"2"'
    issuer.now += FRESH_SECONDS
    check(guard, issuer.token())
    assert trusted(guard).keys.edition == 2


def test_kid_that_the_issuer_does_not_have_is_not_looked_for_again(issuer: ListeningIssuer) -> None:
    guard = issuer.guard()
    check(guard, issuer.token())
    new = keys.generate("ES256")
    for _ in range(50):
        with pytest.raises(Rejected) as refusal:
            check(guard, issuer.token(key=new))
        assert refusal.value.reason is Reason.TOKEN_KEY
    assert issuer.count("/jwks") == 2
    issuer.keys.append(new)
    issuer.now += ABSENT_SECONDS
    check(guard, issuer.token(key=new))
    assert issuer.count("/jwks") == 3


def test_keys_stay_fresh_without_requests(issuer: ListeningIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """For some lifetimes, so that the next request after a pause waits for nothing; then the fetches end."""
    monkeypatch.setattr(resource_keys, "LEAST_SECONDS", 0.02)
    issuer.control = "no-store"
    guard = issuer.guard()
    check(guard, issuer.token())
    for number in range(2, 5):
        issuer.now += 0.02
        issuer.await_requests("/jwks", number)
    issuer.now += 10
    until(lambda: trusted(guard).keys._timer is None)


def test_guard_that_is_gone_fetches_nothing(issuer: ListeningIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_keys, "LEAST_SECONDS", 0.02)
    issuer.control = "no-store"
    guard = issuer.guard()
    check(guard, issuer.token())
    timer = trusted(guard).keys._timer
    del guard
    assert timer is not None
    method = timer._args[0]
    until(lambda: method() is None)


FORKED = """
import asyncio, os, sys, warnings
from affiant.resource import Guard

warnings.simplefilter("ignore")  # since Python 3.12 about each fork of a process with threads
url, first, second, now = sys.argv[1:]
guard = Guard(url, audience="https://api.example", clock=lambda: float(now))
asyncio.run(guard.check([first.encode()]))
print("warm", flush=True)
sys.stdin.readline()
if not (child := os.fork()):
    asyncio.run(guard.check([first.encode()]))
    os._exit(0 if asyncio.run(guard.check([second.encode()])).client_id == "c" else 1)
assert os.waitpid(child, 0)[1] == 0
"""


def test_forked_process_fetches_for_itself(issuer: ListeningIssuer) -> None:
    """As in a server that loads the API, and checks a token with it, before it makes its processes."""
    first, new = issuer.token(), keys.generate("ES256")
    tokens = [first.decode(), issuer.token(key=new).decode()]
    command = [sys.executable, "-c", FORKED, issuer.url, *tokens, str(issuer.now)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "warm\n"
        issuer.keys.append(new)
        process.communicate("\n", timeout=60)
    assert process.returncode == 0
    assert issuer.count("/jwks") == 2


class Bound(httpx2.AsyncHTTPTransport):
    """As connections are: of no use in another event loop than the first."""

    loop: asyncio.AbstractEventLoop | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.loop = self.loop or asyncio.get_running_loop()
        if self.loop.is_closed():
            raise RuntimeError("Event loop is closed")
        async with httpx2.AsyncHTTPTransport() as transport:
            response = await transport.handle_async_request(request)
            return httpx2.Response(response.status_code, headers=response.headers, content=await response.aread())


def test_http_client_of_an_event_loop_that_ended_is_named(issuer: ListeningIssuer) -> None:
    """Known keys are used on; what must be fetched says why it cannot be."""
    guard = issuer.guard(http=httpx2.AsyncClient(transport=Bound()))
    check(guard, issuer.token())
    check(guard, issuer.token("2"))
    with pytest.raises(Unreachable, match="http= has connections of another event loop"):
        check(guard, issuer.token(key=keys.generate("ES256")))


def test_http_client_stays_with_its_event_loop(issuer: ListeningIssuer) -> None:
    """The loop runs in one thread, and others ask from loops of their own."""

    async def run() -> None:
        async with httpx2.AsyncClient() as http:
            guard = issuer.guard(http=http)
            await guard.check([issuer.token()])
            issuer.rotate()
            assert await asyncio.to_thread(partial(check, guard, issuer.token())) == "c"
            await asyncio.wrap_future(worker.submit(guard.check([issuer.token()])))

    asyncio.run(run())
    assert issuer.count("/jwks") == 2
