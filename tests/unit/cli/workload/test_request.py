"""The rules of the proxy without a network: where a request goes, and where an answer leads."""

import pytest

from affiant.cli.workload.request import Target
from affiant.errors import ConfigError


def _target(url: str) -> Target:
    return Target.parse(url, unsafe_http=False)


@pytest.mark.parametrize("path", [b"/", b"//evil.example/x", b"/@evil.example", b"/a?x", b"/%2f%2fevil.example"])
def test_origin_is_never_of_the_request(path: bytes) -> None:
    for url, prefix in (("https://API.example", b""), ("https://api.example/v1/", b"/v1")):
        target = _target(url)
        assert target.origin == "https://api.example"
        assert target.forward({"raw_path": path, "query_string": b"a=//b"}) == prefix + path + b"?a=//b"


@pytest.mark.parametrize(
    ("location", "seen"),
    [
        (b"https://api.example/v1//evil.example", b"http://here:1//evil.example"),
        (b"HTTPS://API.EXAMPLE/v1/x", b"http://here:1/x"),
        (b"https://api.example/v1?x", b"http://here:1?x"),
        (b"https://api.example/v1@evil.example", b"https://api.example/v1@evil.example"),
        (b"https://api.example:444/v1/x", b"https://api.example:444/v1/x"),
        (b"//evil.example/v1", b"//evil.example/v1"),
    ],
)
def test_location_leads_back_to_the_proxy_or_stays(location: bytes, seen: bytes) -> None:
    """A whole address each time: a path with two slashes alone would lead to another host."""
    assert _target("https://api.example/v1").back(location, b"here:1") == seen


@pytest.mark.parametrize(
    "url",
    ["api.example", "ftp://api.example", "https://", "https://a:b@api.example", "https://api.example?x", "http://api.example",
     "https://api.example#x", "https://api.example/a b", "https://api.example/\u00e9", "https://[::1", "https://api.example:99999", "https://api.example:x"],
)  # fmt: skip
def test_impossible_api(url: str) -> None:
    with pytest.raises(ConfigError):
        _target(url)
