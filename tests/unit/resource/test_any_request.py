"""A check of a request from any framework: its method, URL and headers go in, a caller or a response comes out."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.resource.issuer import NOW, Issuer

from affiant.jose import keys
from affiant.oauth.binding import dpop
from affiant.resource import Caller, Denied, Guard

Check = Callable[..., Caller | Denied]


def _in_a_loop(guard: Guard, *request: Any, **options: Any) -> Caller | Denied:
    return asyncio.run(guard.check_request(*request, **options))


def _in_a_thread(guard: Guard, *request: Any, **options: Any) -> Caller | Denied:
    return guard.check_request_sync(*request, **options)


@pytest.fixture(params=[_in_a_loop, _in_a_thread])
def check(request: pytest.FixtureRequest) -> Check:
    found: Check = request.param
    return found


def test_headers_have_any_case(check: Check) -> None:
    issuer = Issuer()
    found = check(
        issuer.guard(), "GET", "/orders?page=2", {"AUTHORIZATION": issuer.token(scope="a").decode()}, need="a"
    )
    assert isinstance(found, Caller)
    assert found.client_id == "c"


def test_refusal_is_a_response(check: Check) -> None:
    found = check(Issuer().guard(), "GET", "/orders", {}, need="a")
    assert isinstance(found, Denied)
    assert found.status == 401
    assert 'scope="a"' in found.headers["WWW-Authenticate"]


def test_two_tokens_are_refused(check: Check) -> None:
    issuer = Issuer()
    token = issuer.token().decode()
    found = check(issuer.guard(), "GET", "/orders", [("Authorization", token), ("authorization", token)])
    assert isinstance(found, Denied)
    assert found.status == 400


def test_token_in_the_query_too(check: Check) -> None:
    issuer = Issuer()
    found = check(issuer.guard(), "GET", "/orders?access_token=x", {"Authorization": issuer.token().decode()})
    assert isinstance(found, Denied)
    assert found.error == "invalid_request"


@pytest.mark.parametrize(
    ("url", "headers", "is_accepted"),
    [
        ("https://api.example/orders?page=2", {}, True),
        ("https://api.example/orders", {"Host": "other.example"}, True),
        ("/orders", {"Host": "api.example"}, False),  # the scheme is http
        ("https://other.example/orders", {"Host": "api.example"}, False),
        ("https://api.example/order", {}, False),
        ("//api.example/orders", {}, False),
        ("https://[api.example/orders", {}, False),
        ("https://\u20ac.example/orders", {"X-\u20ac": "\u20ac"}, False),
        ("orders", {}, False),
        ("", {}, False),
    ],
)
def test_a_proof_is_for_this_address(check: Check, url: str, headers: dict[str, str], *, is_accepted: bool) -> None:
    issuer, key = Issuer(), dpop.ProofKey.of(keys.generate("ES256"))
    token = issuer.token(cnf={"jkt": key.thumbprint}).decode().removeprefix("Bearer ")
    proof = dpop.build(key, method="GET", url="https://api.example/orders", now=NOW, access_token=token)
    sent = {"Authorization": f"DPoP {token}", "DPoP": proof, **headers}
    assert isinstance(check(issuer.guard(), "GET", url, sent), Caller if is_accepted else Denied)
