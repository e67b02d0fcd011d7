"""The URL that a proof must name: that of the request, as its sender knows it."""

from typing import Any

import pytest

from affiant.errors import ConfigError
from affiant.oauth.resource_request import from_environ, read
from affiant.resource import Guard, Proved

PROOF = (b"dpop", b"p")


def _scope(*headers: tuple[bytes, bytes], **more: Any) -> dict[str, Any]:
    scope = {"type": "http", "method": "GET", "scheme": "http", "path": "/a b", "raw_path": b"/a%20b"}
    return {**scope, "query_string": b"x=1", "headers": [(b"host", b"10.0.0.7:8000"), PROOF, *headers], **more}


def test_url_is_that_of_the_request() -> None:
    values, proved = read(_scope((b"authorization", b"DPoP t")), base=None)
    assert (values, proved) == ([b"DPoP t"], Proved("GET", "http://10.0.0.7:8000/a%20b", (b"p",)))


@pytest.mark.parametrize("url", ["https://api.example", "https://API.example:443/", "https://api.example/v1/"])
def test_public_url_precedes_the_path(url: str) -> None:
    guard = Guard("https://as.example", audience="x", url=url)
    _, proved = read(_scope(), base=guard.url)
    assert proved is not None
    assert proved.url == f"https://api.example{'/v1' if '/v1' in url else ''}/a%20b"


def test_decoded_path_is_encoded_again() -> None:
    _, proved = read(_scope(path="/a b/\u00e9?", raw_path=None), base="https://a")
    assert proved is not None
    assert proved.url == "https://a/a%20b/%C3%A9%3F"


def test_nothing_is_made_for_a_bearer() -> None:
    scope: dict[str, Any] = {"headers": [(b"authorization", b"Bearer t")]}  # the rest is not even looked at
    assert read(scope, base=None) == ([b"Bearer t"], None)


def test_request_without_a_host_has_no_url() -> None:
    _, proved = read(_scope(headers=[PROOF]), base=None)
    assert proved is not None
    assert proved.url == "http:///a%20b"


@pytest.mark.parametrize("options", [{"url": "api.example"}, {"url": ""}, {"dpop": "never"}, {"nonce_key": b"short"}])
def test_impossible_url_is_rejected(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Guard("https://as.example", audience="x", **options)


def _environ(**more: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/v1",
        "PATH_INFO": "/a b/\u00c3\u00a9",  # UTF-8 as PEP 3333 has it
        "QUERY_STRING": "x=1",
        "wsgi.url_scheme": "https",
        "HTTP_HOST": "api.example",
        "HTTP_DPOP": "p",
        "HTTP_AUTHORIZATION": "DPoP t",
        **more,
    }


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({}, "/v1/a%20b/%C3%A9"),
        ({"RAW_URI": "/v1/a%20b/%c3%a9?x=1"}, "/v1/a%20b/%c3%a9"),
        ({"REQUEST_URI": "/v1/a%2Fb"}, "/v1/a%2Fb"),
        ({"RAW_URI": "*"}, "/v1/a%20b/%C3%A9"),
    ],
)
def test_request_of_wsgi_has_the_same_parts(more: dict[str, str], path: str) -> None:
    values, proved = read(from_environ(_environ(**more)), base=None)
    assert (values, proved) == ([b"DPoP t"], Proved("POST", f"https://api.example{path}", (b"p",)))


def test_request_of_wsgi_may_lack_everything() -> None:
    assert read(from_environ({}), base=None) == ([], None)
    _, proved = read(from_environ({"HTTP_DPOP": "p"}), base=None)
    assert proved == Proved("GET", "http:///", (b"p",))


def test_request_of_wsgi_without_a_host_was_sent_to_the_server() -> None:
    """PEP 3333 has this for the URL of a request."""
    _, proved = read(from_environ({"HTTP_DPOP": "p", "SERVER_NAME": "a.example", "SERVER_PORT": "80"}), base=None)
    assert proved is not None
    assert proved.url == "http://a.example:80/"


@pytest.mark.parametrize("name", ["HTTP_CLIENT_CERT", "HTTP_SSL_CLIENT_CERT", "HTTP_X_FORWARDED_CLIENT_CERT"])
def test_no_certificate_is_read_from_wsgi(name: str) -> None:
    """Attack: `Client_Cert` passes the proxy, and WSGI spells it as the header of the proxy."""
    assert [header for header, _ in from_environ(_environ(**{name: "x"}))["headers"]] == [
        b"authorization",
        b"dpop",
        b"host",
    ]
