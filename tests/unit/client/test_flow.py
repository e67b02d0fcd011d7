"""Requests of the client, and when they are repeated."""

import base64
import email.utils
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from tests.unit.client.conftest import Answer, Foreign, metadata_answer, token_answer

from affiant import Service
from affiant.client.protocol import flow, transport
from affiant.client.protocol.auth import Assertion, ClientAuth, SecretBasic, SecretPost
from affiant.errors import LocalError, Refused, RemoteError, Unreachable
from affiant.jose.keys import PrivateKey
from affiant.oauth.token import TokenResponse, client_credentials_form, refresh_form

WELL_KNOWN = "/.well-known/oauth-authorization-server"
FORM = client_credentials_form(scope="orders.read", resource="https://orders.example")


def _ask(
    foreign: Foreign,
    auth: ClientAuth,
    *,
    form: list[tuple[str, str]] = FORM,
    clock: Callable[[], float] = time.time,
) -> tuple[TokenResponse, list[float]]:
    waits: list[float] = []
    with httpx2.Client(verify=False) as http:
        server = transport.run(flow.discover(foreign.url, clock=clock), http, wait=waits.append)
        asking = flow.request_token(server, "billing", auth, form, clock=clock)
        return transport.run(asking, http, wait=waits.append)[0], waits


@pytest.mark.attack(268)
def test_request_carries_an_assertion_for_the_issuer(foreign: Foreign, key: PrivateKey) -> None:
    answer, _ = _ask(foreign, Assertion(key))
    (sent,) = foreign.sent("/token")
    claims = sent.assertion
    assert answer.access_token == "token-1"
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("billing", "billing", foreign.url)
    assert claims["exp"] - claims["iat"] == 60
    assert sent.form["client_id"] == "billing"
    assert (sent.form["scope"], sent.form["resource"]) == ("orders.read", "https://orders.example")
    assert "authorization" not in sent.headers


@pytest.mark.rfc(6749, "2.3.1")
def test_basic_encodes_both_parts_as_a_form(foreign: Foreign) -> None:
    _ask(foreign, SecretBasic("s:e+c r/é"))
    kind, text = foreign.sent("/token")[0].headers["authorization"].split()
    assert (kind, base64.b64decode(text)) == ("Basic", b"billing:s%3Ae%2Bc+r%2F%C3%A9")


def test_post_puts_the_secret_in_the_form(foreign: Foreign) -> None:
    _ask(foreign, SecretPost("s3cret"))
    (sent,) = foreign.sent("/token")
    assert (sent.form["client_id"], sent.form["client_secret"]) == ("billing", "s3cret")


@pytest.mark.parametrize("status", [400, 403, 404, 405])
def test_metadata_fall_back_to_openid_configuration(foreign: Foreign, key: PrivateKey, status: int) -> None:
    foreign.default["/.well-known/openid-configuration"] = foreign.default.pop(WELL_KNOWN)
    foreign.default[WELL_KNOWN] = Answer(status, {})
    _ask(foreign, Assertion(key))
    assert [r.path for r in foreign.requests] == [WELL_KNOWN, "/.well-known/openid-configuration", "/token"]


def test_server_without_a_token_endpoint_is_named(foreign: Foreign, key: PrivateKey) -> None:
    foreign.default[WELL_KNOWN] = Answer(200, {"issuer": foreign.url, "jwks_uri": f"{foreign.url}/jwks"})
    with pytest.raises(RemoteError, match="lack token_endpoint"):
        _ask(foreign, Assertion(key))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("path", [WELL_KNOWN, "/.well-known/openid-configuration"])
def test_unavailable_server_is_not_reported_as_the_wrong_issuer(
    foreign: Foreign, key: PrivateKey, status: int, path: str
) -> None:
    foreign.default.pop(WELL_KNOWN)
    foreign.default[path] = Answer(status, {})
    with pytest.raises(RemoteError, match=f"answered {status}: .* not available now, try again later") as failed:
        _ask(foreign, Assertion(key))
    assert "issuer?" not in str(failed.value)


@pytest.mark.parametrize("status", [404, 403, 302])
def test_a_server_without_metadata_may_be_the_wrong_one(foreign: Foreign, key: PrivateKey, status: int) -> None:
    foreign.default[WELL_KNOWN] = foreign.default["/.well-known/openid-configuration"] = Answer(status, {})
    with pytest.raises(RemoteError, match=rf"answered {status}: is {foreign.url} the right issuer\?"):
        _ask(foreign, Assertion(key))


@pytest.mark.attack(267)
@pytest.mark.rfc(8414, "3.3")
def test_another_issuer_gets_no_token_request(foreign: Foreign, key: PrivateKey) -> None:
    foreign.default[WELL_KNOWN] = metadata_answer("https://evil.example")
    with pytest.raises(RemoteError, match="another issuer"):
        _ask(foreign, Assertion(key))
    assert not foreign.sent("/token")


def test_issuer_that_cannot_be_one_sends_nothing() -> None:
    with pytest.raises(LocalError), httpx2.Client(verify=False) as http:
        transport.run(flow.discover("http://as.example", clock=time.time), http)


@pytest.mark.attack(269)
@pytest.mark.parametrize("path", [WELL_KNOWN, "/token"])
def test_redirect_is_not_followed(foreign: Foreign, key: PrivateKey, path: str) -> None:
    foreign.default[path] = Answer(307, {}, {"Location": f"{foreign.url}/elsewhere"})
    with pytest.raises(RemoteError, match="307"):
        _ask(foreign, Assertion(key))
    assert not foreign.sent("/elsewhere")


@pytest.mark.parametrize("path", [WELL_KNOWN, "/token"])
def test_answer_is_bounded(foreign: Foreign, key: PrivateKey, path: str) -> None:
    foreign.default[path] = Answer(200, raw=b" " * (flow.MAX_REPLY + 1))
    with pytest.raises(RemoteError, match="more than 262144 bytes"):
        _ask(foreign, Assertion(key))


@pytest.mark.attack(271)
@pytest.mark.parametrize("status", [502, 503, 504])
def test_second_attempt_has_another_jti(foreign: Foreign, key: PrivateKey, status: int) -> None:
    foreign.script["/token"] = [Answer(status, {})]
    answer, waits = _ask(foreign, Assertion(key))
    first, second = (request.assertion["jti"] for request in foreign.sent("/token"))
    assert answer.access_token == "token-1"
    assert first != second
    assert len(waits) == 1


@pytest.mark.attack(271)
def test_three_attempts_are_the_end(foreign: Foreign, key: PrivateKey) -> None:
    foreign.default["/token"] = Answer(503, {})
    with pytest.raises(RemoteError, match="503"):
        _ask(foreign, Assertion(key))
    assert len({request.assertion["jti"] for request in foreign.sent("/token")}) == 3


@pytest.mark.attack(271)
def test_retry_after_is_honoured(foreign: Foreign, key: PrivateKey) -> None:
    foreign.script["/token"] = [Answer(429, {}, {"Retry-After": "7"}), Answer(503, {}, {"Retry-After": "11"})]
    _, waits = _ask(foreign, Assertion(key))
    assert waits == [7, 11]


def test_retry_after_may_be_a_date(foreign: Foreign, key: PrivateKey) -> None:
    now = 1_800_000_000
    date, later = (email.utils.formatdate(now + 500 + seconds, usegmt=True) for seconds in (0, 9))
    foreign.script["/token"] = [Answer(503, {}, {"Retry-After": later, "Date": date})]
    _, waits = _ask(foreign, Assertion(key), clock=lambda: now)
    assert waits == [9]  # by their clock, which is 500 s ahead of ours


@pytest.mark.parametrize("asked", [["3600"], ["20", "20"]])
def test_retry_after_beyond_patience_ends_it(foreign: Foreign, key: PrivateKey, asked: list[str]) -> None:
    foreign.script["/token"] = [Answer(503, {}, {"Retry-After": seconds}) for seconds in asked]
    with pytest.raises(RemoteError, match="503"):
        _ask(foreign, Assertion(key))
    assert len(foreign.sent("/token")) == len(asked)


def test_429_without_retry_after_is_not_repeated(foreign: Foreign, key: PrivateKey) -> None:
    foreign.script["/token"] = [Answer(429, {})]
    with pytest.raises(RemoteError):
        _ask(foreign, Assertion(key))
    assert len(foreign.sent("/token")) == 1


def test_refresh_token_is_not_sent_again_where_it_may_be_spent(foreign: Foreign, key: PrivateKey) -> None:
    foreign.script["/token"] = [Answer(503, {}), Answer(504, {})]
    with pytest.raises(RemoteError, match="504"):
        _ask(foreign, Assertion(key), form=refresh_form("refresh"))
    assert len(foreign.sent("/token")) == 2


def test_no_connection_is_tried_three_times() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    waits: list[float] = []
    with (
        pytest.raises(Unreachable, match=f"127.0.0.1:{port} cannot be reached.*is it running"),
        httpx2.Client(verify=False) as http,
    ):
        transport.run(flow.discover(f"http://127.0.0.1:{port}", clock=time.time), http, wait=waits.append)
    assert len(waits) == 2


def _invalid_client(**headers: str) -> Answer:
    return Answer(401, {"error": "invalid_client"}, headers)


def test_skewed_clock_signs_again_with_the_servers_time(
    foreign: Foreign, key: PrivateKey, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = 1_800_000_000, 1_800_000_400
    foreign.script["/token"] = [_invalid_client(Date=email.utils.formatdate(theirs, usegmt=True))]
    with caplog.at_level(logging.WARNING):
        answer, _ = _ask(foreign, Assertion(key), clock=lambda: ours)
    assert answer.access_token == "token-1"
    assert [request.assertion["iat"] for request in foreign.sent("/token")] == [ours, theirs]
    assert "400 s behind" in caplog.text
    assert not any(request.form["client_assertion"] in caplog.text for request in foreign.sent("/token"))


def test_skewed_clock_signs_no_third_time(foreign: Foreign, key: PrivateKey) -> None:
    foreign.default["/token"] = _invalid_client(Date=email.utils.formatdate(1_800_000_400, usegmt=True))
    with pytest.raises(Refused):
        _ask(foreign, Assertion(key), clock=lambda: 1_800_000_000)
    assert len(foreign.sent("/token")) == 2


def test_learned_offset_is_kept(foreign: Foreign, key: PrivateKey, caplog: pytest.LogCaptureFixture) -> None:
    """The next token takes one request. A clock that is set right takes two once, and warns of nothing."""
    now = [1_800_000_000.0]
    service = Service(foreign.url, "billing", key=key, clock=lambda: now[0])
    foreign.script["/token"] = [_invalid_client(Date=email.utils.formatdate(1_800_000_400, usegmt=True))]
    with caplog.at_level(logging.WARNING):
        service.token("https://a.example")
        service.token("https://b.example")
        assert [request.assertion["iat"] for request in foreign.sent("/token")[1:]] == [1_800_000_400] * 2
        now[0] += 400
        foreign.script["/token"] = [_invalid_client(Date=email.utils.formatdate(now[0], usegmt=True))]
        service.token("https://c.example")
        service.token("https://d.example")
    assert [request.assertion["iat"] for request in foreign.sent("/token")[3:]] == [1_800_000_800] + [1_800_000_400] * 2
    assert caplog.text.count("clock") == 1


def test_life_is_counted_from_the_attempt_that_was_answered(foreign: Foreign, key: PrivateKey) -> None:
    now = [1_800_000_000.0]

    def wait(seconds: float) -> None:
        now[0] += seconds

    foreign.script["/token"] = [Answer(503, {}, {"Retry-After": "11"})]
    with httpx2.Client(verify=False) as http:
        server = transport.run(flow.discover(foreign.url, clock=lambda: now[0]), http)
        asking = flow.request_token(server, "billing", Assertion(key), FORM, clock=lambda: now[0])
        _, sent_at = transport.run(asking, http, wait=wait)
    assert sent_at == 1_800_000_011


@pytest.mark.parametrize("headers", [{}, {"Date": "nonsense"}, {"Date": email.utils.formatdate(1_800_000_020)}])
def test_right_clock_signs_once(foreign: Foreign, key: PrivateKey, headers: dict[str, str]) -> None:
    foreign.default["/token"] = _invalid_client(**headers)
    with pytest.raises(Refused):
        _ask(foreign, Assertion(key), clock=lambda: 1_800_000_000)
    assert len(foreign.sent("/token")) == 1


@pytest.mark.attack(281)
@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_without_a_code_is_one_of_the_client(foreign: Foreign, key: PrivateKey, status: int) -> None:
    """As Glewlwyd refuses an audience: the caller gets a hint, and `fallback` an attempt."""
    foreign.default["/token"] = Answer(status, "")
    with pytest.raises(Refused, match=f"answered {status}, and not with an OAuth error") as refused:
        _ask(foreign, Assertion(key))
    assert (refused.value.error, refused.value.status) == ("invalid_client", status)
    assert "likely remedy" in refused.value.hint


def test_refusal_has_all_members_escaped(foreign: Foreign, key: PrivateKey) -> None:
    members = {
        "error": "invalid_scope",
        "error_description": "no\x1b[2J\nsuch\u202e scope" + "x" * 1000,
        "trace_id": "t-1",
        "error_uri": "https://as.example/e",
    }
    foreign.default["/token"] = Answer(400, members)
    with pytest.raises(Refused) as caught:
        _ask(foreign, Assertion(key))
    error = caught.value
    assert (error.error, error.trace_id, error.status, error.error_uri) == (
        "invalid_scope",
        "t-1",
        400,
        "https://as.example/e",
    )
    assert error.description.startswith(r"no\u001b[2J\u000asuch\u202e scope")
    assert len(error.description) == 500


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, raw=b"<html>"),
        Answer(200, {"token_type": "Bearer"}),
        Answer(200, {"access_token": "t", "token_type": "DPoP"}),
        Answer(500, raw=b"oops"),
        Answer(400, ["error"]),
    ],
)
def test_nonsense_is_a_remote_error(foreign: Foreign, key: PrivateKey, answer: Answer) -> None:
    foreign.default["/token"] = answer
    with pytest.raises(RemoteError) as caught:
        _ask(foreign, Assertion(key))
    assert not isinstance(caught.value, Refused)


def test_clients_own_auth_is_not_used(foreign: Foreign, key: PrivateKey) -> None:
    def never(_: Any) -> Any:
        raise AssertionError("asked")

    foreign.script["/token"] = [token_answer()]
    with httpx2.Client(auth=never, verify=False) as http:
        server = transport.run(flow.discover(foreign.url, clock=time.time), http)
        transport.run(flow.request_token(server, "billing", Assertion(key), FORM, clock=time.time), http)
