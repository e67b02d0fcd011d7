"""The contract of `auth`, the same for every HTTP library: where the token goes, and when it is renewed."""

import asyncio
import logging
import pickle
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import niquests
import pytest
import requests
import urllib3
from tests.unit.client.conftest import Answer, Foreign, token_answer
from tests.unit.client.http.faces import AWAITED, FACES, Face

from affiant import Service
from affiant.client import NoTls, WrongOrigin
from affiant.errors import LocalError
from affiant.jose.keys import PrivateKey

INVALID = Answer(401, {}, {"WWW-Authenticate": 'Bearer realm="orders", error="invalid_token"'})
CANARY = "canary-token-3f6c"


@pytest.fixture(params=list(FACES))
def face(request: pytest.FixtureRequest) -> Face:
    """One way to send a request."""
    return FACES[request.param]


@pytest.fixture(params=AWAITED)
def awaited(request: pytest.FixtureRequest) -> Face:
    """One way of asyncio."""
    return FACES[request.param]


@pytest.fixture
def service(foreign: Foreign, api: Foreign, key: PrivateKey, http: httpx2.Client) -> Service:
    api.default["/orders"] = Answer(200, {})
    return Service(foreign.url, "billing", key=key, http=http)


def _tokens(api: Foreign, path: str = "/orders") -> list[str | None]:
    return [request.headers.get("authorization") for request in api.sent(path)]


def test_token_is_sent_and_cached(api: Foreign, foreign: Foreign, service: Service, face: Face) -> None:
    auth = service.auth(api.url)
    assert [face.post(f"{api.url}/orders", auth) for _ in range(2)] == [200, 200]
    assert _tokens(api) == ["Bearer token-1"] * 2
    assert len(foreign.sent("/token")) == 1


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
def test_other_headers_are_kept(api: Foreign, service: Service, face: Face, name: str) -> None:
    """In the second sending, too; another Authorization is replaced, and not sent next to the token."""
    api.script["/orders"] = [INVALID]
    headers = {name: "Basic eDp5", "X-Request-Id": "r-1"}
    assert face.post(f"{api.url}/orders", service.auth(api.url), headers=headers) == 200
    assert [request.every("authorization") for request in api.requests] == [["Bearer token-1"], ["Bearer token-2"]]
    assert [request.every("x-request-id") for request in api.requests] == [["r-1"], ["r-1"]]


@pytest.mark.rfc(6750, "3.1")
@pytest.mark.parametrize("refusal", [INVALID, Answer(401, {}), Answer(401, {}, {"WWW-Authenticate": "Bearer"})])
def test_refused_token_is_renewed_once(api: Foreign, service: Service, face: Face, refusal: Answer) -> None:
    api.script["/orders"] = [refusal]
    assert face.post(f"{api.url}/orders", service.auth(api.url), content=b"order") == 200
    assert _tokens(api) == ["Bearer token-1", "Bearer token-2"]
    assert [request.body for request in api.sent("/orders")] == [b"order", b"order"]


@pytest.mark.attack(275)
def test_second_refusal_is_the_callers(api: Foreign, service: Service, face: Face) -> None:
    api.default["/orders"] = INVALID
    assert face.post(f"{api.url}/orders", service.auth(api.url)) == 401
    assert len(_tokens(api)) == 2


@pytest.mark.attack(275)
def test_api_that_refuses_every_token_costs_few_tokens(
    api: Foreign, foreign: Foreign, service: Service, face: Face
) -> None:
    api.default["/orders"] = INVALID
    auth = service.auth(api.url)
    assert {face.post(f"{api.url}/orders", auth) for _ in range(6)} == {401}
    assert len(foreign.sent("/token")) == 2
    assert len(_tokens(api)) == 7


@pytest.mark.parametrize(("status", "error"), [(403, "insufficient_scope"), (401, "invalid_request")])
def test_other_refusals_are_the_callers(
    api: Foreign, foreign: Foreign, service: Service, face: Face, status: int, error: str
) -> None:
    api.default["/orders"] = Answer(status, {}, {"WWW-Authenticate": f'Bearer error="{error}", scope="a b"'})
    assert face.post(f"{api.url}/orders", service.auth(api.url)) == status
    assert len(_tokens(api)) == 1
    assert len(foreign.sent("/token")) == 1


def test_stream_is_not_sent_twice(api: Foreign, service: Service, face: Face) -> None:
    def body() -> Iterator[bytes]:
        yield b"order"

    api.default["/orders"] = INVALID
    assert face.post(f"{api.url}/orders", service.auth(api.url), content=body()) == 401
    assert [request.body for request in api.sent("/orders")] == [b"order"]


def test_token_goes_to_no_other_origin(api: Foreign, foreign: Foreign, service: Service, face: Face) -> None:
    with pytest.raises(WrongOrigin, match="nothing was sent"):
        face.post(f"{api.url}/orders", service.auth("https://orders.example"))
    assert not api.requests
    assert not foreign.requests
    assert issubclass(WrongOrigin, LocalError)


@pytest.mark.rfc(6750, "5.3")
def test_no_token_leaves_the_machine_without_tls(service: Service, foreign: Foreign, face: Face) -> None:
    with pytest.raises(NoTls, match="without TLS: nothing was sent"):
        face.post("http://orders.internal/orders", service.auth("http://orders.internal"))
    assert not foreign.sent("/token")


@pytest.mark.parametrize("resource", ["urn:orders", None])
def test_without_an_origin_no_library_sends_in_the_clear(service: Service, face: Face, resource: str | None) -> None:
    with pytest.raises(LocalError, match="name the origin" if face.is_asked_each_hop else "without TLS"):
        face.post("http://orders.internal/orders", service.auth(resource))


@pytest.mark.parametrize("is_named", [True, False], ids=["named origin", "any origin"])
@pytest.mark.parametrize("status", [302, 307])
def test_refusal_of_another_origin_is_no_verdict(
    api: Foreign, foreign: Foreign, service: Service, face: Face, status: int, *, is_named: bool
) -> None:
    """The hop got no token. So the token stays good, and no request is sent again."""
    foreign.default["/trap"] = INVALID
    trap = foreign.url.replace("127.0.0.1", "localhost")
    api.default["/orders"] = Answer(status, {}, {"Location": f"{trap}/trap"})
    auth = service.auth(api.url if is_named or face.is_asked_each_hop else None)
    for _ in range(2):
        if _follows(face, status) and face.is_asked_each_hop:
            with pytest.raises(WrongOrigin):
                face.post(f"{api.url}/orders", auth, content=b"order", follow_redirects=True)
        else:
            answer = 401 if _follows(face, status) else status
            assert face.post(f"{api.url}/orders", auth, content=b"order", follow_redirects=True) == answer
    assert _tokens(foreign, "/trap") == ([] if face.is_asked_each_hop else [None] * 2)
    assert _tokens(api) == ["Bearer token-1"] * 2
    assert len(foreign.sent("/token")) == 1


@pytest.mark.parametrize(("status", "method"), [(303, "GET"), (307, "POST")])
def test_only_the_refused_hop_is_sent_again(
    api: Foreign, service: Service, face: Face, status: int, method: str
) -> None:
    api.script["/done"] = [INVALID]
    api.default["/done"] = Answer(200, {})
    api.default["/orders"] = Answer(status, {}, {"Location": "/done"})
    answer = face.post(f"{api.url}/orders", service.auth(api.url), content=b"order", follow_redirects=True)
    assert _tokens(api) == ["Bearer token-1"]
    if not _follows(face, status):
        assert answer == status
        return
    assert answer == 200
    assert _tokens(api, "/done") == ["Bearer token-1", "Bearer token-2"]
    assert [request.method for request in api.sent("/done")] == [method, method]


def test_redirect_after_a_renewal_has_the_new_token(api: Foreign, service: Service, face: Face) -> None:
    api.script["/orders"] = [INVALID]
    api.default["/orders"] = Answer(303, {}, {"Location": "/done"})
    api.default["/done"] = Answer(200, {})
    assert face.post(f"{api.url}/orders", service.auth(api.url), content=b"order", follow_redirects=True) == 200
    assert _tokens(api, "/done") == ["Bearer token-2"]


def _follows(face: Face, status: int) -> bool:
    """Whether the library follows it with a POST: urllib does not repeat one with its body."""
    return face.name != "urllib" or status != 307


def test_twenty_callers_make_one_token_request(api: Foreign, foreign: Foreign, service: Service, face: Face) -> None:
    foreign.delay = 0.1
    assert _together(face, f"{api.url}/orders", service.auth(api.url)) == [200] * 20
    assert len(foreign.sent("/token")) == 1


def test_twenty_refused_callers_make_one_token_request(
    api: Foreign, foreign: Foreign, service: Service, face: Face
) -> None:
    foreign.delay = 0.1
    api.refused = {"Bearer token-1"}
    service.token(api.url)
    assert _together(face, f"{api.url}/orders", service.auth(api.url)) == [200] * 20
    assert len(foreign.sent("/token")) == 2


def _together(face: Face, url: str, auth: Any) -> list[int]:
    send = face.send
    if send is None:
        with ThreadPoolExecutor(20) as pool:
            return list(pool.map(lambda _: face.post(url, auth), range(20)))

    async def run() -> list[int]:
        return await asyncio.gather(*(send(url, auth) for _ in range(20)))

    return asyncio.run(run())


def test_cancelled_caller_cancels_no_other(api: Foreign, foreign: Foreign, service: Service, awaited: Face) -> None:
    foreign.delay = 0.1
    auth, url, send = service.auth(api.url), f"{api.url}/orders", awaited.send
    assert send is not None

    async def run() -> tuple[bool, list[int]]:
        first, *others = [asyncio.ensure_future(send(url, auth)) for _ in range(4)]
        await asyncio.to_thread(_until_asked, foreign)
        first.cancel()
        answers = await asyncio.gather(*others)
        return first.cancelled() or isinstance(first.exception(), asyncio.CancelledError), answers

    assert asyncio.run(run()) == (True, [200] * 3)
    assert len(foreign.sent("/token")) == 1


def _until_asked(foreign: Foreign) -> None:
    while not foreign.sent("/token"):
        time.sleep(0.005)


@pytest.mark.parametrize("is_refused", [False, True], ids=["cold", "refused"])
def test_event_loop_is_not_blocked(
    api: Foreign, foreign: Foreign, service: Service, awaited: Face, *, is_refused: bool
) -> None:
    """Neither by the first token request, nor by a renewal: another task goes on during both."""
    foreign.delay = 0.3
    api.script["/orders"] = [INVALID] if is_refused else []
    auth, send = service.auth(api.url), awaited.send
    assert send is not None

    async def run() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += bool(foreign.sent("/token"))

        ticking = asyncio.ensure_future(tick())
        assert await send(f"{api.url}/orders", auth) == 200
        ticking.cancel()
        return ticks

    assert asyncio.run(run()) >= 5 * (1 + is_refused)  # one or two if the loop waits


@pytest.mark.attack(278)
def test_debug_logs_have_no_token(
    api: Foreign, foreign: Foreign, service: Service, key: PrivateKey, face: Face, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    foreign.script["/token"] = [token_answer(CANARY)]
    api.script["/orders"] = [INVALID]
    assert face.post(f"{api.url}/orders", service.auth(api.url)) == 200
    assert _tokens(api)[0] == f"Bearer {CANARY}"
    assert CANARY not in caplog.text
    assert foreign.sent("/token")[0].form["client_assertion"] not in caplog.text
    assert key.to_jwk()["d"] not in caplog.text


@pytest.mark.attack(277)
def test_nothing_with_a_token_is_pickled(api: Foreign, service: Service) -> None:
    auth = service.auth(api.url)
    with urllib3.PoolManager() as manager:
        for held in (auth, auth.niquests_async(), auth.urllib3(manager), auth.urllib(), auth.sync_auth_flow):
            with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
                pickle.dumps(held)


@pytest.mark.parametrize("resource", ["https://orders.example", "urn:orders", None])
def test_origin_says_where_the_api_listens(api: Foreign, service: Service, face: Face, resource: str | None) -> None:
    auth = service.auth(resource, origin=f"{api.url}/any/path")
    assert face.post(f"{api.url}/orders", auth) == 200
    with pytest.raises(WrongOrigin):
        face.post(f"{api.other_name}/orders", auth)


@pytest.mark.parametrize("origin", ["127.0.0.1:9000", "orders", "ftp://orders.example", "https://", "http://a:b", ""])
def test_wrong_origin_is_an_error(service: Service, origin: str) -> None:
    with pytest.raises(LocalError, match="http"):
        service.auth("urn:orders", origin=origin)


def test_unsafe_http_is_said(api: Foreign, service: Service) -> None:
    """Where a service mesh encrypts the connection; here its proxy is the API itself."""
    auth = service.auth("http://orders.internal", unsafe_http=True)
    with httpx2.Client(proxy=api.url) as http:
        http.get("http://orders.internal/orders", auth=auth)
    with urllib3.ProxyManager(api.url) as proxy:
        auth.urllib3(proxy).request("GET", "http://orders.internal/orders")
    assert [request.headers["authorization"] for request in api.requests] == ["Bearer token-1"] * 2


def test_scopes_one_by_one_and_in_one(api: Foreign, foreign: Foreign, service: Service) -> None:
    for scopes in (("a", "b"), ("a b",)):
        assert FACES["httpx2"].post(f"{api.url}/orders", service.auth(api.url, *scopes)) == 200
    assert [request.form["scope"] for request in foreign.sent("/token")] == ["a b"]
    with pytest.raises(LocalError, match="one by one"):
        service.auth(api.url, ["a", "b"])  # type: ignore[arg-type]


@pytest.mark.parametrize("library", [requests, niquests])
def test_hooks_of_the_caller_are_kept(api: Foreign, service: Service, library: Any) -> None:
    seen: list[int] = []
    api.script["/orders"] = [INVALID]
    with library.Session() as session:
        session.hooks["response"].append(lambda response, **_: seen.append(response.status_code))
        response = session.get(f"{api.url}/orders", auth=service.auth(api.url))
    assert (response.status_code, seen) == (200, [200])
    assert [earlier.status_code for earlier in response.history] == [401]


async def test_wrong_auth_for_an_async_session_is_said(api: Foreign, service: Service) -> None:
    async with niquests.AsyncSession() as session:
        with pytest.raises(LocalError, match="niquests_async"):
            await session.post(f"{api.url}/orders", auth=service.auth(api.url))


def test_urllib3_manager_itself_stays_as_it_is(api: Foreign, service: Service) -> None:
    with urllib3.PoolManager() as manager:
        assert service.auth(api.url).urllib3(manager).request("GET", f"{api.url}/orders").status == 200
        assert manager.request("GET", f"{api.url}/orders").status == 200
    assert _tokens(api) == ["Bearer token-1", None]
    with pytest.raises(LocalError, match="PoolManager"):
        service.auth(api.url).urllib3(urllib3)
