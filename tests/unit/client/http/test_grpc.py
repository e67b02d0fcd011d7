"""gRPC: the token in the metadata of a call, over TLS, and its renewal."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import grpc.aio
import httpx2
import pytest
from tests import certificates
from tests.unit.client.conftest import Answer, Foreign

from affiant import Service
from affiant.client import InsufficientScope, check_scope
from affiant.errors import LocalError
from affiant.jose.keys import PrivateKey

METHOD = "/shop.Orders/List"
Call = Callable[..., bytes]


class Orders(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    """A server that ends calls as the test says, and otherwise answers."""

    def __init__(self) -> None:
        self.tokens: list[str | None] = []
        self.endings: list[tuple[grpc.StatusCode, str]] = []
        self.refused: set[str] = set()
        self._pool = ThreadPoolExecutor(4)
        authority = certificates.authority()
        made = certificates.lasting(dn="CN=orders", dns=("localhost",), by=authority)
        self._server = grpc.server(self._pool, handlers=[self])
        port = self._server.add_secure_port(
            "127.0.0.1:0", grpc.ssl_server_credentials([(made.key_pem, made.pem + authority.pem)])
        )
        self.clear = f"http://localhost:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        self.target = f"localhost:{port}"
        self.url = f"https://{self.target}"
        self.tls = grpc.ssl_channel_credentials(authority.pem)

    def service(self, details: Any) -> Any:
        metadata = dict(details.invocation_metadata)
        return grpc.unary_unary_rpc_method_handler(lambda message, context: self._answer(message, context, metadata))

    def _answer(self, message: bytes, context: Any, metadata: dict[str, str]) -> bytes:
        self.tokens.append(metadata.get("authorization"))
        if metadata.get("authorization") in self.refused:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "refused")
        if self.endings:
            code, challenge = self.endings.pop(0)
            context.set_trailing_metadata((("www-authenticate", challenge),) if challenge else ())
            context.abort(code, "refused")
        return message

    def close(self) -> None:
        self._server.stop(None).wait()
        self._pool.shutdown()


def _sync(orders: Orders, auth: Any, *, is_renewed: bool = True, count: int = 1) -> list[bytes]:
    credentials = grpc.composite_channel_credentials(orders.tls, auth.grpc())
    with grpc.secure_channel(orders.target, credentials) as channel, ThreadPoolExecutor(count) as pool:
        through = grpc.intercept_channel(channel, auth.grpc_interceptor()) if is_renewed else channel
        method = through.unary_unary(METHOD)
        return list(pool.map(lambda _: method(b"order", timeout=10), range(count)))


def _asyncio(
    orders: Orders,
    auth: Any,
    *,
    is_renewed: bool = True,
    count: int = 1,
    beside: Callable[[], Awaitable[None]] | None = None,
) -> list[bytes]:
    async def run() -> list[bytes]:
        credentials = grpc.composite_channel_credentials(orders.tls, auth.grpc())
        interceptors = [auth.grpc_aio_interceptor()] if is_renewed else []
        async with grpc.aio.secure_channel(orders.target, credentials, interceptors=interceptors) as channel:
            method = channel.unary_unary(METHOD)
            other = asyncio.ensure_future(beside()) if beside is not None else None
            try:
                return [
                    bytes(one) for one in await asyncio.gather(*(method(b"order", timeout=10) for _ in range(count)))
                ]
            finally:
                if other is not None:
                    other.cancel()

    return asyncio.run(run())


@pytest.fixture(params=[_sync, _asyncio], ids=["threads", "asyncio"])
def call(request: pytest.FixtureRequest) -> Any:
    """One way to make calls."""
    return request.param


@pytest.fixture(scope="module")
def listening() -> Iterator[Orders]:
    server = Orders()
    yield server
    server.close()


@pytest.fixture
def orders(listening: Orders) -> Orders:
    listening.tokens, listening.endings, listening.refused = [], [], set()
    return listening


@pytest.fixture
def service(foreign: Foreign, key: PrivateKey, http: httpx2.Client) -> Service:
    return Service(foreign.url, "billing", key=key, http=http)


@pytest.mark.parametrize("is_renewed", [False, True], ids=["credentials alone", "with the interceptor"])
def test_token_is_sent_and_cached(
    orders: Orders, foreign: Foreign, service: Service, call: Any, *, is_renewed: bool
) -> None:
    auth = service.auth(orders.url)
    for _ in range(2):
        assert call(orders, auth, is_renewed=is_renewed) == [b"order"]
    assert orders.tokens == ["Bearer token-1"] * 2
    assert len(foreign.sent("/token")) == 1


@pytest.mark.parametrize("challenge", ["", 'Bearer error="invalid_token"'])
def test_refused_token_is_renewed_once(orders: Orders, service: Service, call: Any, challenge: str) -> None:
    orders.endings = [(grpc.StatusCode.UNAUTHENTICATED, challenge)]
    assert call(orders, service.auth(orders.url)) == [b"order"]
    assert orders.tokens == ["Bearer token-1", "Bearer token-2"]


@pytest.mark.attack(275)
def test_second_refusal_is_the_callers(orders: Orders, foreign: Foreign, service: Service, call: Any) -> None:
    orders.endings = [(grpc.StatusCode.UNAUTHENTICATED, "")] * 9
    auth = service.auth(orders.url)
    for _ in range(3):
        with pytest.raises(grpc.RpcError) as caught:
            call(orders, auth)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert len(foreign.sent("/token")) == 2
    assert len(orders.tokens) == 4


def test_needed_scope_is_named(orders: Orders, service: Service, call: Any) -> None:
    orders.endings = [(grpc.StatusCode.PERMISSION_DENIED, 'Bearer error="insufficient_scope", scope="orders.write"')]
    with pytest.raises(grpc.RpcError) as caught:
        call(orders, service.auth(orders.url))
    with pytest.raises(InsufficientScope, match=r"orders\.write"):
        check_scope(caught.value)
    assert len(orders.tokens) == 1


@pytest.mark.parametrize("is_renewed", [False, True], ids=["credentials alone", "with the interceptor"])
def test_twenty_callers_make_one_token_request(
    orders: Orders, foreign: Foreign, service: Service, call: Any, *, is_renewed: bool
) -> None:
    foreign.delay = 0.1
    assert call(orders, service.auth(orders.url), is_renewed=is_renewed, count=20) == [b"order"] * 20
    assert len(foreign.sent("/token")) == 1


def test_token_goes_to_no_other_origin(orders: Orders, foreign: Foreign, service: Service, call: Any) -> None:
    for is_renewed in (False, True):
        with pytest.raises((grpc.RpcError, LocalError), match=r"nothing was sent|WrongOrigin"):
            call(orders, service.auth("https://orders.example"), is_renewed=is_renewed)
    assert not orders.tokens


def test_failed_token_request_fails_the_call(orders: Orders, foreign: Foreign, service: Service, call: Any) -> None:
    foreign.default["/token"] = Answer(401, {"error": "invalid_client"})
    with pytest.raises(grpc.RpcError, match="invalid_client") as caught:
        call(orders, service.auth(orders.url), is_renewed=False)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not orders.tokens


@pytest.mark.parametrize("is_renewed", [False, True], ids=["credentials alone", "with the interceptor"])
def test_event_loop_is_not_blocked(orders: Orders, foreign: Foreign, service: Service, *, is_renewed: bool) -> None:
    foreign.delay = 0.3
    ticks: list[int] = []

    async def tick() -> None:
        while True:
            await asyncio.sleep(0.01)
            ticks.extend([1] * bool(foreign.sent("/token")))

    assert _asyncio(orders, service.auth(orders.url), is_renewed=is_renewed, beside=tick) == [b"order"]
    assert len(ticks) >= 5


@pytest.mark.rfc(6750, "5.3")
def test_no_token_without_tls(orders: Orders, service: Service) -> None:
    """GRPC itself sends call credentials on no channel in the clear, not even on loopback."""
    auth = service.auth(orders.url, origin=orders.clear)
    target = orders.clear.removeprefix("http://")
    with grpc.insecure_channel(target) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(METHOD)(b"order", credentials=auth.grpc(), timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert not orders.tokens


def test_bound_token_is_refused(foreign: Foreign, key: PrivateKey, http: httpx2.Client) -> None:
    service = Service(foreign.url, "billing", key=key, http=http, dpop=True)
    auth = service.auth("https://orders.example")
    for make in (auth.grpc, auth.grpc_interceptor, auth.grpc_aio_interceptor):
        with pytest.raises(LocalError, match="DPoP"):
            make()


def test_calls_of_several_threads_share_a_renewal(orders: Orders, foreign: Foreign, service: Service) -> None:
    orders.refused = {"Bearer token-1"}
    barrier = threading.Barrier(4)
    auth = service.auth(orders.url)
    service.token(orders.url)

    def one(_: int) -> list[bytes]:
        barrier.wait()
        return _sync(orders, auth)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(4))) == [[b"order"]] * 4
    assert len(foreign.sent("/token")) == 2
