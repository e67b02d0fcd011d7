"""The events of a Service: what happened, by whom, and never a secret."""

import logging
import threading
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import httpx2
import pytest
from tests.unit.client.conftest import Answer, Foreign, token_answer
from tests.unit.client.http.faces import FACES, Face

from affiant import Service
from affiant.client import Event
from affiant.client.cache import breaker
from affiant.errors import LocalError, Refused, RemoteError
from affiant.jose.keys import PrivateKey
from affiant.telemetry import Telemetry

CANARY = "canary-token-51ab"
Make = Callable[..., Service]


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seen() -> list[Event]:
    return []


@pytest.fixture
def make(foreign: Foreign, key: PrivateKey, http: httpx2.Client, seen: list[Event]) -> Make:
    def service(on_event: Any = seen.append, **options: Any) -> Service:
        return Service(foreign.url, "billing", key=key, http=http, on_event=on_event, **options)

    return service


def _names(seen: list[Event]) -> list[str]:
    return [event.name for event in seen]


def test_token_events(foreign: Foreign, make: Make, seen: list[Event]) -> None:
    service = make()
    for _ in range(3):
        service.token("https://orders.example", "orders.read")
    requested, renewed = seen
    assert (requested.name, renewed.name) == ("token.requested", "token.renewed")
    for event in seen:
        assert (event.issuer, event.client_id) == (foreign.url, "billing")
        assert (event.resource, event.scope, event.error) == ("https://orders.example", "orders.read", None)
    assert requested.seconds is None
    assert renewed.seconds is not None
    assert 0 < renewed.seconds < 10
    with pytest.raises(FrozenInstanceError):
        renewed.error = "changed"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("answer", "error"),
    [(Answer(401, {"error": "invalid_client"}), "invalid_client"), (Answer(418, raw=b"tea"), "RemoteError")],
)
def test_failure_names_the_error(foreign: Foreign, make: Make, seen: list[Event], answer: Answer, error: str) -> None:
    foreign.default["/token"] = answer
    with pytest.raises(RemoteError):
        make().token()
    assert _names(seen) == ["token.requested", "token.failed"]
    assert seen[1].error == error
    assert seen[1].seconds is not None


@pytest.mark.parametrize("face", list(FACES.values()), ids=list(FACES))
def test_retried_call_is_reported(api: Foreign, make: Make, seen: list[Event], face: Face) -> None:
    api.default["/orders"] = Answer(200, {})
    api.script["/orders"] = [Answer(401, {})]
    assert face.post(f"{api.url}/orders", make().auth(api.url, "a")) == 200
    assert _names(seen) == [*["token.requested", "token.renewed"] * 2, "api.retried"]
    assert (seen[-1].resource, seen[-1].scope, seen[-1].error) == (api.url, "a", "invalid_token")


def test_call_that_is_not_repeated_is_not_reported(api: Foreign, make: Make, seen: list[Event]) -> None:
    api.default["/orders"] = Answer(401, {})
    assert FACES["httpx2"].post(f"{api.url}/orders", make().auth(api.url), content=iter([b"order"])) == 401
    assert "api.retried" not in _names(seen)


def test_breaker_events(foreign: Foreign, make: Make, seen: list[Event]) -> None:
    clock, telemetry = Clock(), Telemetry()
    service = make(clock=clock, telemetry=telemetry)
    foreign.default["/token"] = Answer(500, {})
    for _ in range(breaker.FAILURES + 1):
        with pytest.raises(RemoteError):
            service.token()
    assert _names(seen)[2 * breaker.FAILURES - 2 :] == ["token.requested", "token.failed", "breaker.opened"]
    assert seen[-1].seconds == pytest.approx(breaker.FIRST_PAUSE, rel=0.3)
    opened = telemetry.samples()["affiant_client_breakers_open"][()]  # with those of other tests in this process
    assert isinstance(opened, float | int)
    del seen[:], foreign.default["/token"]
    clock.now += 10
    assert service.token().value
    assert _names(seen) == ["breaker.half_open", "token.requested", "token.renewed", "breaker.closed"]
    assert telemetry.samples()["affiant_client_breakers_open"] == {(): opened - 1}


def test_pause_that_the_server_asks_for_is_reported(foreign: Foreign, make: Make, seen: list[Event]) -> None:
    foreign.default["/token"] = Answer(503, {}, {"Retry-After": "3600"})
    with pytest.raises(RemoteError):
        make().token()
    assert _names(seen) == ["token.requested", "token.failed", "breaker.opened"]
    assert seen[-1].seconds == 3600


def test_clock_offset_is_reported_once(foreign: Foreign, make: Make, seen: list[Event]) -> None:
    clock = Clock()
    late = Answer(401, {"error": "invalid_client"}, {"Date": "Fri, 15 Jan 2027 08:10:00 GMT"})
    foreign.script["/token"] = [late]
    service = make(clock=clock)
    service.token(scope="a")
    service.token(scope="b")
    assert _names(seen) == ["token.requested", "clock.offset", "token.renewed", "token.requested", "token.renewed"]
    assert seen[1].seconds == 600


@pytest.mark.attack(278)
def test_events_have_no_secret(api: Foreign, foreign: Foreign, make: Make, seen: list[Event]) -> None:
    foreign.script["/token"] = [
        token_answer(CANARY),
        Answer(401, {"error": "invalid_client", "error_description": CANARY}),
    ]
    api.default["/orders"] = Answer(401, {})
    auth = make().auth(api.url)
    with pytest.raises(Refused):
        FACES["httpx2"].post(f"{api.url}/orders", auth)
    text = repr(seen)
    assert CANARY not in text
    assert not any(request.form["client_assertion"] in text for request in foreign.sent("/token"))


def test_failing_hook_breaks_no_call(
    api: Foreign, foreign: Foreign, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: Event) -> None:
        raise RuntimeError(f"no place for {event.name}")

    api.default["/orders"] = Answer(200, {})
    api.script["/orders"] = [Answer(401, {})]
    assert FACES["requests"].post(f"{api.url}/orders", make(fail).auth(api.url)) == 200
    (record,) = [record for record in caplog.records if record.name == "affiant.client.events"]
    assert (record.levelno, "token.requested" in record.getMessage()) == (logging.ERROR, True)


def test_hook_holds_no_lock(foreign: Foreign, make: Make) -> None:
    """It may ask the same service for another token, in each of its events."""
    found: dict[str, str] = {}

    def ask(event: Event) -> None:
        if event.scope != "metrics":
            found[event.name] = service.token(scope="metrics").value

    clock = Clock()
    service = make(ask, clock=clock)
    service.token()
    foreign.script["/token"] = [Answer(500, {})] * breaker.FAILURES
    for number in range(breaker.FAILURES):
        with pytest.raises(RemoteError):
            service.token(scope=f"a{number}")
    clock.now += 10
    assert service.token(scope="b").value
    names = {
        "token.requested",
        "token.renewed",
        "token.failed",
        "breaker.opened",
        "breaker.half_open",
        "breaker.closed",
    }
    assert set(found) == names


@pytest.mark.parametrize("hook", ["no function", 1])
def test_wrong_hook_is_said(make: Make, hook: object) -> None:
    with pytest.raises(LocalError, match="plain function"):
        make(hook)


def test_async_hook_is_refused(make: Make) -> None:
    async def hook(event: Event) -> None: ...

    with pytest.raises(LocalError, match="plain function"):
        make(hook)


def test_hook_runs_where_the_request_runs(api: Foreign, make: Make) -> None:
    """api.retried is the caller's, whose span may be open; the token's events are of the thread that requests it."""
    threads: dict[str, set[int]] = {}
    service = make(lambda event: threads.setdefault(event.name, set()).add(threading.get_ident()))
    api.default["/orders"] = Answer(200, {})
    api.script["/orders"] = [Answer(401, {})]
    assert FACES["httpx2"].post(f"{api.url}/orders", service.auth(api.url)) == 200
    assert threads["api.retried"] == {threading.get_ident()}
