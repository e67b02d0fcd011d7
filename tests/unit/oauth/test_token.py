import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affiant.oauth import token
from affiant.oauth.token import TokenResponse

GOOD = {"access_token": "t", "token_type": "Bearer"}
SAYABLE = st.text(min_size=1)
VSCHAR = "".join(map(chr, range(0x20, 0x7F)))  # RFC 6749 appendix A
RESPONSES = st.builds(
    TokenResponse,
    access_token=st.text(VSCHAR[1:], min_size=1),
    token_type=SAYABLE,
    expires_in=st.none() | st.integers(0, 10**14),
    scope=st.none() | SAYABLE,
    refresh_token=st.none() | st.text(VSCHAR, min_size=1),
)


@given(RESPONSES)
def test_built_response_parses(response: TokenResponse) -> None:
    assert token.parse_response(msgspec.json.encode(response)) == response


@given(
    st.binary()
    | st.dictionaries(st.sampled_from([*GOOD, "expires_in"]), st.none() | st.floats() | st.text()).map(
        lambda members: json.dumps(members).encode()
    )
)
def test_parse_never_fails_otherwise(body: bytes) -> None:
    try:
        parsed = token.parse_response(body)
    except ValueError:
        return
    assert parsed.access_token


def test_parse_refuses_deep_nesting() -> None:
    with pytest.raises(ValueError, match="deep"):
        token.parse_response(b"[" * 100_000)


@pytest.mark.parametrize(
    ("given_", "seconds"), [(600, 600), (600.9, 600), ("600", 600), ("0600", 600), (None, None), (0, 0), (-1, -1)]
)
def test_parse_reads_seconds(given_: object, seconds: int | None) -> None:
    assert token.parse_response(json.dumps({**GOOD, "expires_in": given_}).encode()).expires_in == seconds


@pytest.mark.parametrize(
    "bad", ["", "-1", "1.5", "1e3", "\u0661", "9" * 16, True, [], 10**15, float("nan"), float("inf")]
)
def test_wrong_expires_in_is_rejected(bad: object) -> None:
    with pytest.raises(ValueError, match=r"expires_in|not JSON"):
        token.parse_response(json.dumps({**GOOD, "expires_in": bad}).encode())


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"access_token": ""}, "access_token"),
        ({"access_token": None}, "access_token"),
        ({"access_token": 1}, "access_token"),
        ({"token_type": None}, "token_type"),
        ({"token_type": ["Bearer"]}, "token_type"),
    ],
)
def test_parse_needs_token_and_type(change: dict[str, Any], missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        token.parse_response(json.dumps({**GOOD, **change}).encode())


@pytest.mark.rfc(6749, "A.12")
@pytest.mark.parametrize(
    "bad",
    [
        "canary\r\nx: y",
        "canary\n",
        "canary\x00",
        "canary\x1b[2J",
        "canary\x7f",
        "canary\u00e9",
        "canary t",
        " canary",
        "canary ",
    ],
)
def test_an_access_token_is_of_visible_ascii(bad: str) -> None:
    """VSCHAR; and no space, which ends a token where it is sent (RFC 6750 section 2.1, RFC 9449 section 7.1)."""
    with pytest.raises(ValueError, match="access_token") as refused:
        token.parse_response(json.dumps({**GOOD, "access_token": bad}).encode())
    assert "canary" not in str(refused.value)


@pytest.mark.rfc(6749, "A.17")
@pytest.mark.parametrize(
    "bad", ["canary\r\nx: y", "canary\n", "canary\x00", "canary\x1b[2J", "canary\x7f", "canary\u00e9"]
)
def test_a_refresh_token_is_of_printable_ascii(bad: str) -> None:
    with pytest.raises(ValueError, match="refresh_token") as refused:
        token.parse_response(json.dumps({**GOOD, "refresh_token": bad}).encode())
    assert "canary" not in str(refused.value)


def test_tokens_of_other_servers_may_have_other_characters() -> None:
    """Some servers issue tokens that are no b64token, and take them in the header: they are theirs to judge."""
    said = {"access_token": "AAAA%2Fb|c:d", "refresh_token": "a b"}
    assert token.parse_response(json.dumps({**GOOD, **said}).encode()).access_token == "AAAA%2Fb|c:d"


def test_unknown_members_are_ignored() -> None:
    body = json.dumps({**GOOD, "id_token": "x", "scope": ["a"], "refresh_token": ""}).encode()
    assert token.parse_response(body) == TokenResponse("t", "Bearer", None)


def test_forms_have_only_given_parameters() -> None:
    assert token.client_credentials_form(scope=None, resource=None) == [("grant_type", "client_credentials")]
    assert token.client_credentials_form(scope="a b", resource="https://a") == [
        ("grant_type", "client_credentials"),
        ("scope", "a b"),
        ("resource", "https://a"),
    ]
    assert token.refresh_form("r") == [("grant_type", "refresh_token"), ("refresh_token", "r")]
    assert token.refresh_form("r", scope="a")[-1] == ("scope", "a")


def test_tokens_stay_out_of_the_repr() -> None:
    assert "hidden" not in repr(TokenResponse("hidden", "Bearer", 1, refresh_token="hidden"))
