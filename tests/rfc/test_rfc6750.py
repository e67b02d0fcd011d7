"""RFC 6750, bearer tokens: how the guard of an API takes and refuses them."""

import re

import httpx2
import pytest
from tests.rfc.conftest import API, guarded

from affiant.testing import NOW, Server

UNEXPLAINED = "the access token has expired, was revoked or is not valid here"


def _bearer(token: str, *, scheme: str = "Bearer") -> dict[str, str]:
    return {"authorization": f"{scheme} {token}"}


def challenge(reply: httpx2.Response) -> tuple[int, dict[str, str]]:
    """Status and parameters of a Bearer challenge that names each of them once."""
    (value,) = reply.headers.get_list("www-authenticate")
    value, _, other = value.partition(", DPoP ")  # the guard takes both schemes (RFC 9449 section 7.2)
    assert other.startswith('algs="ES256 ')
    scheme, _, rest = value.partition(" ")
    assert scheme == "Bearer"
    pairs = dict(re.findall(r'(\w+)="([\x20-\x21\x23-\x5b\x5d-\x7e]*)"', rest))
    assert ", ".join(f'{name}="{text}"' for name, text in pairs.items()) == rest
    return reply.status_code, pairs


@pytest.mark.rfc(6750, "2.1")
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEARER", "Bearer "])
async def test_authorization_header_is_supported(server: Server, api: httpx2.AsyncClient, scheme: str) -> None:
    """MUST be supported. The scheme is case-insensitive (RFC 9110 section 11.1); spaces may follow it."""
    token = (await server.token())["access_token"]
    reply = await api.get("/", headers=_bearer(token, scheme=scheme))
    assert (reply.status_code, reply.json()) == (200, {"client_id": "c1", "scopes": ["read", "write"]})


@pytest.mark.rfc(6750, "2.2")
@pytest.mark.rfc(6750, "2.3")
async def test_token_in_body_or_url_is_ignored(server: Server, api: httpx2.AsyncClient) -> None:
    sent = {"access_token": (await server.token())["access_token"]}
    for reply in (await api.post("/", data=sent), await api.get("/", params=sent)):
        assert challenge(reply) == (401, {"realm": API, "scope": "read"})


@pytest.mark.rfc(6750, "3")
@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic eDp5"}, {"authorization": ""}])
async def test_without_token_challenge_has_no_error(api: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    """MUST include WWW-Authenticate; it SHOULD NOT include an error code, nor other information on an error.

    The scope is none: a client of the Model Context Protocol asks for what it names.
    """
    reply = await api.get("/", headers=headers)
    assert challenge(reply) == (401, {"realm": API, "scope": "read"})
    assert reply.json() == {"error_description": "this needs an access token"}


@pytest.mark.rfc(6750, "3")
async def test_without_need_challenge_has_no_scope(server: Server) -> None:
    async with guarded(server) as api:
        assert challenge(await api.get("/")) == (401, {"realm": API})


@pytest.mark.rfc(6750, "3.1")
@pytest.mark.parametrize("token", ["", "x", "a.b.c", "a.b", "a b", "{}", "\xe9", "x=y", "a.b.c.d.e", "x" * 9000])
async def test_malformed_token_is_invalid(api: httpx2.AsyncClient, token: str) -> None:
    status, parameters = challenge(await api.get("/", headers={b"authorization": f"Bearer {token}".encode("latin-1")}))
    assert (status, parameters["error"]) == (401, "invalid_token")


@pytest.mark.rfc(6750, "3.1")
async def test_expired_token_is_invalid(server: Server, api: httpx2.AsyncClient) -> None:
    token = (await server.token())["access_token"]
    server.clock.now = NOW + 629
    assert (await api.get("/", headers=_bearer(token))).status_code == 200
    server.clock.now = NOW + 630
    assert challenge(await api.get("/", headers=_bearer(token))) == (
        401,
        {"realm": API, "error": "invalid_token", "error_description": UNEXPLAINED},
    )


@pytest.mark.rfc(6750, "3.1")
async def test_too_small_scope_is_insufficient(server: Server, api: httpx2.AsyncClient) -> None:
    """403, with the scope that is needed."""
    token = (await server.token(scope="write"))["access_token"]
    status, parameters = challenge(await api.get("/", headers=_bearer(token)))
    assert (status, parameters["error"], parameters["scope"]) == (403, "insufficient_scope", "read")


@pytest.mark.rfc(6750, "3.1")
async def test_two_tokens_are_invalid_request(server: Server, api: httpx2.AsyncClient) -> None:
    """Clients MUST NOT use more than one method to transmit the token; 400 if they do."""
    token = (await server.token())["access_token"]
    header = ("authorization", f"Bearer {token}")
    status, parameters = challenge(await api.get("/", headers=[header, header]))
    assert (status, parameters["error"]) == (400, "invalid_request")


@pytest.mark.rfc(6750, "3.1")
@pytest.mark.parametrize(
    "query", ["access_token={}", "a=b&access_token=x", "access%5Ftoken={}", "%61ccess_token", "access_token"]
)
async def test_token_in_url_and_header_is_invalid_request(server: Server, api: httpx2.AsyncClient, query: str) -> None:
    token = (await server.token())["access_token"]
    status, parameters = challenge(await api.get(f"/?{query.format(token)}", headers=_bearer(token)))
    assert (status, parameters["error"]) == (400, "invalid_request")


@pytest.mark.rfc(6750, "3.1")
@pytest.mark.parametrize("query", ["access_tokens=x", "a=access_token", "a=%61&b=access_token=x", "xaccess_token=y"])
async def test_other_parameters_are_the_application_s(server: Server, api: httpx2.AsyncClient, query: str) -> None:
    token = (await server.token())["access_token"]
    assert (await api.get(f"/?{query}", headers=_bearer(token))).status_code == 200


@pytest.mark.attack(266)
@pytest.mark.rfc(6750, "5.2")
async def test_refusal_is_not_cached_or_revealing(api: httpx2.AsyncClient) -> None:
    reply = await api.get("/", headers=_bearer("secret-token"))
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["content-type"] == "application/json"
    assert "secret-token" not in reply.text + str(reply.headers)
