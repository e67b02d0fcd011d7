"""The guard in gRPC: servers on loopback with threads and with asyncio, and calls of all four kinds."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import grpc.aio
import pytest
from tests import certificates
from tests.unit.resource.frameworks import grpc_servers, page
from tests.unit.resource.frameworks.bound import Bound
from tests.unit.resource.frameworks.grpc_servers import KINDS, SERVERS, call
from tests.unit.resource.frameworks.rows import KEYS, OPTIONS, ROWS
from tests.unit.resource.listening import API, METADATA, ListeningIssuer, listening

from affiant.errors import ConfigError
from affiant.resource import Guard
from affiant.resource.frameworks.rpc.grpc import caller

Code = grpc.StatusCode
ONE = {"UnaryUnary": b"c", "UnaryStream": [b"c", b"c"], "StreamUnary": b"c", "StreamStream": [b"c", b"c"]}


@pytest.fixture(scope="module")
def issuer() -> Iterator[ListeningIssuer]:
    with listening() as found:
        yield found


@pytest.fixture(params=list(SERVERS.values()), ids=list(SERVERS))
def serve(request: pytest.FixtureRequest) -> Any:
    return request.param


def channel(port: int) -> Any:
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}")


async def refused(calling: Any) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await calling
    return error.value.code(), error.value.details(), dict(error.value.trailing_metadata())


async def test_handler_has_the_caller(serve: Any, issuer: ListeningIssuer) -> None:
    async with serve(issuer.guard()) as port, channel(port) as calls:
        found = {kind: await call(calls, kind, token=issuer.token(scope="read")) for kind in KINDS}
        assert found == ONE


@pytest.mark.parametrize("kind", KINDS)
async def test_refused_call_does_not_reach_its_handler(serve: Any, issuer: ListeningIssuer, kind: str) -> None:
    async with serve(issuer.guard()) as port, channel(port) as calls:
        code, details, trailing = await refused(call(calls, kind, is_silent=True))
        assert (code, details) == (Code.UNAUTHENTICATED, "this needs an access token")
        assert trailing["www-authenticate"].startswith(f'Bearer realm="{API}", scope="read"')
        code, details, trailing = await refused(call(calls, kind, token=issuer.token(scope="other"), is_silent=True))
        assert (code, details) == (Code.PERMISSION_DENIED, "the token lacks a scope that this needs")
        assert 'error="insufficient_scope"' in trailing["www-authenticate"]


@pytest.mark.parametrize("kind", ["UnaryUnary", "UnaryStream"])
async def test_message_of_a_refused_call_is_not_parsed(serve: Any, issuer: ListeningIssuer, kind: str) -> None:
    async with serve(issuer.guard()) as port, channel(port) as calls:
        grpc_servers.PARSED.clear()
        code, _, _ = await refused(call(calls, kind))
        assert (code, grpc_servers.PARSED) == (Code.UNAUTHENTICATED, [])
        await call(calls, kind, token=issuer.token(scope="read"))
        assert grpc_servers.PARSED == [b"x"]
        calling = call(calls, kind, token=issuer.token(scope="read"), message=b"no message")
        assert (await refused(calling))[:2] == (Code.INTERNAL, "Exception deserializing request!")


@pytest.mark.parametrize(
    "tokens", [lambda issuer: [issuer.token(exp=1)], lambda issuer: [issuer.token()] * 2, lambda _: [b"Bearer x.y.z"]]
)
async def test_bad_credentials_are_unauthenticated(serve: Any, issuer: ListeningIssuer, tokens: Any) -> None:
    metadata = [("authorization", token.decode()) for token in tokens(issuer)]
    async with serve(issuer.guard()) as port, channel(port) as calls:
        code, _, trailing = await refused(call(calls, "UnaryUnary", metadata=metadata))
        assert code == Code.UNAUTHENTICATED
        assert 'error="invalid_' in trailing["www-authenticate"]


# RESOURCE_EXHAUSTED: gRPC itself refuses metadata of 16 KB.
VERDICTS = {
    Code.OK: 200,
    Code.UNAUTHENTICATED: 401,
    Code.RESOURCE_EXHAUSTED: 401,
    Code.PERMISSION_DENIED: 403,
}


@pytest.mark.attack(249, 251, 252, 256, 257, 258, 265)
async def test_verdict_is_that_of_http(serve: Any) -> None:
    with listening() as issuer:
        issuer.keys = KEYS
        rows = {param.id: param.values[0] for param in ROWS}
        asked = {name: row.ask(issuer) for name, row in rows.items()}
        async with serve(issuer.guard(**OPTIONS)) as port, channel(port) as calls:
            found = {name: await _verdict(calls, given.headers) for name, given in asked.items() if not given.query}
    assert {name: status for name, status in found.items() if status not in rows[name].statuses} == {}


async def _verdict(calls: Any, headers: Any) -> int:
    try:
        await call(calls, "UnaryUnary", metadata=[(name.lower(), value) for name, value in headers])
    except grpc.aio.AioRpcError as error:
        return VERDICTS[error.code()]
    return VERDICTS[Code.OK]


async def test_issuer_that_does_not_answer_is_unavailable(serve: Any) -> None:
    with listening() as issuer:
        issuer.statuses = {METADATA: 500, "/.well-known/openid-configuration": 500}
        async with serve(issuer.guard()) as port, channel(port) as calls:
            code, details, trailing = await refused(call(calls, "UnaryUnary", token=issuer.token(scope="read")))
        assert (code, details) == (Code.UNAVAILABLE, "the token cannot be checked now")
        assert trailing["retry-after"] == "5"


async def test_method_without_a_rule_is_refused(serve: Any, issuer: ListeningIssuer) -> None:
    async with serve(issuer.guard()) as port, channel(port) as calls:
        token = issuer.token(scope="read")
        code, _, _ = await refused(call(calls, "List", token=token, service="Other"))
        assert code == Code.UNIMPLEMENTED
        code, _, _ = await refused(call(calls, "Nothing", token=token))
        assert code == Code.UNIMPLEMENTED
        assert await call(calls, "Taken", token=token, service="Other") == b"c"


async def test_public_method_has_no_caller(serve: Any, issuer: ListeningIssuer) -> None:
    """The thread has handled a call with one before."""
    async with serve(issuer.guard()) as port, channel(port) as calls:
        for kind in KINDS:
            await call(calls, kind, token=issuer.token(scope="read"))
            assert await call(calls, "Public", token=issuer.token(scope="read")) == b"nobody"


async def test_calls_at_once_have_each_their_caller(serve: Any, issuer: ListeningIssuer) -> None:
    names = [f"client-{n}" for n in range(20)]
    tokens = [issuer.token(name, sub=name, client_id=name, scope="read") for name in names]
    async with serve(issuer.guard()) as port, channel(port) as calls:
        found = await asyncio.gather(*(call(calls, "StreamStream", token=token) for token in tokens))
    assert found == [[name.encode()] * 2 for name in names]


async def test_threads_at_once_have_each_their_caller(issuer: ListeningIssuer) -> None:
    names = [f"client-{n}" for n in range(20)]
    tokens = [issuer.token(name, sub=name, client_id=name, scope="read") for name in names]
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, interceptors=[issuer.guard().grpc(grpc_servers.NEEDS)])
        grpc_servers.register(server, grpc_servers.Threads())
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        async with channel(port) as calls:
            found = await asyncio.gather(*(call(calls, "UnaryStream", token=token) for token in tokens))
        await asyncio.to_thread(server.stop(None).wait)
    assert found == [[name.encode()] * 2 for name in names]


@pytest.mark.parametrize("claims", [{}, {"cnf": {"jkt": "x"}}])
async def test_proof_is_refused(serve: Any, issuer: ListeningIssuer, claims: dict[str, Any]) -> None:
    headers = Bound(issuer, scope="read").headers(f"{API}/shop.Orders/UnaryUnary", method="POST")
    metadata = [(name.lower(), value) for name, value in headers.items()]
    async with serve(issuer.guard(url=API)) as port, channel(port) as calls:
        code, details, _ = await refused(call(calls, "UnaryUnary", metadata=metadata))
        assert code == Code.UNAUTHENTICATED
        assert details.startswith("gRPC takes no DPoP proofs")
        bearer = [("authorization", metadata[0][1].replace("DPoP", "Bearer")), metadata[1]]
        code, details, _ = await refused(call(calls, "UnaryUnary", metadata=bearer))
        assert code == Code.UNAUTHENTICATED


async def test_certificate_of_the_connection_counts(serve: Any, issuer: ListeningIssuer) -> None:
    authority = certificates.make_authority()
    own, other = (certificates.lasting(dn=f"CN={name}", by=authority) for name in ("own", "other"))
    server = certificates.lasting(dn="CN=server", dns=("localhost",), by=authority)
    credentials = grpc.ssl_server_credentials([(server.key_pem, server.pem)], authority.pem, require_client_auth=True)
    token = issuer.token(scope="read", cnf={"x5t#S256": own.thumbprint})
    async with serve(issuer.guard(), credentials) as port:
        for made in (own, other):
            shown = grpc.ssl_channel_credentials(authority.pem, made.key_pem, made.pem)
            async with grpc.aio.secure_channel(f"localhost:{port}", shown) as calls:
                if made is own:
                    assert await call(calls, "UnaryUnary", token=token) == b"c"
                else:
                    assert (await refused(call(calls, "UnaryUnary", token=token)))[0] == Code.UNAUTHENTICATED
    async with serve(issuer.guard()) as port, channel(port) as calls:
        assert (await refused(call(calls, "UnaryUnary", token=token)))[0] == Code.UNAUTHENTICATED


@pytest.mark.parametrize(("proxies", "is_admitted"), [("127.0.0.1", True), ("10.0.0.5", False)])
async def test_certificate_in_metadata_is_from_a_proxy_alone(
    serve: Any, issuer: ListeningIssuer, proxies: str, is_admitted: bool
) -> None:
    made = certificates.lasting()
    token = issuer.token(scope="read", cnf={"x5t#S256": made.thumbprint})
    async with serve(issuer.guard(certificate_proxies=[proxies])) as port, channel(port) as calls:
        calling = call(calls, "UnaryUnary", token=token, metadata=[("client-cert", made.text)])
        if is_admitted:
            assert await calling == b"c"
        else:
            assert (await refused(calling))[0] == Code.UNAUTHENTICATED


def test_caller_is_none_of_another_call() -> None:
    with pytest.raises(LookupError):
        caller()


@pytest.mark.parametrize(("options", "methods"), [({"dpop": "required"}, {}), ({}, {"shop.Orders/List": "read"})])
def test_what_can_admit_no_call_is_an_error(options: dict[str, Any], methods: dict[str, str]) -> None:
    guard = Guard("https://as.example", audience=API, **options)
    for build in (guard.grpc, guard.grpc_aio):
        with pytest.raises(ConfigError):
            build(methods)


def test_page_runs(issuer: ListeningIssuer) -> None:
    with ThreadPoolExecutor(1) as pool:
        names = page.run("grpc.md", issuer)
        server, orders = names["serve"](pool), names["Orders"]()
        handlers = {"List": grpc.unary_unary_rpc_method_handler(orders.List)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Orders", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as calls:
            metadata = [("authorization", issuer.token(scope="orders.read").decode())]
            assert calls.unary_unary("/shop.Orders/List")(b"x", metadata=metadata) == b"orders of c"
            with pytest.raises(grpc.RpcError) as error:
                calls.unary_unary("/shop.Orders/List")(b"x")
        server.stop(None).wait()
    assert error.value.code() == Code.UNAUTHENTICATED
