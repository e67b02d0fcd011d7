"""Refusals for the scope: what an API names, as each library shows it, and what is parsed from hostile headers."""

import asyncio
import email.message
import time
import urllib.error
import urllib.request
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
import httpx2
import niquests
import pytest
import requests
import urllib3
from tests.unit.client.conftest import Answer, Foreign
from tests.unit.client.http.faces import FACES

from affiant import Service
from affiant.client import InsufficientScope, check_scope, find_needed_scope
from affiant.client.http.challenge import is_refused
from affiant.errors import RemoteError
from affiant.jose.keys import PrivateKey
from affiant.oauth.bearer import challenge, parse_challenges

NEEDS = Answer(403, {}, {"WWW-Authenticate": 'Bearer realm="orders", error="insufficient_scope", scope="a b"'})


def _urllib(url: str) -> Any:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url)
    with caught.value as error:
        return error


def _urllib3(url: str) -> Any:
    with urllib3.PoolManager() as http:
        return http.request("GET", url)


def _aiohttp(url: str) -> Any:
    async def get() -> Any:
        async with aiohttp.ClientSession() as http, http.get(url) as response:
            return response

    return asyncio.run(get())


RESPONSES = {
    "httpx2": lambda url: httpx2.get(url, verify=False),
    "httpx": lambda url: httpx.get(url, verify=False),
    "requests": requests.get,
    "niquests": niquests.get,
    "urllib3": _urllib3,
    "urllib": _urllib,
    "aiohttp": _aiohttp,
}


@pytest.mark.rfc(6750, "3.1")
@pytest.mark.parametrize("library", list(RESPONSES))
def test_needed_scope_is_named(api: Foreign, library: str) -> None:
    api.default["/orders"] = NEEDS
    response = RESPONSES[library](f"{api.url}/orders")
    assert find_needed_scope(response) == frozenset({"a", "b"})
    with pytest.raises(InsufficientScope, match=r"needs the scope 'a b': request it with service\.auth") as caught:
        check_scope(response)
    assert caught.value.needed == frozenset({"a", "b"})
    assert caught.value.resource in (f"{api.url}/orders", "/orders")
    assert isinstance(caught.value, RemoteError)


def test_no_more_is_requested_by_itself(api: Foreign, foreign: Foreign, key: PrivateKey, http: httpx2.Client) -> None:
    api.default["/orders"] = NEEDS
    service = Service(foreign.url, "billing", key=key, http=http)
    assert FACES["httpx2"].post(f"{api.url}/orders", service.auth(api.url, "a")) == 403
    assert [request.form["scope"] for request in foreign.sent("/token")] == ["a"]


@pytest.mark.parametrize(
    ("status", "text", "needed"),
    [
        (401, 'Bearer error="insufficient_scope", scope="a"', {"a"}),
        (403, 'DPoP algs="ES256", error=insufficient_scope, scope="a  b"', {"a", "b"}),
        (403, 'Bearer error="insufficient_scope"', set()),
        (403, 'Basic realm="scope=\\"x\\"", Bearer Error="insufficient_scope", SCOPE="a"', {"a"}),
        (403, 'Bearer scope="a"', None),
        (403, 'Bearer realm="error=insufficient_scope"', None),
        (403, "", None),
        (200, 'Bearer error="insufficient_scope", scope="a"', None),
        (404, 'Bearer error="insufficient_scope", scope="a"', None),
    ],
)
def test_refusals(status: int, text: str, needed: set[str] | None) -> None:
    assert find_needed_scope(SimpleNamespace(status=status, headers={"WWW-Authenticate": text})) == needed


def test_several_headers_are_read() -> None:
    headers = email.message.Message()
    headers["WWW-Authenticate"] = "Negotiate abcd=="
    headers["WWW-Authenticate"] = 'Bearer error="insufficient_scope", scope="a"'
    assert find_needed_scope(SimpleNamespace(status=403, headers=headers)) == frozenset({"a"})


@pytest.mark.attack(281)
def test_message_shows_no_control_characters() -> None:
    hostile = "\x1b[2J\nalert"
    message = str(InsufficientScope(needed=frozenset({hostile, "x" * 100_000}), resource=f"http://a/{hostile}"))
    assert message.isprintable()
    assert len(message) < 5000


@pytest.mark.parametrize("text", ['a="' * 4000, '\\"' * 8000, "a=" * 8000, "a " * 8000, 'a="\\' * 3000, "," * 9000])
def test_hostile_challenge_is_read_quickly(text: str) -> None:
    begun = time.thread_time()
    parse_challenges(text)
    assert time.thread_time() - begun < 0.5


def test_what_is_built_is_parsed() -> None:
    text = challenge(realm="orders", error="insufficient_scope", scope="a b", scheme="DPoP", algs="ES256")
    expected = {"realm": "orders", "error": "insufficient_scope", "scope": "a b", "algs": "ES256"}
    assert parse_challenges(f"Basic, {text}") == [{}, expected]


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("", True),
        ("Bearer", True),
        ('Bearer realm="error=x"', True),
        ('Bearer error="invalid_token"', True),
        ('Bearer error="invalid_request"', False),
        ('Bearer error=""', False),
        ('Bearer error_description="invalid_token", error="other"', False),
    ],
)
def test_only_a_refused_token_is_renewed(text: str, refused: bool) -> None:
    assert is_refused(401, {"WWW-Authenticate": text}) is refused
    assert not is_refused(403, {"WWW-Authenticate": text})
