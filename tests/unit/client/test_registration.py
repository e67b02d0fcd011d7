"""Registration: the accepted responses, and where no secret is sent."""

import json
import time
from typing import Any

import httpx2
import pytest
from tests.unit.client.conftest import Answer, Foreign, metadata_answer

from affiant.client.credentials import registration
from affiant.client.credentials.registration import Registration
from affiant.client.protocol import flow, transport
from affiant.errors import LocalError, Refused, RemoteError
from affiant.jose.keys import PrivateKey

WELL_KNOWN = "/.well-known/oauth-authorization-server"
INVITATION, MANAGEMENT = "an.initial~access-token", "a.registration_access/token=="
METHOD = "token_endpoint_auth_method"


@pytest.fixture
def server(foreign: Foreign) -> Foreign:
    """It lets clients register."""
    more = {"registration_endpoint": f"{foreign.url}/register"}
    foreign.default[WELL_KNOWN] = metadata_answer(foreign.url, **more)
    return foreign


def _members(server: Foreign, **changed: Any) -> dict[str, Any]:
    uri = f"{server.url}/register/chosen-by-server"
    members = {
        "client_id": "chosen-by-server",
        METHOD: "private_key_jwt",
        "scope": "orders.read",
        "registration_client_uri": uri,
        "registration_access_token": MANAGEMENT,
        **changed,
    }
    return {name: value for name, value in members.items() if value is not None}


def _register(server: Foreign, http: httpx2.Client, key: PrivateKey, *answers: Answer, **asked: Any) -> Registration:
    server.script["/register"] = list(answers)
    waits: list[float] = []
    url = transport.run(registration.find_endpoint(server.url, clock=time.time), http, wait=waits.append)
    asking = registration.register(url, INVITATION, key.public(), clock=time.time, **asked)
    return transport.run(asking, http, wait=waits.append)


def _answered(server: Foreign, http: httpx2.Client, key: PrivateKey, **changed: Any) -> Registration:
    return _register(server, http, key, Answer(201, _members(server, **changed)))


@pytest.mark.rfc(7591, "3.1")
def test_what_is_sent(server: Foreign, http: httpx2.Client, key: PrivateKey) -> None:
    """The public half of the key, and no more than was asked for."""
    answer = Answer(201, _members(server))
    found = _register(server, http, key, answer, scope="orders.read", client_name="Billing")
    (sent,) = server.sent("/register")
    assert (sent.method, sent.headers["authorization"]) == ("POST", f"Bearer {INVITATION}")
    assert json.loads(sent.body) == {
        METHOD: "private_key_jwt",
        "token_endpoint_auth_signing_alg": "ES256",
        "grant_types": ["client_credentials"],
        "response_types": [],
        "jwks": {"keys": [key.public().to_jwk()]},
        "scope": "orders.read",
        "client_name": "Billing",
    }
    assert key.to_jwk()["d"].encode() not in sent.body
    assert (found.client_id, found.scope, found.token) == ("chosen-by-server", "orders.read", MANAGEMENT)
    assert MANAGEMENT not in repr(found)


@pytest.mark.rfc(7591, "3.2.1")
def test_the_server_has_the_last_word(server: Foreign, http: httpx2.Client, key: PrivateKey) -> None:
    found = _register(server, http, key, Answer(201, _members(server, scope="less")), scope="less more")
    assert found.scope == "less"
    assert _answered(server, http, key, scope=None).scope is None


@pytest.mark.parametrize(
    "changed",
    [
        {"registration_access_token": None},
        {"registration_client_uri": None},
        {"registration_access_token": "two words"},
        {"registration_access_token": "line\r\nX-Evil: 1"},
        {"registration_access_token": 7},
        {"registration_access_token": ""},
        {"registration_access_token": "a" * 5000},
        {"registration_client_uri": ["https://as.example"]},
    ],
)
def test_without_a_usable_token_and_place_it_is_not_managed(
    server: Foreign, http: httpx2.Client, key: PrivateKey, changed: dict[str, Any]
) -> None:
    """RFC 7592 is optional: the client is registered all the same."""
    found = _answered(server, http, key, **changed)
    assert (found.client_id, found.uri, found.token) == ("chosen-by-server", None, None)


@pytest.mark.rfc(7592, "3")
@pytest.mark.parametrize(
    "uri",
    [
        "http://as.example/register/c",
        "https://as.example/register/c",
        "{other}/register/c",
        "{url}@as.example/register/c",
        "http://user@{place}/register/c",
        "{url}.as.example/register/c",
        "{url}\\@as.example/",
        "//{place}/register/c",
        "ftp://{place}/register/c",
        "javascript:alert(1)",
        "/register/c",
        "http://[::1/register/c",
    ],
)
def test_the_token_goes_nowhere_but_to_its_maker(
    server: Foreign, http: httpx2.Client, key: PrivateKey, uri: str
) -> None:
    place = server.url.removeprefix("http://")
    uri = uri.format(url=server.url, other=server.other_name, place=place)
    with pytest.raises(RemoteError, match="of another origin") as refusal:
        _answered(server, http, key, registration_client_uri=uri)
    assert MANAGEMENT not in str(refusal.value)


@pytest.mark.parametrize("client_id", [None, "", 7, True, ["c"], {"c": 1}, "a\nb", "a\x1b[2Jb", "a\u202eb", "a" * 3000])
def test_a_name_that_can_be_none(server: Foreign, http: httpx2.Client, key: PrivateKey, client_id: Any) -> None:
    with pytest.raises(RemoteError, match="did not answer with a registration") as refusal:
        _answered(server, http, key, client_id=client_id)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("scope", [7, ["orders.read"], "", "a\x1b[2J", "a" * 3000])
def test_a_scope_that_can_be_none_counts_as_unsaid(
    server: Foreign, http: httpx2.Client, key: PrivateKey, scope: Any
) -> None:
    assert _answered(server, http, key, scope=scope).scope is None


@pytest.mark.parametrize("method", [None, "none", "client_secret_basic", ["private_key_jwt"]])
def test_another_method_than_was_asked_for(server: Foreign, http: httpx2.Client, key: PrivateKey, method: Any) -> None:
    """RFC 7591 section 3.2.1 lets a server put another in its place; this client could not use it."""
    with pytest.raises(RemoteError, match="another method"):
        _answered(server, http, key, **{METHOD: method})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b'"text"',
        b"<html>",
        b"\xff\xfe{",
        b"[" * 200_000,
        b'{"client_id":' * 20_000,
        b'{"client_id":"a","client_id":"b"}',
        b'{"client_id":"\\ud800"}',
        b'{"client_id":NaN}',
        b'{"client_id":' + b"9" * 5000 + b"}",
    ],
)
def test_an_answer_that_is_no_registration(server: Foreign, http: httpx2.Client, key: PrivateKey, raw: bytes) -> None:
    with pytest.raises(RemoteError, match="did not answer with a registration"):
        _register(server, http, key, Answer(201, raw=raw))


@pytest.mark.parametrize("status", [200, 400, 401, 500])
@pytest.mark.parametrize("raw", [b"", b"{}", b"[" * 200_000, b'{"error":' * 20_000, b'{"error":7}', b"\xff"])
def test_a_refusal_that_is_none(server: Foreign, http: httpx2.Client, key: PrivateKey, status: int, raw: bytes) -> None:
    with pytest.raises(RemoteError, match=f"answered {status}, and not with an OAuth error"):
        _register(server, http, key, Answer(status, raw=raw))


def test_refusal_of_registration_is_escaped(server: Foreign, http: httpx2.Client, key: PrivateKey) -> None:
    said = {"error": "invalid_token\x1b[2J", "error_description": "gone\r\n\x9bK", "error_uri": "\x1b]0;x\x07"}
    with pytest.raises(Refused) as refusal:
        _register(server, http, key, Answer(401, said))
    assert f"{refusal.value}{refusal.value.error_uri}".isprintable()
    assert INVITATION not in str(refusal.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    server: Foreign, api: Foreign, http: httpx2.Client, key: PrivateKey, status: int
) -> None:
    """The token, or the next registration, would go to whom the server names."""
    with pytest.raises(RemoteError, match="a redirect: not followed"):
        _register(server, http, key, Answer(status, headers={"Location": f"{api.url}/register"}))
    assert api.requests == []


def test_an_answer_without_an_end(server: Foreign, http: httpx2.Client, key: PrivateKey) -> None:
    with pytest.raises(RemoteError, match="more than 262144 bytes"):
        _register(server, http, key, Answer(201, raw=b" " * (flow.MAX_REPLY + 1)))


@pytest.mark.parametrize("status", [429, 503])
def test_it_is_sent_again_only_where_it_was_not_taken(
    server: Foreign, http: httpx2.Client, key: PrivateKey, status: int
) -> None:
    busy, made = Answer(status, {}, {"Retry-After": "1"}), Answer(201, _members(server))
    assert _register(server, http, key, busy, made).client_id == "chosen-by-server"
    assert len(server.sent("/register")) == 2


@pytest.mark.parametrize("status", [500, 502, 504])
def test_registration_is_not_sent_again_if_it_may_be_done(
    server: Foreign, http: httpx2.Client, key: PrivateKey, status: int
) -> None:
    with pytest.raises(RemoteError):
        _register(server, http, key, Answer(status, {}), Answer(201, _members(server)))
    assert len(server.sent("/register")) == 1


@pytest.mark.parametrize("endpoint", [None, "http://as.example/register", 7, "ftp://as.example/register"])
def test_an_endpoint_that_cannot_be_used(foreign: Foreign, http: httpx2.Client, key: PrivateKey, endpoint: Any) -> None:
    foreign.default[WELL_KNOWN] = metadata_answer(foreign.url, registration_endpoint=endpoint)
    with pytest.raises(RemoteError, match=r"lets no client register itself|must be an https URL"):
        _register(foreign, http, key)
    assert [request.path for request in foreign.requests] == [WELL_KNOWN]


@pytest.mark.parametrize("token", ["", "two words", "line\r\nX-Evil: 1", "a" * 5000, "\x1b", "é", "="])
def test_a_token_that_can_be_none_is_not_sent(
    server: Foreign, http: httpx2.Client, key: PrivateKey, token: str
) -> None:
    with pytest.raises(LocalError) as refusal:
        transport.run(registration.register(f"{server.url}/register", token, key.public(), clock=time.time), http)
    with pytest.raises(LocalError):
        transport.run(registration.deregister(f"{server.url}/register/c", token, clock=time.time), http)
    assert server.requests == []
    assert not token or token == "=" or token not in str(refusal.value)


@pytest.mark.rfc(7592, "2.3")
def test_taking_it_back(server: Foreign, http: httpx2.Client) -> None:
    server.default["/register/c"] = Answer(204, raw=b"")
    transport.run(registration.deregister(f"{server.url}/register/c", MANAGEMENT, clock=time.time), http)
    (sent,) = server.requests
    assert (sent.method, sent.headers["authorization"]) == ("DELETE", f"Bearer {MANAGEMENT}")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(200, {}), "answered 200"),
        (Answer(307, {}, {"Location": "http://127.0.0.1:9/"}), "a redirect"),
        (Answer(401, {"error": "invalid_token"}), "invalid_token"),
        (Answer(404, raw=b"[" * 200_000), "answered 404"),
    ],
)
def test_refused_deregistration_is_an_error(server: Foreign, http: httpx2.Client, answer: Answer, message: str) -> None:
    server.default["/register/c"] = answer
    with pytest.raises(RemoteError, match=message):
        transport.run(registration.deregister(f"{server.url}/register/c", MANAGEMENT, clock=time.time), http)
