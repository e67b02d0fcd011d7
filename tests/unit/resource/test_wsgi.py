"""A check without an event loop: WSGI, and threads that wait for what is not known yet."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.unit.resource.issuer import API, NOW, Issuer
from tests.unit.resource.listening import listening

from affiant.errors import RemoteError
from affiant.jose import keys
from affiant.oauth.binding import dpop
from affiant.resource import Caller, Denied, waiting


def _environ(token: bytes | None = None, **more: str) -> dict[str, Any]:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/orders", "HTTP_HOST": "api.example", "wsgi.url_scheme": "https"}
    return {**environ, **({"HTTP_AUTHORIZATION": token.decode()} if token is not None else {}), **more}


def test_environ_gives_the_caller() -> None:
    issuer = Issuer()
    found = issuer.guard().check_environ(_environ(issuer.token(scope="a")), need="a")
    assert isinstance(found, Caller)
    assert found.client_id == "c"


@pytest.mark.parametrize(
    ("environ", "status", "error"),
    [
        (lambda _: _environ(), 401, None),
        (lambda issuer: _environ(issuer.token()), 403, "insufficient_scope"),
        (lambda issuer: _environ(issuer.token(exp=NOW - 30)), 401, "invalid_token"),
        # A server joins two headers by a comma.
        (lambda issuer: _environ(issuer.token() + b"," + issuer.token()), 401, "invalid_token"),
        (lambda issuer: _environ(issuer.token(), QUERY_STRING="access_token=x"), 400, "invalid_request"),
    ],
    ids=["no token", "no scope", "expired", "two tokens", "in the query, too"],
)
def test_environ_gives_the_response_to_a_refused_request(environ: Any, status: int, error: str | None) -> None:
    issuer = Issuer()
    found = issuer.guard().check_environ(environ(issuer), need="a")
    assert isinstance(found, Denied)
    assert (found.status, json.loads(found.body).get("error")) == (status, error)


def test_bound_token_needs_its_proof() -> None:
    issuer, key = Issuer(), dpop.ProofKey.of(keys.generate("ES256"))
    guard, token = issuer.guard(), issuer.token(cnf={"jkt": key.thumbprint})[7:].decode()
    proof = dpop.build(key, method="GET", url=f"{API}/orders", now=NOW, access_token=token)
    environ = _environ(HTTP_AUTHORIZATION=f"DPoP {token}", HTTP_DPOP=proof)
    assert isinstance(guard.check_environ(environ), Caller)
    assert isinstance(guard.check_environ(environ), Denied), "a proof is good for one request"


def test_threads_that_wait_cause_one_fetch() -> None:
    with listening() as issuer, ThreadPoolExecutor(20) as pool:
        guard = issuer.guard()
        callers = pool.map(lambda n: guard.check_sync([issuer.token(str(n))]), range(20))
        assert [caller.client_id for caller in callers] == ["c"] * 20
        assert issuer.count("/jwks") == 1


def test_wait_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a fetch does: the thread goes on, and the request is refused."""
    monkeypatch.setattr(waiting, "MOST_SECONDS", 0.05)
    with listening() as issuer:
        issuer.gates["/jwks"] = threading.Event()
        with pytest.raises(RemoteError, match="did not answer within"):
            issuer.guard().check_sync([issuer.token()])
