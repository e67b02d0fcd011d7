"""A revocation over real HTTP: every guard hears of it within seconds, from any worker, and no waiting guard keeps the server from its end."""

import signal
import time
from typing import Any

import httpx2
import pytest
from tests.loopback import free_port
from tests.process import Launch, Server

from affiant import testing
from affiant.jose import compact

SECONDS = 2.0  # within which a guard must have heard
AFFIANT_NAME = "revoked"


def _token(server: Server, name: str, **parameters: str) -> dict[str, Any]:
    reply = server.token(**testing.form(server.assertion(name), **parameters))
    assert reply.status_code == 200, reply.text
    members: dict[str, Any] = reply.json()
    return members


def _call(api: str, token: str) -> httpx2.Response:
    return httpx2.get(f"{api}/orders", headers={"Authorization": f"Bearer {token}"}, timeout=20)


def _seconds_until_refused(api: str, token: str) -> float:
    """How long a guard still lets it in, with a request every 20 ms."""
    begun = time.monotonic()
    while (reply := _call(api, token)).status_code == 200:
        assert time.monotonic() - begun < 10, "it never heard"
        time.sleep(0.02)
    assert reply.status_code == 401
    assert 'error="invalid_token"' in reply.headers["www-authenticate"]
    return time.monotonic() - begun


@pytest.fixture(scope="module")
def billing(server: Server, api: str) -> str:
    """A client of the guarded API; the server has two workers."""
    words = ("--scope", "orders.read", "--resource", api, "--grant", "client_credentials", "--grant", "refresh_token")
    server.affiant("client", "new", AFFIANT_NAME, *words)
    return AFFIANT_NAME


@pytest.mark.attack(237)
def test_a_token_that_its_client_ended(server: Server, api: str, billing: str) -> None:
    """Five times, since the revocation and the feed may be of either worker."""
    waits = []
    for _ in range(5):
        ended, other = (_token(server, billing)["access_token"] for _ in range(2))
        assert [_call(api, token).status_code for token in (ended, other)] == [200, 200]
        reply = httpx2.post(f"{server.issuer}/revoke", data=server.proof(billing, token=ended), timeout=20)
        assert reply.status_code == 200
        waits.append(_seconds_until_refused(api, ended))
        assert _call(api, other).status_code == 200
    print("refused after", " ".join(f"{wait:.2f}" for wait in waits), "s")
    assert max(waits) < SECONDS


@pytest.mark.attack(238)
def test_a_refresh_token_takes_its_access_tokens_along(server: Server, api: str, billing: str) -> None:
    made = _token(server, billing)
    assert _call(api, made["access_token"]).status_code == 200
    httpx2.post(f"{server.issuer}/revoke", data=server.proof(billing, token=made["refresh_token"]), timeout=20)
    assert _seconds_until_refused(api, made["access_token"]) < SECONDS


@pytest.mark.parametrize("verb", ["disable", "remove"])
def test_a_client_that_an_operator_lets_in_no_more(server: Server, api: str, verb: str) -> None:
    name = f"gone-{verb}"
    server.affiant("client", "new", name, "--scope", "orders.read", "--resource", api)
    token = _token(server, name)["access_token"]
    assert _call(api, token).status_code == 200
    server.affiant("client", verb, name)
    assert _seconds_until_refused(api, token) < SECONDS


@pytest.mark.parametrize("what", ["token", "client", "key"])
def test_what_an_operator_revokes(server: Server, api: str, what: str) -> None:
    name = f"ended-{what}"
    server.affiant("client", "new", name, "--scope", "orders.read", "--resource", api)
    token = _token(server, name)["access_token"]
    assert _call(api, token).status_code == 200
    words = {
        "token": ("revoke", "--jti", compact.parse(token).claims["jti"]),
        "client": ("revoke", "--client", name),
        "key": ("client", "key", "revoke", name, server.key(name).kid),
    }
    server.affiant(*words[what])
    wait = _seconds_until_refused(api, token)
    print(f"{what}: refused after {wait:.2f} s")
    assert wait < SECONDS


@pytest.mark.parametrize("workers", [1, 2])
def test_who_waits_does_not_hold_the_server_up(launch: Launch, workers: int) -> None:
    """SIGTERM answers every guard at once; the server ends quietly, long before the wait would have."""
    import socket
    import sys

    port = free_port()
    child = launch(sys.executable, "-m", "affiant.cli.main", "serve", "--port", str(port), "--workers", str(workers))
    child.until_healthy(f"http://127.0.0.1:{port}")
    etag = httpx2.get(f"http://127.0.0.1:{port}/revocations").headers["etag"]
    waiting = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(8)]
    for one in waiting:
        one.sendall(f"GET /revocations?wait=25 HTTP/1.1\r\nHost: x\r\nIf-None-Match: {etag}\r\n\r\n".encode())
    time.sleep(0.5)
    begun = time.monotonic()
    child.process.send_signal(signal.SIGTERM)
    for one in waiting:
        with one:
            assert one.recv(1000).startswith(b"HTTP/1.1 304")
    child.process.wait(10)
    assert time.monotonic() - begun < 3
    assert child.complaints == []
