"""An issuer that the guard reaches at another address than its identifier says, as in Kubernetes and compose."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from tests.unit.resource.issuer import NOW, Check
from tests.unit.resource.listening import API, METADATA, ListeningIssuer, listening

from affiant import testing
from affiant.errors import RemoteError
from affiant.jose import compact, keys
from affiant.resource import Guard, Issuer

OUTER = "https://as.example/realms/x"
PLACE = METADATA + "/realms/x"


@pytest.fixture
def issuer() -> Iterator[ListeningIssuer]:
    with listening() as found:
        found.metadata = {"issuer": OUTER, "jwks_uri": "https://as.example/jwks"}
        found.documents[PLACE] = found.metadata
        yield found


def _guard(issuer: ListeningIssuer, **options: Any) -> Guard:
    trusted = Issuer(OUTER, revocations="off", **{"reach": issuer.url, **options})
    return Guard(trusted, audience=API, clock=lambda: issuer.now)


@pytest.mark.parametrize("name", ["reach", "unsafe_reach"])
async def test_metadata_and_keys_come_from_the_inner_address(issuer: ListeningIssuer, check: Check, name: str) -> None:
    """And `iss` stays what it is."""
    guard = _guard(issuer, **{"reach": None, name: issuer.url})
    assert (await check(guard, [issuer.token(iss=OUTER)])).issuer == OUTER
    assert [path for path, _ in issuer.requests] == [PLACE, "/jwks"]


async def test_issuer_may_name_the_address_by_which_it_was_asked(issuer: ListeningIssuer, check: Check) -> None:
    """As Keycloak does with hostname-backchannel-dynamic. The keys are of its inner address, which may be http."""
    issuer.metadata["jwks_uri"] = f"{issuer.url}/jwks"
    assert (await check(_guard(issuer), [issuer.token(iss=OUTER)])).issuer == OUTER


@pytest.mark.parametrize(
    ("member", "value", "match"),
    [
        ("issuer", "https://evil.example", "metadata are of another issuer"),
        ("issuer", "https://as.example", "metadata are of another issuer"),
        ("jwks_uri", "http://other.internal/jwks", "jwks_uri must be an https URL"),
        ("jwks_uri", None, "no jwks_uri"),
    ],
)
async def test_metadata_of_another_issuer_are_refused(
    issuer: ListeningIssuer, check: Check, member: str, value: str | None, match: str
) -> None:
    issuer.metadata[member] = value
    if value is None:
        del issuer.metadata[member]
    with pytest.raises(RemoteError, match=match):
        await check(_guard(issuer), [issuer.token(iss=OUTER)])


@pytest.mark.parametrize(
    ("named", "asked"),
    [
        ("https://as.example/jwks", "https://as.internal:8377/jwks"),
        ("https://AS.example/jwks", "https://as.internal:8377/jwks"),
        ("https://as.example/jwks?v=1", "https://as.internal:8377/jwks?v=1"),
        ("https://as.example.evil.example/jwks", None),  # their names begin with that of the issuer
        ("https://as.example@evil.example/jwks", None),
        ("https://as.examples/jwks", None),
        ("https://as.example:444/jwks", None),
        ("https://keys.example/jwks", None),
    ],
)
async def test_only_the_address_of_the_issuer_is_replaced(named: str, asked: str | None, check: Check) -> None:
    requests = list[str]()

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(str(request.url))
        found = request.url.path.startswith("/.well-known/")
        return httpx2.Response(200, json={"issuer": OUTER, "jwks_uri": named}) if found else httpx2.Response(404)

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    trusted = Issuer(OUTER, reach="https://as.internal:8377")
    guard = Guard(trusted, audience=API, http=http, clock=lambda: NOW)
    with pytest.raises(RemoteError):
        await check(guard, [b"Bearer " + token(keys.generate("ES256"))])
    assert f"https://as.internal:8377{PLACE}" in requests
    assert (asked or named) in requests


def token(key: keys.PrivateKey) -> bytes:
    return compact.sign({"typ": "at+jwt"}, {"iss": OUTER}, key).encode()


async def test_affiant_answers_at_an_inner_address() -> None:
    """As behind a Service of Kubernetes: the server knows one name, and is asked by another."""
    async with testing.Server.in_process() as server:
        await server.add_api(API, scope=("orders.read",), is_default=True)
        await server.add_client("billing")
        hosts = set[str]()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            hosts.update(value.decode() for name, value in scope["headers"] if name == b"host")
            await server.app(scope, receive, send)

        http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app))
        trusted = Issuer(server.issuer, unsafe_reach="http://affiant.internal:8377", revocations="required")
        guard = Guard(trusted, audience=API, http=http, clock=server.clock)
        token = (await server.token())["access_token"]
        caller = await guard.check([b"Bearer " + token.encode()], need="orders.read")
        assert (caller.client_id, caller.issuer) == ("billing", server.issuer)
        assert hosts == {"affiant.internal:8377"}
