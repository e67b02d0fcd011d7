"""One `auth=` for three HTTP libraries: where the token goes, and when it is renewed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
import requests
from tests.unit.client.conftest import Answer, Foreign

from affiant import Service
from affiant.client import NoTls, WrongOrigin
from affiant.errors import LocalError
from affiant.jose.keys import PrivateKey

INVALID = Answer(401, {}, {"WWW-Authenticate": 'Bearer realm="orders", error="invalid_token"'})


def _httpx2(url: str, auth: Any, **options: Any) -> int:
    return httpx2.post(url, auth=auth, verify=False, **options).status_code


def _httpx(url: str, auth: Any, **options: Any) -> int:
    return httpx.post(url, auth=auth, verify=False, **options).status_code


def _requests(url: str, auth: Any, *, content: Any = None) -> int:
    with requests.Session() as session:
        return session.post(url, auth=auth, data=content).status_code


def _async(library: Any) -> Callable[..., int]:
    def post(url: str, auth: Any, **options: Any) -> int:
        async def send() -> int:
            async with library.AsyncClient(verify=False) as http:
                status: int = (await http.post(url, auth=auth, **options)).status_code
                return status

        return asyncio.run(send())

    return post


async def _streamed(content: Iterator[bytes]) -> AsyncIterator[bytes]:
    for part in content:
        yield part


def _aiohttp(url: str, auth: Any, *, content: Any = None, **_: object) -> int:
    async def send() -> int:
        data = _streamed(content) if isinstance(content, Iterator) else content
        async with aiohttp.ClientSession(middlewares=[auth]) as http, http.post(url, data=data) as response:
            return response.status

    return asyncio.run(send())


POSTS = {
    "httpx2": _httpx2,
    "httpx": _httpx,
    "requests": _requests,
    "httpx2-async": _async(httpx2),
    "httpx-async": _async(httpx),
    "aiohttp": _aiohttp,
}


@pytest.fixture(params=list(POSTS))
def post(request: pytest.FixtureRequest) -> Callable[..., int]:
    """One way to send a request."""
    return POSTS[request.param]


@pytest.fixture(params=[name for name in POSTS if name != "aiohttp"])
def flow_post(request: pytest.FixtureRequest) -> Callable[..., int]:
    """One of the ways in which a library itself drops the token in a redirect to another origin."""
    return POSTS[request.param]


@pytest.fixture
def service(foreign: Foreign, api: Foreign, key: PrivateKey, http: httpx2.Client) -> Service:
    api.default["/orders"] = Answer(200, {})
    return Service(foreign.url, "billing", key=key, http=http)


def _tokens(api: Foreign, path: str = "/orders") -> list[str | None]:
    return [request.headers.get("authorization") for request in api.sent(path)]


def test_token_is_sent(api: Foreign, service: Service, post: Callable[..., int]) -> None:
    assert post(f"{api.url}/orders", service.auth(api.url)) == 200
    assert _tokens(api) == ["Bearer token-1"]


@pytest.mark.rfc(6750, "3.1")
@pytest.mark.parametrize("refusal", [INVALID, Answer(401, {}), Answer(401, {}, {"WWW-Authenticate": "Bearer"})])
def test_refused_token_is_renewed_once(
    api: Foreign, service: Service, post: Callable[..., int], refusal: Answer
) -> None:
    api.script["/orders"] = [refusal]
    assert post(f"{api.url}/orders", service.auth(api.url), content=b"order") == 200
    assert _tokens(api) == ["Bearer token-1", "Bearer token-2"]
    assert [request.headers["content-length"] for request in api.sent("/orders")] == ["5", "5"]


@pytest.mark.attack(275)
def test_second_refusal_is_the_callers(api: Foreign, service: Service, post: Callable[..., int]) -> None:
    api.default["/orders"] = INVALID
    assert post(f"{api.url}/orders", service.auth(api.url)) == 401
    assert len(_tokens(api)) == 2


def test_api_that_refuses_every_token_costs_few_tokens(
    api: Foreign, foreign: Foreign, service: Service, post: Callable[..., int]
) -> None:
    api.default["/orders"] = INVALID
    auth = service.auth(api.url)
    assert {post(f"{api.url}/orders", auth) for _ in range(6)} == {401}
    assert len(foreign.sent("/token")) == 2
    assert len(_tokens(api)) == 7


@pytest.mark.parametrize(("status", "error"), [(403, "insufficient_scope"), (401, "invalid_request")])
def test_other_refusals_are_the_callers(
    api: Foreign, service: Service, post: Callable[..., int], status: int, error: str
) -> None:
    api.default["/orders"] = Answer(status, {}, {"WWW-Authenticate": f'Bearer error="{error}"'})
    assert post(f"{api.url}/orders", service.auth(api.url)) == status
    assert len(_tokens(api)) == 1


@pytest.mark.parametrize("name", ["httpx2", "httpx", "requests", "aiohttp"])
def test_stream_is_not_sent_twice(api: Foreign, service: Service, name: str) -> None:
    def body() -> Iterator[bytes]:
        yield b""

    api.default["/orders"] = INVALID
    assert POSTS[name](f"{api.url}/orders", service.auth(api.url), content=body()) == 401
    assert len(_tokens(api)) == 1


def test_token_goes_to_no_other_origin(api: Foreign, service: Service, post: Callable[..., int]) -> None:
    with pytest.raises(WrongOrigin, match="nothing was sent"):
        post(f"{api.url}/orders", service.auth("https://orders.example"))
    assert not api.requests
    assert issubclass(WrongOrigin, LocalError)


@pytest.mark.parametrize("resource", ["https://orders.example", "urn:orders", None])
def test_origin_says_where_the_api_listens(api: Foreign, service: Service, resource: str | None) -> None:
    auth = service.auth(resource, origin=f"{api.url}/any/path")
    assert _httpx2(f"{api.url}/orders", auth) == 200
    with pytest.raises(WrongOrigin):
        _httpx2(f"{api.other_name}/orders", auth)


@pytest.mark.parametrize("origin", ["127.0.0.1:9000", "orders", "ftp://orders.example", "https://", "http://a:b", ""])
def test_wrong_origin_is_an_error(service: Service, origin: str) -> None:
    with pytest.raises(LocalError, match="http"):
        service.auth("urn:orders", origin=origin)


@pytest.mark.rfc(6750, "5.3")
@pytest.mark.parametrize("resource", ["http://orders.internal", "urn:orders", None])
def test_no_token_leaves_the_machine_without_tls(
    service: Service, foreign: Foreign, flow_post: Callable[..., int], resource: str | None
) -> None:
    with pytest.raises(NoTls, match="without TLS: nothing was sent"):
        flow_post("http://orders.internal/orders", service.auth(resource))
    assert not foreign.sent("/token")


def test_unsafe_http_is_said(api: Foreign, service: Service) -> None:
    """Where a service mesh encrypts the connection; here its proxy is the API itself."""
    auth = service.auth("http://orders.internal", unsafe_http=True)
    with httpx2.Client(proxy=api.url) as http:
        http.get("http://orders.internal/orders", auth=auth)
    assert api.requests[0].headers["authorization"] == "Bearer token-1"


def test_scopes_one_by_one_and_in_one(api: Foreign, foreign: Foreign, service: Service) -> None:
    for scopes in (("a", "b"), ("a b",)):
        assert _httpx2(f"{api.url}/orders", service.auth(api.url, *scopes)) == 200
    assert [request.form["scope"] for request in foreign.sent("/token")] == ["a b"]
    with pytest.raises(LocalError, match="one by one"):
        service.auth(api.url, ["a", "b"])  # type: ignore[arg-type]


@pytest.mark.parametrize("is_named", [True, False], ids=["named origin", "any origin"])
@pytest.mark.parametrize("status", [302, 307])
def test_refusal_of_another_origin_is_no_verdict(
    api: Foreign, foreign: Foreign, service: Service, flow_post: Callable[..., int], status: int, *, is_named: bool
) -> None:
    """The hop got no token. So the token stays good, and no request is sent again."""
    foreign.default["/trap"] = INVALID
    trap = foreign.url.replace("127.0.0.1", "localhost")
    api.default["/orders"] = Answer(status, {}, {"Location": f"{trap}/trap"})
    auth = service.auth(api.url if is_named else None)
    assert flow_post(f"{api.url}/orders", auth, content=b"order", **_following(flow_post)) == 401
    assert _tokens(foreign, "/trap") == [None]
    assert _tokens(api) == ["Bearer token-1"]
    assert flow_post(f"{api.url}/orders", auth, content=b"order", **_following(flow_post)) == 401
    assert len(foreign.sent("/token")) == 1


@pytest.mark.parametrize(("status", "method"), [(303, "GET"), (307, "POST")])
def test_only_the_refused_hop_is_sent_again(
    api: Foreign, service: Service, post: Callable[..., int], status: int, method: str
) -> None:
    api.script["/done"] = [INVALID]
    api.default["/done"] = Answer(200, {})
    api.default["/orders"] = Answer(status, {}, {"Location": "/done"})
    assert post(f"{api.url}/orders", service.auth(api.url), content=b"order", **_following(post)) == 200
    assert _tokens(api) == ["Bearer token-1"]
    assert _tokens(api, "/done") == ["Bearer token-1", "Bearer token-2"]
    assert [request.method for request in api.sent("/done")] == [method, method]


def test_aiohttp_takes_no_token_along(api: Foreign, foreign: Foreign, service: Service) -> None:
    """It asks its middleware about each hop. So the token needs an origin, and another one gets no request at all."""
    api.default["/orders"] = Answer(307, {}, {"Location": foreign.url.replace("127.0.0.1", "localhost") + "/trap"})
    with pytest.raises(WrongOrigin):
        _aiohttp(f"{api.url}/orders", service.auth(api.url), content=b"order")
    with pytest.raises(LocalError, match="name the origin"):
        _aiohttp(f"{api.url}/orders", service.auth("urn:orders"))
    assert not foreign.sent("/trap")
    assert len(_tokens(api)) == 1


def _following(post: Callable[..., int]) -> dict[str, bool]:
    """What makes a library follow redirects; requests does by itself."""
    return {} if post is _requests else {"follow_redirects": True}


def test_hooks_of_the_caller_are_kept(api: Foreign, service: Service) -> None:
    seen: list[int] = []
    api.script["/orders"] = [INVALID]
    with requests.Session() as session:
        session.hooks["response"].append(lambda response, **_: seen.append(response.status_code))
        response = session.get(f"{api.url}/orders", auth=service.auth(api.url))
    assert (response.status_code, seen) == (200, [200])
    assert [earlier.status_code for earlier in response.history] == [401]
