"""Introspection responses as JWTs (RFC 9701), and the requests for them."""

from typing import Any

import pytest

from affiant.jose import compact, keys
from affiant.oauth import names
from affiant.oauth.introspection import MEDIA_TYPE, build, verify, wants_jwt

ISSUER, NOW = "https://as.example", 1_800_000_000
KEY = keys.generate("ES256")


@pytest.mark.rfc(9701, "4")
@pytest.mark.parametrize(
    ("accept", "is_wanted"),
    [
        (MEDIA_TYPE, True),
        (MEDIA_TYPE.upper(), True),
        (f" {MEDIA_TYPE} ; q=0.5 ", True),
        (f"text/html, {MEDIA_TYPE}", True),
        (f"{MEDIA_TYPE}, application/json", True),
        (f"{MEDIA_TYPE}, */*;q=0.8", True),
        (f"{MEDIA_TYPE};q=0.9, application/json;q=0.8, */*", True),
        (f"{MEDIA_TYPE};q=0.5, application/json", False),
        (f"{MEDIA_TYPE};q=0.5, application/*", False),
        (f"{MEDIA_TYPE};q=0", False),
        (f"{MEDIA_TYPE};q=0.000", False),
        (f"{MEDIA_TYPE};q=x", False),
        (f"{MEDIA_TYPE};q=2", False),
        (f"{MEDIA_TYPE};q=-1", False),
        ("application/jwt", False),
        ("application/json", False),
        ("application/*", False),
        ("*/*", False),
        ("", False),
        (";,;q=", False),
        ("\xff\x00", False),
        ("," * 5000 + MEDIA_TYPE, False),
    ],
)
def test_accept_header_requests_a_jwt(accept: str, is_wanted: bool) -> None:
    assert wants_jwt([accept.encode("latin-1")]) is is_wanted


def test_of_several_headers_all_count() -> None:
    assert not wants_jwt([])
    assert wants_jwt([b"text/html", MEDIA_TYPE.encode()])


@pytest.mark.rfc(9701, "5")
async def test_built_answer_verifies() -> None:
    members = {"active": True, "sub": "c", "exp": NOW + 60}
    parsed = compact.parse(await build(members, issuer=ISSUER, audience="rs", now=NOW + 0.7, signer=KEY))
    assert parsed.claims == {"iss": ISSUER, "aud": "rs", "iat": NOW, "token_introspection": members}
    assert parsed.header["typ"] == names.INTROSPECTION_TYP
    assert verify(compact.verify(parsed, KEY.public()), issuer=ISSUER, audience="rs", now=NOW) == members


@pytest.mark.parametrize(
    ("changes", "typ"),
    [
        ({"iss": "https://evil.example"}, names.INTROSPECTION_TYP),
        ({"aud": "other"}, names.INTROSPECTION_TYP),
        ({"aud": ["rs", "other"]}, names.INTROSPECTION_TYP),
        ({"aud": None}, names.INTROSPECTION_TYP),
        ({"iat": NOW - 91}, names.INTROSPECTION_TYP),
        ({"iat": NOW + 31}, names.INTROSPECTION_TYP),
        ({"iat": "x"}, names.INTROSPECTION_TYP),
        ({"token_introspection": None}, names.INTROSPECTION_TYP),
        ({"token_introspection": {}}, names.INTROSPECTION_TYP),
        ({"token_introspection": {"active": "true"}}, names.INTROSPECTION_TYP),
        ({}, "at+jwt"),
        ({}, "JWT"),
    ],
)
def test_what_is_not_believed(changes: dict[str, Any], typ: str) -> None:
    claims = {"iss": ISSUER, "aud": "rs", "iat": NOW, "token_introspection": {"active": True}, **changes}
    verified = compact.verify(compact.parse(compact.sign({"typ": typ}, claims, KEY)), KEY.public())
    with pytest.raises(ValueError):  # noqa: PT011 - which one is for people
        verify(verified, issuer=ISSUER, audience="rs", now=NOW)
