import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affiant.oauth import metadata, names

ISSUER = "https://as.example"
DOCUMENT = {"issuer": ISSUER, "token_endpoint": f"{ISSUER}/token", "jwks_uri": f"{ISSUER}/jwks", "more": [1]}


@pytest.mark.parametrize(
    "issuer",
    [
        "https://as.example",
        "https://as.example:8443",
        "https://as.example/tenant/one",
        "http://127.0.0.1:8377",
        "http://localhost:8377",
        "http://[::1]:8377",
        "https://[2001:db8::1]",
    ],
)
def test_check_issuer_returns_a_good_one(issuer: str) -> None:
    assert metadata.check_issuer(issuer) == issuer


@pytest.mark.parametrize(
    "issuer",
    [
        "http://10.0.0.1",
        "http://localhost.evil",
        "https://[::1",
    ],
)
def test_check_issuer_refuses_another(issuer: str) -> None:
    with pytest.raises(ValueError, match=r"issuer|IPv6"):
        metadata.check_issuer(issuer)
    with pytest.raises(ValueError, match=r"issuer|IPv6"):
        metadata.check_own_issuer(issuer)


@pytest.mark.parametrize("issuer", ["https://as.example/", "https://AS.example", "https://as.example/a/"])
@pytest.mark.rfc(8414, "2")
def test_issuer_of_others_is_taken_as_they_spell_it(issuer: str) -> None:
    """Our own server has one spelling only."""
    assert metadata.check_issuer(issuer) == issuer
    with pytest.raises(ValueError, match="slash"):
        metadata.check_own_issuer(issuer)


@pytest.mark.rfc(8414, "2")
def test_jwks_uri_is_optional_and_required_where_keys_are_needed() -> None:
    members = {name: value for name, value in DOCUMENT.items() if name != "jwks_uri"}
    parsed = metadata.parse(json.dumps(members).encode(), issuer=ISSUER)
    assert parsed.token_endpoint == f"{ISSUER}/token"
    with pytest.raises(ValueError, match="jwks_uri"):
        parsed.require_jwks_uri()


def test_openid_document_of_an_issuer_with_a_slash() -> None:
    assert metadata.openid_url("https://as.example/a/") == "https://as.example/a/.well-known/openid-configuration"


@given(st.text() | st.text().map("https://".__add__))
def test_check_issuer_never_fails_otherwise(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert metadata.check_issuer(text) == text


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        ("https://as.example", "https://as.example/.well-known/oauth-authorization-server"),
        ("https://as.example:1/a/b", "https://as.example:1/.well-known/oauth-authorization-server/a/b"),
        ("https://as.example/a/", "https://as.example/.well-known/oauth-authorization-server/a"),
    ],
)
def test_well_known_goes_between_host_and_path(issuer: str, url: str) -> None:
    assert metadata.well_known_url(issuer) == url


def test_well_known_takes_another_suffix() -> None:
    url = metadata.well_known_url(f"{ISSUER}/a", suffix=names.WELL_KNOWN_OPENID)
    assert url == f"{ISSUER}/.well-known/openid-configuration/a"


def test_slash_at_the_end_of_the_issuer_is_told() -> None:
    body = b'{"issuer": "https://as.example"}'
    with pytest.raises(ValueError, match="name it exactly so, without the slash at the end;"):
        metadata.parse(body, issuer="https://as.example/")
    with pytest.raises(ValueError, match="name it exactly so;"):
        metadata.parse(body, issuer="https://other.example")


def test_parse_reads_the_endpoints() -> None:
    parsed = metadata.parse(json.dumps(DOCUMENT).encode(), issuer=ISSUER)
    assert (parsed.issuer, parsed.token_endpoint, parsed.jwks_uri) == (ISSUER, f"{ISSUER}/token", f"{ISSUER}/jwks")
    assert parsed.raw == DOCUMENT


def test_issuer_that_only_signs_has_no_token_endpoint() -> None:
    body = json.dumps({name: value for name, value in DOCUMENT.items() if name != "token_endpoint"}).encode()
    parsed = metadata.parse(body, issuer=ISSUER)
    assert (parsed.token_endpoint, parsed.require_jwks_uri()) == (None, f"{ISSUER}/jwks")


@pytest.mark.parametrize(
    ("status", "is_elsewhere"),
    [(400, True), (401, True), (403, True), (404, True), (405, True), (429, False), (500, False)],
)
def test_metadata_are_looked_for_elsewhere(status: int, is_elsewhere: bool) -> None:
    assert (status in metadata.ELSEWHERE) is is_elsewhere


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(lambda value: json.dumps(value).encode()))
def test_parse_never_fails_otherwise(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the kind is what matters
        metadata.parse(body, issuer=ISSUER)


def test_parse_refuses_deep_nesting() -> None:
    with pytest.raises(ValueError, match="deep"):
        metadata.parse(b"[" * 100_000, issuer=ISSUER)
