"""Servers that are found, or addressed, in another way than by their issuer alone."""

import logging
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.certificates import make
from tests.unit.client.conftest import Answer, Foreign, Request, metadata_answer

from affiant import Service
from affiant.client import SecretPost
from affiant.client.protocol import server
from affiant.errors import LocalError, Refused, RemoteError
from affiant.jose.keys import PrivateKey

WELL_KNOWN = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
OUTER = "https://as.example"


class Picky(Foreign):
    """Takes assertions for one audience alone."""

    def __init__(self) -> None:
        super().__init__()
        self.audience = ""
        self.default[WELL_KNOWN] = metadata_answer(self.url)

    def answer(self, request: Request) -> Answer:
        found = super().answer(request)
        if request.path != "/token" or request.assertion["aud"] == self.audience or found.status != 200:
            return found
        return Answer(401, {"error": "invalid_client"})

    def audiences(self) -> list[str]:
        return [request.assertion["aud"] for request in self.sent("/token")]


@pytest.fixture
def picky() -> Iterator[Picky]:
    server = Picky()
    yield server
    server.close()


def test_endpoint_that_is_named_is_not_discovered(foreign: Foreign, http: httpx2.Client, key: PrivateKey) -> None:
    service = Service("any name", "billing", key=key, token_endpoint=f"{foreign.url}/token", http=http)
    assert service.token().value == "token-1"
    assert [request.path for request in foreign.requests] == ["/token"]
    assert foreign.sent("/token")[0].assertion["aud"] == "any name"
    assert service.discover().token_endpoint == f"{foreign.url}/token"


def test_endpoint_that_is_named_stays_after_a_failure(foreign: Foreign, http: httpx2.Client, key: PrivateKey) -> None:
    foreign.script["/token"] = [Answer(404, {})]
    service = Service("any name", "billing", key=key, token_endpoint=f"{foreign.url}/token", http=http)
    with pytest.raises(RemoteError):
        service.token("https://a.example")
    assert service.token("https://b.example").value


@pytest.mark.parametrize(
    ("url", "is_clear"),
    [
        ("http://as.internal/token", False),
        ("ftp://as.internal/token", True),
        ("as.internal/token", True),
        ("https:///token", True),
        ("https://as.example/token#x", True),
        ("http://", True),
        ("https://user:password@as.example/token", True),
        (7, True),
    ],
)
def test_unsafe_endpoint_is_rejected(key: PrivateKey, url: str, is_clear: bool) -> None:
    with pytest.raises(LocalError, match="must be an https URL"):
        Service("x", "billing", key=key, token_endpoint=url, unsafe_http=is_clear)
    Service("x", "billing", key=key, token_endpoint="http://as.internal/token", unsafe_http=True)


def test_unknown_option_is_rejected_as_python_does(key: PrivateKey) -> None:
    with pytest.raises(TypeError, match="'tokenendpoint'"):
        Service("x", "billing", key=key, tokenendpoint="https://as.example/token")  # type: ignore[call-arg]


@pytest.mark.rfc(7523, "3(3)")
@pytest.mark.parametrize("audience", ["token_endpoint", "https://other.example/aud", "urn:example:as"])
def test_audience_is_what_the_server_wants(picky: Picky, http: httpx2.Client, key: PrivateKey, audience: str) -> None:
    picky.audience = f"{picky.url}/token" if audience == "token_endpoint" else audience
    service = Service(picky.url, "billing", key=key, unsafe_audience=audience, http=http)
    assert service.token().value
    assert picky.audiences() == [picky.audience]
    assert picky.audience in _claims_of(service)
    with pytest.raises(Refused, match="invalid_client"):
        Service(picky.url, "billing", key=key, http=http).token()
    assert picky.audiences()[1:] == [picky.url]  # no other audience is tried unless the caller says so


def _claims_of(service: Service) -> list[object]:
    return list(Request("", "", {}, {"client_assertion": service.assertion()}).assertion.values())


@pytest.mark.parametrize("audience", ["tokenendpoint", "", "Fallback"])
def test_misspelt_audience_is_rejected(key: PrivateKey, audience: str) -> None:
    with pytest.raises(LocalError, match="'token_endpoint' or 'fallback'"):
        Service(OUTER, "billing", key=key, unsafe_audience=audience)


def test_fall_back_happens_once_and_is_remembered(
    picky: Picky, http: httpx2.Client, key: PrivateKey, caplog: pytest.LogCaptureFixture
) -> None:
    issuer = picky.url
    endpoint = picky.audience = f"{issuer}/token"
    service = Service(issuer, "billing", key=key, unsafe_audience="fallback", http=http)
    with caplog.at_level(logging.WARNING):
        assert service.token("https://a.example").value
        assert service.token("https://b.example").value
    assert picky.audiences() == [issuer, endpoint, endpoint]
    assert caplog.text.count("unsafe_audience=") == 1
    picky.audience = "another"
    with pytest.raises(Refused):
        service.token("https://c.example")
    assert picky.audiences()[3:] == [endpoint]


def test_fall_back_that_fails_is_tried_again_later(
    picky: Picky, http: httpx2.Client, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at once; but a service may start before its key is registered, and run for months."""
    picky.audience = "another"
    service = Service(picky.url, "billing", key=key, unsafe_audience="fallback", http=http)
    for resource in ("https://a.example", "https://b.example"):
        with pytest.raises(Refused):
            service.token(resource)
    assert picky.audiences() == [picky.url, f"{picky.url}/token", picky.url]
    picky.audience = f"{picky.url}/token"
    monkeypatch.setattr(server, "AGAIN_SECONDS", -1.0)
    service._server._not_before -= 60
    assert service.token("https://c.example").value
    assert service.token("https://d.example").value
    assert picky.audiences()[3:] == [picky.url, picky.audience, picky.audience]


def test_fall_back_that_was_not_answered_is_tried_again(picky: Picky, http: httpx2.Client, key: PrivateKey) -> None:
    picky.audience = f"{picky.url}/token"
    refused = Answer(401, {"error": "invalid_client"})
    picky.script["/token"] = [refused, Answer(500, {})]
    service = Service(picky.url, "billing", key=key, unsafe_audience="fallback", http=http)
    with pytest.raises(RemoteError, match="500"):
        service.token("https://a.example")
    assert service.token("https://b.example").value
    assert picky.audiences() == [picky.url, picky.audience, picky.url, picky.audience]


@pytest.mark.parametrize("answer", [Answer(400, {"error": "invalid_scope"}), Answer(500, {}), Answer(302)])
def test_fall_back_is_for_a_refused_client_alone(
    picky: Picky, http: httpx2.Client, key: PrivateKey, answer: Answer
) -> None:
    picky.default["/token"] = answer
    with pytest.raises(RemoteError):
        Service(picky.url, "billing", key=key, unsafe_audience="fallback", http=http).token()
    assert picky.audiences() == [picky.url]


@pytest.mark.rfc(8414, "3.1")
@pytest.mark.parametrize("suffix", ["", "/", "/tenant", "/tenant/"])
@pytest.mark.parametrize("status", [200, 400, 403, 404, 405, 410])
def test_metadata_are_found_with_and_without_a_slash(
    foreign: Foreign, http: httpx2.Client, key: PrivateKey, suffix: str, status: int
) -> None:
    """The slash goes from the address alone: the issuer is compared, and becomes the audience, as it is."""
    issuer = foreign.url + suffix
    place = f"{WELL_KNOWN}{suffix.rstrip('/')}" if status == 200 else f"{suffix.rstrip('/')}{OPENID}"
    foreign.default[WELL_KNOWN + suffix.rstrip("/")] = Answer(status, {})
    foreign.default[place] = Answer(200, {"issuer": issuer, "token_endpoint": f"{foreign.url}/token"})
    assert Service(issuer, "billing", key=key, http=http).token().value
    assert foreign.sent("/token")[0].assertion["aud"] == issuer
    other = issuer.rstrip("/") if suffix.endswith("/") else f"{issuer}/"
    with pytest.raises(RemoteError, match="another issuer"):
        Service(other, "billing", key=key, http=http).token()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_metadata_are_not_looked_for_elsewhere_while_the_server_fails(
    foreign: Foreign, http: httpx2.Client, key: PrivateKey, status: int
) -> None:
    foreign.default[WELL_KNOWN] = Answer(status, {}, {"Retry-After": "3600"})
    with pytest.raises(RemoteError, match="not available now"):
        Service(foreign.url, "billing", key=key, http=http).token()
    assert foreign.sent(OPENID) == []


@pytest.mark.parametrize("named_by", [OUTER, "the inner address"])
def test_inner_address_is_where_requests_go(
    foreign: Foreign, http: httpx2.Client, key: PrivateKey, named_by: str
) -> None:
    """Some servers name their endpoints by the address at which they were asked."""
    base = OUTER if named_by == OUTER else foreign.url
    foreign.default[WELL_KNOWN] = Answer(200, {"issuer": OUTER, "token_endpoint": f"{base}/token"})
    service = Service(OUTER, "billing", key=key, reach=foreign.url, http=http, dpop=True)
    foreign.default["/token"] = Answer(200, {"access_token": "t", "token_type": "DPoP", "expires_in": 60})
    assert service.token().value == "t"
    (sent,) = foreign.sent("/token")
    assert sent.assertion["aud"] == OUTER
    proof = Request("", "", {}, {"client_assertion": sent.headers["dpop"]}).assertion
    assert proof["htu"] == f"{OUTER}/token"  # RFC 9449 section 4.3: by the server's own name
    assert service.discover().token_endpoint == f"{OUTER}/token"


def test_inner_address_is_for_the_issuer_alone(
    foreign: Foreign, api: Foreign, http: httpx2.Client, key: PrivateKey
) -> None:
    foreign.default[WELL_KNOWN] = Answer(200, {"issuer": OUTER, "token_endpoint": f"{api.url}/token"})
    assert Service(OUTER, "billing", key=key, reach=foreign.url, http=http).token().value
    assert (len(foreign.sent("/token")), len(api.sent("/token"))) == (0, 1)


def test_named_endpoint_has_an_inner_address_too(foreign: Foreign, http: httpx2.Client) -> None:
    service = Service(
        OUTER, "billing", secret="s", auth_method="client_secret_post", token_endpoint=f"{OUTER}/token",
        reach=foreign.url, http=http,
    )  # fmt: skip
    assert service.token().value
    assert isinstance(service._auth, SecretPost)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reach": "http://as.internal"}, "unsafe_reach="),
        ({"reach": "https://as.internal/path"}, "is not where a server listens"),
        ({"reach": "https://a", "unsafe_reach": "http://a"}, "not both"),
        ({"unsafe_reach": "as.internal"}, "is not where a server listens"),
    ],
)
def test_unusable_reach_is_rejected(key: PrivateKey, options: dict[str, str], words: str) -> None:
    with pytest.raises(LocalError, match=words):
        Service(OUTER, "billing", key=key, **options)  # type: ignore[arg-type]


def test_unsafe_reach_may_be_http(key: PrivateKey) -> None:
    service = Service(OUTER, "billing", key=key, unsafe_reach="http://affiant.invalid:8377")
    assert service._server.reach.inward(f"{OUTER}/token") == "http://affiant.invalid:8377/token"


@pytest.mark.attack(268)
def test_assertion_is_for_the_endpoint_that_gets_it(foreign: Foreign, key: PrivateKey, tmp_path: Path) -> None:
    """Metadata cannot make the client send an assertion for one endpoint to another one, such as an alias."""
    foreign.default[WELL_KNOWN] = Answer(200, {
        "issuer": foreign.url,
        "token_endpoint": "https://victim.example/token",
        "mtls_endpoint_aliases": {"token_endpoint": f"{foreign.other_name}/token"},
    })  # fmt: skip
    certificate, own_key = make().write(tmp_path, "billing")
    service = Service(
        foreign.url, "billing", key=key, unsafe_audience="token_endpoint", certificate=certificate,
        certificate_key=own_key,
    )  # fmt: skip
    assert service.token().value
    (sent,) = foreign.sent("/token")
    assert sent.headers["host"] == foreign.other_name.removeprefix("http://")
    assert sent.assertion["aud"] == f"{foreign.other_name}/token"
