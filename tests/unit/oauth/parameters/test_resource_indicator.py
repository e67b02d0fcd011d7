from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affiant.oauth.parameters import resource_indicator


@pytest.mark.parametrize(
    "text",
    ["https://api.example", "https://api.example/orders?v=1", "urn:example:orders", "HTTPS://API.example:443/", "a:b"],
)
def test_parse_returns_an_absolute_uri(text: str) -> None:
    assert resource_indicator.parse(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "orders",
        "/orders",
        "//api.example",
        "https:",
        "https://a#",
        "https://a#b",
        "https://a b",
        "https://a\n",
        "1a:b",
        "a:\u00e9",
    ],
)
def test_parse_refuses_another(text: str) -> None:
    with pytest.raises(ValueError, match="absolute URI"):
        resource_indicator.parse(text)


@given(st.text() | st.text().map("https://".__add__))
def test_parse_never_fails_otherwise(text: str) -> None:
    try:
        assert resource_indicator.parse(text) == text
    except ValueError:
        return
    assert not set(text) & set(' "#<>\\^`{|}')
    assert text.isascii()
    assert text.isprintable()
    assert ":" in text


def test_parse_agrees_with_the_standard_library() -> None:
    parts = urlsplit(resource_indicator.parse("https://api.example:8443/orders?v=1"))
    assert (parts.scheme, parts.netloc, parts.path, parts.query) == ("https", "api.example:8443", "/orders", "v=1")


def test_parse_limits_the_length() -> None:
    assert resource_indicator.parse("a:" + "x" * 2000)
    for text in ("a:" + "x" * 2001, "a" * 33 + ":x"):
        with pytest.raises(ValueError, match="absolute URI"):
            resource_indicator.parse(text)


@pytest.mark.parametrize("text", ["https://a/%zz", "https://a/%", "https://a/%4"])
def test_parse_refuses_broken_escapes(text: str) -> None:
    """RFC 3986 section 2.1: a percent sign begins an escape, or the text is no URI."""
    with pytest.raises(ValueError, match="absolute URI"):
        resource_indicator.parse(text)
