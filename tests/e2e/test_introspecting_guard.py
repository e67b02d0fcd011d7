"""A guard that asks over real HTTP: what was revoked is refused by the next request."""

from pathlib import Path

import httpx2
import pytest
from tests.loopback import free_port
from tests.process import Server, guarded_api

from affiant import Service

NAME = "asked"


def _call(api: str, token: str) -> httpx2.Response:
    return httpx2.get(f"{api}/orders", headers={"Authorization": f"Bearer {token}"}, timeout=20)


def _token(server: Server) -> str:
    """A new one: no other asked for it."""
    return Service.from_credentials(server.folder / f"{NAME}.affiant.json").token().value


def _revoke(server: Server, token: str) -> None:
    form = server.proof(NAME, token=token)
    assert httpx2.post(f"{server.issuer}/revoke", data=form, timeout=20).status_code == 200


def _statuses(api: str, *tokens: str) -> list[int]:
    return [_call(api, token).status_code for token in tokens]


@pytest.mark.attack(261)
def test_revoked_and_refused_by_the_next_request(lone_server: Server, tmp_path: Path) -> None:
    """And 503 with Retry-After while the server is away; when it is back, so is the API."""
    server, identifier = lone_server, f"http://127.0.0.1:{free_port()}"
    server.add_api(identifier, name="live")
    server.affiant("client", "new", NAME, "--scope", "orders.read", "--resource", identifier)
    server.affiant("client", "new", f"{NAME}-api", "--introspect", identifier)
    credentials = str(server.folder / f"{NAME}-api.affiant.json")
    # Without the feed: the guard knows only the answers to its own questions.
    with guarded_api(tmp_path, server.issuer, identifier, GUARD_CREDENTIALS=credentials, GUARD_REVOCATIONS="off"):
        _revoke_and_call(server, identifier)


def _revoke_and_call(server: Server, identifier: str) -> None:
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
