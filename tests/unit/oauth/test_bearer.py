import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth import bearer

TOKEN = st.from_regex(r"\A[A-Za-z0-9._~+/-]+=*\Z")


@given(TOKEN, st.sampled_from([b"Bearer ", b"bearer ", b"BEARER "]))
def test_parse_takes_every_token68(token: str, scheme: bytes) -> None:
    assert bearer.parse_authorization([scheme + token.encode()]) == bearer.PresentedToken("Bearer", token)
    assert bearer.parse_authorization([b"dpop " + token.encode()]) == bearer.PresentedToken("DPoP", token)


@given(st.lists(st.binary() | st.binary().map(lambda tail: b"Bearer " + tail), max_size=3))
def test_parse_never_fails_otherwise(values: list[bytes]) -> None:
    try:
        shown = bearer.parse_authorization(values)
    except Rejected as refusal:
        assert refusal.reason in {Reason.TOKEN_REQUEST, Reason.TOKEN_MALFORMED}
    else:
        assert shown is None or re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", shown.token)


@pytest.mark.parametrize("values", [[], [b""], [b"Basic eDp5"], [b"DPoPx y"], [b"BearerX y"], [b"Bearer\tx"]])
def test_parse_finds_none(values: list[bytes]) -> None:
    assert bearer.parse_authorization(values) is None


@pytest.mark.parametrize(
    "value", [b"Bearer", b"Bearer ", b"Bearer a b", b"Bearer =", b"Bearer a=b", b"Bearer x\n", b"Bearer \xff"]
)
def test_parse_refuses_a_malformed_one(value: bytes) -> None:
    with pytest.raises(Rejected) as refusal:
        bearer.parse_authorization([value])
    assert refusal.value.reason is Reason.TOKEN_MALFORMED


def test_two_headers_are_rejected() -> None:
    for values in ([b"Bearer x", b"Bearer x"], [b"Basic eDp5", b"Bearer x"], [b"", b""]):
        with pytest.raises(Rejected) as refusal:
            bearer.parse_authorization(values)
        assert refusal.value.reason is Reason.TOKEN_REQUEST


def test_challenge_without_parameters_is_the_scheme() -> None:
    assert bearer.challenge() == "Bearer"
    assert bearer.challenge(scheme="DPoP") == "DPoP"


def test_challenge_has_the_given_parameters() -> None:
    value = bearer.challenge(realm="r", error="e", description="d", scope="a b", resource_metadata="https://m")
    assert value == 'Bearer realm="r", error="e", error_description="d", scope="a b", resource_metadata="https://m"'


@given(st.text())
def test_challenge_cannot_be_broken_out_of(text: str) -> None:
    """No quote, backslash or line end of a caller's gets into the header."""
    value = bearer.challenge(realm=text, error=text, description=text, scope=text)
    assert re.fullmatch(r'Bearer( \w+="[\x20\x21\x23-\x5b\x5d-\x7e]*",?){4}', value)
