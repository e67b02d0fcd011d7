"""Captured requests in every format."""

import json
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affiant.errors import ConfigError
from affiant.server.explain import captured
from affiant.server.explain.captured import FORM_TYPE, Captured

FORM = {"a": ["b c"], "d": ["e"]}


def _headers(found: Captured) -> dict[str, str]:
    return {name.lower(): value for name, value in found.headers}


@pytest.mark.parametrize(
    "line",
    [
        "curl https://as/token -d a=b+c -d d=e",
        "curl -sS -XPOST https://as/token --data 'a=b%20c&d=e'",
        "curl --url https://as/token --data-raw a=b+c --data-binary d=e --compressed",
        "curl https://as/token \\\n  -d a=b+c \\\n  -d d=e",
        "curl https://as/token --data-urlencode 'a=b c' -d d=e -o out.json",
        'curl -X POST "https://as/token" -H "Accept: */*" -d a=b+c -d d=e -m 5 -L',
    ],
)
def test_curl(line: str) -> None:
    found = captured.parse(line)
    assert (found.method, found.url, parse_qs(found.body.decode())) == ("POST", "https://as/token", FORM)
    assert _headers(found)["content-type"] == FORM_TYPE


def test_curl_with_other_parts() -> None:
    found = captured.parse("curl -u billing:s3cret https://as/token -d a=b -H 'Content-Type: application/json'")
    assert _headers(found) == {"content-type": "application/json", "authorization": "Basic YmlsbGluZzpzM2NyZXQ="}
    found = captured.parse("curl -G https://as/token -d a=b")
    assert (found.method, found.url, found.body) == ("GET", "https://as/token?a=b", b"")
    assert captured.parse("curl https://as/token").method == "GET"
    assert _headers(captured.parse("curl https://as/token -F a=b"))["content-type"].startswith("multipart/form-data")


@pytest.mark.parametrize("line", ["curl 'https://as", "curl https://as/token -d @file", "curl -d", "curl -H"])
def test_curl_that_cannot_be_read(line: str) -> None:
    with pytest.raises(ConfigError, match="curl line"):
        captured.parse(line)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_http(end: str) -> None:
    text = end.join(["POST /token HTTP/1.1", "Host: as", f"Content-Type: {FORM_TYPE}", "", "a=b"])
    found = captured.parse(text)
    assert (found.method, found.url, found.body) == ("POST", "/token", b"a=b")
    assert found.scope()["headers"] == [
        (b"host", b"as"),
        (b"content-type", FORM_TYPE.encode()),
        (b"content-length", b"3"),
    ]
    assert captured.parse(end.join(["GET /token?a=b HTTP/1.1", "Host: as"])).scope()["query_string"] == b"a=b"


def test_har() -> None:
    request = {"method": "POST", "url": "https://as/token", "headers": [{"name": "A", "value": "b"}]}
    other = {"request": {**request, "url": "https://as/other"}}
    entry = {"request": {**request, "postData": {"text": "a=b"}}}
    for text in (entry, entry["request"], {"log": {"entries": [entry, other]}}):
        assert captured.parse(json.dumps(text)) == Captured("POST", "https://as/token", (("A", "b"),), b"a=b")
    parameters = {**request, "postData": {"params": [{"name": "a", "value": "b c"}]}}
    assert captured.parse(json.dumps(parameters)).body == b"a=b+c"


@pytest.mark.parametrize(
    "text", ["{", "{}", '{"request": 1}', '{"log": {"entries": []}}', '{"log": 1}', '{"a":' * 100_000]
)
def test_json_that_is_no_har(text: str) -> None:
    with pytest.raises(ConfigError, match="HAR"):
        captured.parse(text)


@pytest.mark.parametrize(
    "text", ["eyJh.eyJi.c", "Bearer eyJh.eyJi.c", "Authorization: Bearer eyJh.eyJi.c", " eyJh.eyJi.c\n"]
)
def test_jwt(text: str) -> None:
    form = parse_qs(captured.parse(text).body.decode())
    assert form["client_assertion"] == ["eyJh.eyJi.c"]
    assert form["grant_type"] == ["client_credentials"]


def test_form() -> None:
    assert captured.parse("grant_type=client_credentials&scope=a") == Captured(
        "POST", "/token", (("Content-Type", FORM_TYPE),), b"grant_type=client_credentials&scope=a"
    )


@pytest.mark.parametrize("text", ["curl https://[::1/ -d a=b", "POST https://[ HTTP/1.1\nHost: a\n\na=b"])
def test_an_invalid_url(text: str) -> None:
    with pytest.raises(ConfigError, match="URL of this request cannot be parsed"):
        captured.parse(text)


@given(
    st.text() | st.text().map("curl ".__add__) | st.text().map("{".__add__) | st.text().map("POST / HTTP/1.1\n".__add__)
)
def test_never_fails_otherwise(text: str) -> None:
    try:
        found = captured.parse(text)
    except ConfigError:
        return
    assert found.scope()["method"] == found.method
