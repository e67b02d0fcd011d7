"""Hints of refusals for which the server gives no reason."""

import json
import re
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import httpx2
import pytest
from tests.unit.client.conftest import Answer, Foreign, metadata_answer

from affiant import Service
from affiant.errors import Refused
from affiant.jose.keys import PrivateKey

WELL_KNOWN = "/.well-known/oauth-authorization-server"
SECRET = "canary-5f1d0c6e7a934b21-canary-5f1d0c6e7a934b21"
METHODS = "token_endpoint_auth_methods_supported"
ALGORITHMS = "token_endpoint_auth_signing_alg_values_supported"
Refuse = Callable[..., Refused]


@pytest.fixture
def refuse(foreign: Foreign, http: httpx2.Client, key: PrivateKey) -> Refuse:
    """Return the refusal of a service by a server with these metadata and this answer."""

    def refuse(
        metadata: dict[str, Any], answer: dict[str, Any], *, date: float | None = None, **options: Any
    ) -> Refused:
        foreign.default[WELL_KNOWN] = metadata_answer(foreign.url, **metadata)
        headers = {} if date is None else {"Date": formatdate(time.time() + date, usegmt=True)}
        foreign.default["/token"] = Answer(401, {"error": "invalid_client", **answer}, headers)
        chosen = options if "secret" in options else {"key": key, **options}
        service = Service(foreign.url, "billing", http=http, **chosen)
        with pytest.raises(Refused) as caught:
            service.token()
        with pytest.raises(Refused) as again:  # from memory
            service.token()
        assert str(again.value) == str(caught.value)
        return caught.value

    return refuse


def test_hint_has_what_was_sent_and_what_is_listed(refuse: Refuse, foreign: Foreign, key: PrivateKey) -> None:
    lists = {METHODS: ["private_key_jwt", "client_secret_basic"], ALGORITHMS: ["RS256", "PS256"]}
    found = refuse(lists, {}, date=0)
    first, sent, listed, remedy = str(found).split("\n")
    assert first == "invalid_client"
    assert sent == (
        f"  sent: private_key_jwt, alg ES256, kid {key.kid}, typ client-authentication+jwt, aud {foreign.url},"
        " valid for 60 s; the clocks agree"
    )
    assert listed == f"  its metadata list: {METHODS} private_key_jwt, client_secret_basic; {ALGORITHMS} RS256, PS256"
    assert (
        remedy == "  likely remedy: sign with one of its algorithms: another key=, or alg= for the same one (not ES256)"
    )
    assert found.hint == f"{sent}\n{listed}\n{remedy}"


@pytest.mark.parametrize(
    ("metadata", "answer", "options", "words"),
    [
        (
            {METHODS: ["client_secret_basic"]},
            {},
            {},
            "authenticate by client_secret_basic: it does not take private_key",
        ),
        ({METHODS: ["client_secret_post"]}, {}, {"secret": SECRET}, "auth_method='client_secret_post'"),
        ({METHODS: ["private_key_jwt"]}, {}, {"secret": SECRET}, "register a key or a certificate"),
        ({}, {}, {"secret": SECRET}, "some servers take it by auth_method='client_secret_post' alone"),
        ({}, {}, {"secret": SECRET, "auth_method": "client_secret_post"}, "auth_method='client_secret_basic' alone"),
        ({}, {}, {"secret": SECRET, "auth_method": "client_secret_jwt"}, "register the public key"),
        ({}, {"error_description": "Invalid claim: 'aud'"}, {}, "try unsafe_audience='token_endpoint'"),
        ({}, {"error_description": "bad audience"}, {"unsafe_audience": "urn:x"}, "leave unsafe_audience= out"),
        ({}, {"error_description": "JWT expired"}, {}, "shorter lifetime="),
        ({}, {"error_description": "unexpected typ 'x'"}, {}, 'header={"typ": "JWT"}'),
        ({}, {"error_description": "Bad signature"}, {}, "register the public key under kid"),
        ({}, {}, {}, "if it is registered, try unsafe_audience='token_endpoint'"),
        ({}, {}, {"unsafe_audience": "urn:x"}, "register the public key under kid"),
        ({}, {"error": "invalid_grant"}, {"grant": "jwt-bearer"}, "and let billing act for sub"),
        ({}, {}, {"unsafe_audience": "fallback"}, "its token endpoint was refused as audience, too"),
    ],
)
def test_remedy_fits(
    refuse: Refuse, metadata: dict[str, Any], answer: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    found = refuse(metadata, answer, **options)
    assert words in found.hint
    assert 2 <= len(found.hint.split("\n")) <= 4
    assert SECRET not in str(found)
    assert "eyJ" not in str(found)


def test_clock_that_is_wrong_is_named(refuse: Refuse) -> None:
    """It is no remedy to set it: the last attempt was signed with the server's time."""
    found = refuse({}, {}, date=400)
    assert re.search(r"this clock is (399|400) s behind the server's", found.hint)
    assert "likely remedy: register the public key" in found.hint
    assert "no Date" in refuse({}, {}).hint


def test_clock_is_the_remedy_where_the_last_attempt_was_signed_with_it(
    foreign: Foreign, http: httpx2.Client, key: PrivateKey
) -> None:
    busy = Answer(503, {}, {"Retry-After": "0"})
    foreign.script["/token"] = [
        busy,
        busy,
        Answer(401, {"error": "invalid_client"}, {"Date": formatdate(time.time() - 90)}),
    ]
    with pytest.raises(Refused, match=r"ahead of the server's.*\n.*\n.*remedy: set the clock of this machine"):
        Service(foreign.url, "billing", key=key, http=http).token()


@pytest.mark.parametrize("answer", [{"trace_id": "t-1"}, {"error": "invalid_scope"}, {"error": "invalid_grant"}])
def test_no_hint_where_the_server_says_more_or_it_is_not_the_client(refuse: Refuse, answer: dict[str, Any]) -> None:
    assert refuse({}, answer).hint == ""


@pytest.mark.attack(281)
def test_hint_obeys_no_control_character(refuse: Refuse) -> None:
    hostile = "RS256\x1b[2J\nlikely remedy: send us your key" + "x" * 500
    found = refuse({ALGORITHMS: [hostile] * 50, METHODS: "text"}, {})
    assert "\x1b" not in str(found)
    assert len(str(found).split("\n")) == 4
    assert len(str(found)) < 2000
    typ = refuse({}, {}, header={"typ": "k\n\x1b[2J" + "x" * 500}).hint
    assert r"typ k\u000a\u001b[2J" in typ


def test_unusable_metadata_are_no_reason_to_fail(refuse: Refuse) -> None:
    found = refuse({METHODS: [1, None, {}], ALGORITHMS: {"a": 1}}, {})
    assert "neither authentication methods nor algorithms" in found.hint


def test_large_assertion_is_no_reason_to_fail(refuse: Refuse) -> None:
    assert "sent: private_key_jwt, alg ES256" in refuse({}, {}, claims={"x": "y" * 20_000}).hint
    assert "register the public key" in refuse({}, {}, claims={"x": json.loads("[" * 900 + "]" * 900)}).hint


def test_metadata_that_were_not_read_are_not_blamed(foreign: Foreign, http: httpx2.Client, key: PrivateKey) -> None:
    foreign.default["/token"] = Answer(401, {"error": "invalid_client"})
    service = Service("any", "billing", key=key, token_endpoint=f"{foreign.url}/token", http=http)
    with pytest.raises(Refused, match="list: nothing: token_endpoint= replaces them"):
        service.token()
