"""DPoP in the client: what is sent, which nonce goes where, and what is tried again."""

import copy
import json
import pickle
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.unit.client.conftest import Answer, Foreign, Request, token_answer
from tests.unit.client.http.faces import FACES

from affiant import Service
from affiant.errors import LocalError, Refused, RemoteError
from affiant.jose import compact, keys
from affiant.jose.keys import PrivateKey
from affiant.oauth.binding import dpop
from affiant.oauth.binding.dpop import ProofKey

BOUND = keys.generate("ES256")
WANTS = Answer(400, {"error": "use_dpop_nonce"}, {"DPoP-Nonce": "from-server"})
API_WANTS = Answer(401, {}, {"WWW-Authenticate": 'DPoP error="use_dpop_nonce", algs="ES256"', "DPoP-Nonce": "from-api"})
INVALID = Answer(401, {}, {"WWW-Authenticate": 'DPoP error="invalid_token", algs="ES256"'})


@pytest.fixture(params=list(FACES))
def post(request: pytest.FixtureRequest) -> Callable[..., int]:
    """One way to send a request."""
    return FACES[request.param].post


@pytest.fixture
def service(foreign: Foreign, api: Foreign, key: PrivateKey, http: httpx2.Client) -> Service:
    api.default["/orders"] = Answer(200, {})
    foreign.default["/token"] = token_answer("token-1", token_type="DPoP")
    return Service(foreign.url, "billing", key=key, dpop=BOUND, http=http)


def _proof(request: Request) -> dict[str, Any]:
    """Return the claims of its proof, which is valid for this request."""
    text, token = request.headers["dpop"], request.headers.get("authorization", "").partition(" ")[2] or None
    url = f"http://{request.headers['host']}{request.path}"
    found = dpop.verify([text.encode()], method=request.method, urls=(url,), now=time.time(), access_token=token)
    assert found.jkt == BOUND.public().thumbprint
    return compact.parse(text).claims


def test_token_request_has_a_proof(foreign: Foreign, service: Service) -> None:
    token = service.token()
    (sent,) = foreign.sent("/token")
    assert token.token_type == "DPoP"
    assert "ath" not in _proof(sent)
    assert "nonce" not in _proof(sent)


def test_nonce_of_the_server_is_learnt(foreign: Foreign, service: Service) -> None:
    """Once more with it, with a new assertion and a new proof; and the next time at once."""
    foreign.script["/token"] = [WANTS]
    assert service.token().value == "token-1"
    first, second = foreign.sent("/token")
    assert _proof(second)["nonce"] == "from-server"
    assert _proof(first)["jti"] != _proof(second)["jti"]
    assert first.assertion["jti"] != second.assertion["jti"]
    service.token("https://other.example")
    assert (_proof(foreign.sent("/token")[2])["nonce"], len(foreign.sent("/token"))) == ("from-server", 3)


def test_newer_nonce_takes_its_place(foreign: Foreign, service: Service) -> None:
    """An answer of 200 may bring the next one."""
    answer = token_answer("token-1", token_type="DPoP")
    foreign.script["/token"] = [Answer(200, answer.members, {"DPoP-Nonce": "next"})]
    service.token()
    service.token("https://other.example")
    assert [_proof(request).get("nonce") for request in foreign.sent("/token")] == [None, "next"]


@pytest.mark.parametrize(
    "headers", [{}, {"DPoP-Nonce": ""}, {"DPoP-Nonce": 'a"b'}, {"DPoP-Nonce": "a b"}, {"DPoP-Nonce": "x" * 2000}]
)
def test_demand_for_a_nonce_without_one_is_an_error(
    foreign: Foreign, service: Service, headers: dict[str, str]
) -> None:
    foreign.default["/token"] = Answer(400, {"error": "use_dpop_nonce"}, headers)
    with pytest.raises(Refused, match="use_dpop_nonce"):
        service.token()
    assert len(foreign.sent("/token")) == 1


def test_nonce_that_never_suffices_is_tried_once(foreign: Foreign, service: Service) -> None:
    foreign.default["/token"] = WANTS
    with pytest.raises(Refused, match="use_dpop_nonce"):
        service.token()
    assert len(foreign.sent("/token")) == 2


def test_bearer_token_is_not_taken_for_a_bound_one(foreign: Foreign, service: Service) -> None:
    """RFC 9449 section 5: a client that wants DPoP MUST discard it."""
    foreign.default["/token"] = token_answer("token-1")
    with pytest.raises(RemoteError, match="another type than DPoP"):
        service.token()


def test_bound_token_is_not_taken_for_a_bearer(foreign: Foreign, key: PrivateKey, http: httpx2.Client) -> None:
    foreign.default["/token"] = token_answer("token-1", token_type="DPoP")
    with pytest.raises(RemoteError, match="another type than Bearer"):
        Service(foreign.url, "billing", key=key, http=http).token()
    assert "dpop" not in foreign.sent("/token")[0].headers


def test_call_has_token_and_proof(api: Foreign, service: Service, post: Callable[..., int]) -> None:
    auth = service.auth(api.url)
    assert [post(f"{api.url}/orders?x=1", auth), post(f"{api.url}/orders", auth)] == [404, 200]
    assert [request.headers["authorization"] for request in api.requests] == ["DPoP token-1"] * 2
    assert len({_proof(request)["jti"] for request in api.requests}) == 2
    assert _proof(api.requests[0])["htu"] == f"{api.url}/orders"


def test_nonce_of_the_api_is_learnt(api: Foreign, foreign: Foreign, service: Service, post: Callable[..., int]) -> None:
    """With the same token; and it is not mixed up with that of the server."""
    foreign.script["/token"] = [WANTS]
    api.script["/orders"] = [API_WANTS]
    auth = service.auth(api.url)
    assert [post(f"{api.url}/orders", auth, content=b"order"), post(f"{api.url}/orders", auth)] == [200, 200]
    assert [_proof(request).get("nonce") for request in api.requests] == [None, "from-api", "from-api"]
    assert len(foreign.sent("/token")) == 2
    assert [request.headers["content-length"] for request in api.requests[:2]] == ["5", "5"]


def test_refused_token_is_renewed_and_proved(
    api: Foreign, foreign: Foreign, service: Service, post: Callable[..., int]
) -> None:
    """A nonce and a new token may both be wanted; each is tried once."""
    foreign.script["/token"] = [token_answer("old", token_type="DPoP"), token_answer("new", token_type="DPoP")]
    api.script["/orders"] = [API_WANTS, INVALID]
    assert post(f"{api.url}/orders", service.auth(api.url)) == 200
    assert [request.headers["authorization"] for request in api.requests] == ["DPoP old", "DPoP old", "DPoP new"]
    assert [_proof(request).get("nonce") for request in api.requests] == [None, "from-api", "from-api"]


@pytest.mark.parametrize(("answer", "times"), [(API_WANTS, 2), (INVALID, 2)])
def test_second_refusal_is_the_callers(
    api: Foreign, service: Service, post: Callable[..., int], answer: Answer, times: int
) -> None:
    api.default["/orders"] = answer
    assert post(f"{api.url}/orders", service.auth(api.url)) == 401
    assert len(api.requests) == times


def test_stream_is_not_sent_twice(api: Foreign, service: Service, post: Callable[..., int]) -> None:
    def body() -> Iterator[bytes]:
        yield b""

    api.default["/orders"] = API_WANTS
    assert post(f"{api.url}/orders", service.auth(api.url), content=body()) == 401
    assert len(api.requests) == 1


def test_key_may_be_made_or_given(foreign: Foreign, key: PrivateKey, http: httpx2.Client, tmp_path: Path) -> None:
    """True makes one; a JWK, its text or its file is one that several processes share."""
    foreign.default["/token"] = token_answer("token-1", token_type="DPoP")
    path = tmp_path / "bound.jwk"
    path.write_text(json.dumps(BOUND.to_jwk()))
    path.chmod(0o600)
    for given in (True, True, BOUND, BOUND.to_jwk(), json.dumps(BOUND.to_jwk()), path, str(path)):
        Service(foreign.url, "billing", key=key, http=http, dpop=given).token()
    found = [compact.parse(request.headers["dpop"]).header["jwk"]["x"] for request in foreign.sent("/token")]
    assert found[2:] == [BOUND.to_jwk()["x"]] * 5
    assert len(set(found[:3])) == 3


@pytest.mark.parametrize("given", ["nowhere.pem", BOUND.public().to_jwk(), {}, "{", b"x", keys.SecretKey(bytes(32))])
def test_dpop_rejects_what_is_no_key(foreign: Foreign, key: PrivateKey, given: Any) -> None:
    with pytest.raises(LocalError, match="dpop="):
        Service(foreign.url, "billing", key=key, dpop=given)


def test_prover_is_not_pickled(foreign: Foreign, service: Service) -> None:
    for take in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError):
            take(service._prover)


def test_nonces_of_many_servers_are_bounded() -> None:
    from affiant.client.protocol.prover import MAX_ORIGINS, Prover

    prover = Prover(ProofKey.of(BOUND), time.time)
    for number in range(1000):
        assert prover.learn(f"https://{number}.example/x", {"dpop-nonce": str(number)})
    assert len(prover._nonces) <= MAX_ORIGINS
    assert compact.parse(prover.prove("GET", "https://999.example/")).claims["nonce"] == "999"
    assert "nonce" not in compact.parse(prover.prove("GET", "https://999.example:444/")).claims


def test_proof_for_an_api_has_the_time_of_the_server(
    foreign: Foreign, api: Foreign, key: PrivateKey, http: httpx2.Client, post: Callable[..., int]
) -> None:
    """This machine's clock is ten minutes behind: the server's refusal showed that."""
    api.default["/orders"] = Answer(200, {})
    foreign.default["/token"] = token_answer("token-1", token_type="DPoP")
    foreign.script["/token"] = [Answer(401, {"error": "invalid_client"}, {"Date": formatdate(usegmt=True)})]
    service = Service(foreign.url, "billing", key=key, dpop=BOUND, http=http, clock=lambda: time.time() - 600)
    assert post(f"{api.url}/orders", service.auth(api.url)) == 200
    assert abs(_proof(api.requests[0])["iat"] - time.time()) < 30
