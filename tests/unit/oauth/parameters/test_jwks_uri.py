import pytest

from affiant.oauth.parameters import jwks_uri

GOOD = [
    "https://keys.example/jwks",
    "https://keys.example",
    "https://keys.example:443/",
    "https://keys.example:8443/.well-known/jwks.json?tenant=a%20b&x=1",
    "https://KEYS.example/a/b;c=d,e/@f:g!$&'()*+",
    "https://xn--bcher-kva.example/",
    "https://localhost:65535/",
    "https://192.0.2.1/jwks",
    "https://[2001:db8::1]:8443/jwks",
    "https://keys.example?x",
    "https://a" + "/b" * 994,
]
BAD = [
    "",
    "keys.example",
    "//keys.example/",
    "https:keys.example",
    "https:///jwks",
    "https://",
    "https://a" + "/b" * 996,
    "https://keys.example/ ",
    " https://keys.example/",
    "https://keys.example/\n",
    "https://keys.example/\u00e4",
    "https://k\u00e4ys.example/",
    "https://keys.example\\@evil.example/",
    "https://keys.example/%zz",
    "https://keys%2eexample/",
    "https://keys..example/",
    "https://-keys.example/",
    "https://keys.example./",
    "https://.example/",
    "https://" + "a" * 64 + ".example/",
    "https://keys_1.example/",
]
# Row 212 of the catalogue, and more of its kind.
FORBIDDEN = [
    "http://keys.example/jwks",
    "HTTPS://keys.example/jwks",
    "file:///etc/passwd",
    "ftp://keys.example/jwks",
    "data:application/json,{}",
    "gopher://keys.example/",
    "https://user:pass@keys.example/",
    "https://user@keys.example/",
    "https://@keys.example/",
    "https://keys.example/#fragment",
    "https://keys.example/#",
    "https://keys.example:22/",
    "https://keys.example:25/",
    "https://keys.example:80/",
    "https://keys.example:0/",
    "https://keys.example:1023/",
    "https://keys.example:65536/",
    "https://keys.example:/",
    "https://keys.example:443:443/",
    "https://keys.example:+443/",
    "https://keys.example:4\u0664\u0663/",
]
# Resolvers read these as 127.0.0.1 or another address; people do not.
NUMBERS = [
    "https://127.1/",
    "https://0x7f.1/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://127.0.0.01/",
    "https://127.0.0.256/",
    "https://1.2.3.4.5/",
    "https://0/",
    "https://0x/",
    "https://[::1%eth0]/",
    "https://[::1%25eth0]/",
    "https://[127.0.0.1]/",
    "https://[v1.x]/",
    "https://[::1/",
    "https://::1/",
]


@pytest.mark.parametrize("text", GOOD)
def test_good(text: str) -> None:
    assert jwks_uri.parse(text) == text


@pytest.mark.rfc(7591, "2")
@pytest.mark.attack(212)
@pytest.mark.parametrize("text", [*BAD, *FORBIDDEN, *NUMBERS])
def test_bad(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        jwks_uri.parse(text)
