"""A guard that asks over real HTTP: what was revoked is refused by the next request."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from tests.e2e.conftest import Child, Server, _free_port

from affiant import Service
from affiant.jose.keys import parse_private_jwk
from affiant.oauth import assertion, names

NAME = "asked"


def _start(server: Server, launch: Callable[..., Child], identifier: str) -> Child:
    """The API in its own process, without the feed: all that it hears, it asks for."""
    child = launch(
        *(sys.executable, "-m", "uvicorn", "--factory", "guarded_api:build", "--app-dir", str(Path(__file__).parent)),
        *("--port", identifier.rpartition(":")[2], "--log-level", "warning"),
        GUARD_ISSUER=server.issuer,
        GUARD_AUDIENCE=identifier,
        GUARD_CREDENTIALS=str(server.folder / f"{NAME}-api.affiant.json"),
        GUARD_REVOCATIONS="off",
    )
    child.until_healthy(identifier)
    return child


def _call(api: str, token: str) -> httpx2.Response:
    return httpx2.get(f"{api}/orders", headers={"Authorization": f"Bearer {token}"}, timeout=20)


def _token(server: Server) -> str:
    """A new one: no other asked for it."""
    return Service.from_credentials(server.folder / f"{NAME}.affiant.json").token().value


def _revoke(server: Server, token: str) -> None:
    key = parse_private_jwk(server.credentials(NAME)["key"])
    proof = assertion.build(NAME, issuer=server.issuer, signer=key, now=time.time())
    form = {"client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE, "client_assertion": proof, "token": token}
    assert httpx2.post(f"{server.issuer}/revoke", data=form, timeout=20).status_code == 200


def _statuses(api: str, *tokens: str) -> list[int]:
    return [_call(api, token).status_code for token in tokens]


@pytest.mark.attack(261)
def test_revoked_and_refused_by_the_next_request(lone_server: Server, launch: Callable[..., Child]) -> None:
    """And 503 with Retry-After while the server is away; when it is back, so is the API."""
    server, identifier = lone_server, f"http://127.0.0.1:{_free_port()}"
    server.affiant("api", "new", "live", "--identifier", identifier, "--scope", "orders.read")
    server.affiant("client", "new", NAME, "--scope", "orders.read", "--resource", identifier)
    server.affiant("client", "new", f"{NAME}-api", "--introspect", identifier)
    _start(server, launch, identifier)
    kept = _token(server)
    for _ in range(5):
        ended = _token(server)
        assert _statuses(identifier, ended, kept) == [200, 200]
        _revoke(server, ended)
        assert _statuses(identifier, ended, kept) == [401, 200]
    ended = _token(server)
    _revoke(server, ended)
    assert 'error="invalid_token"' in _call(identifier, ended).headers["www-authenticate"]
    server.kill()
    reply = _call(identifier, kept)
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
    server.start()
    assert _statuses(identifier, ended, kept) == [401, 200]
