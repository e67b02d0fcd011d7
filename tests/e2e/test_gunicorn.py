"""A Flask application behind the guard in gunicorn, preloaded, with two workers of four threads."""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from tests.loopback import free_port
from tests.process import APPS, Child, Server

from affiant import testing
from affiant.jose import compact
from affiant.server.keys.calendar import SEEN_SECONDS

SECONDS = 2.0  # within which every worker must have heard of a revocation
PLACE = "/.well-known/oauth-protected-resource"
GUNICORN = ("-m", "gunicorn", "guarded_flask:app", "--preload", "-k", "gthread", "-w", "2", "--threads", "4")


@pytest.fixture(scope="module")
def rotating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own, since its keys are rotated."""
    with Server(tmp_path_factory.mktemp("rotating")) as server:
        yield server


@pytest.fixture(scope="module")
def api(rotating: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    identifier = f"http://127.0.0.1:{port}"
    rotating.add_api(identifier)
    options = ("--no-control-socket", "--pythonpath", str(APPS), "--bind", f"127.0.0.1:{port}")
    places = {"GUARD_ISSUER": rotating.issuer, "GUARD_AUDIENCE": identifier}
    folder = tmp_path_factory.mktemp("gunicorn")
    with Child.start(folder, sys.executable, *GUNICORN, *options, name="gunicorn", **places) as child:
        child.until_listening(port)
        yield identifier


@pytest.fixture(scope="module")
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def _client(server: Server, api: str, name: str) -> str:
    server.affiant("client", "new", name, "--scope", "orders.read", "--resource", api)
    return name


def _token(server: Server, name: str) -> str:
    reply = server.token(**testing.form(server.assertion(name)))
    assert reply.status_code == 200, reply.text
    token: str = reply.json()["access_token"]
    return token


class Calls:
    """Calls with one token, eight at a time and each on a connection of its own, so that both workers get some."""

    def __init__(self, api: str, token: str, callers: ThreadPoolExecutor) -> None:
        # One client, since each reads the certificate authorities; and a connection for each call.
        self._http = httpx2.Client(headers={"Authorization": f"Bearer {token}", "Connection": "close"}, timeout=20)
        self._url, self._callers = f"{api}/orders", callers

    def until(self, status: int) -> float:
        """Call until the last answer of both workers has this status; return when the last other call began."""
        begun, other, last = time.monotonic(), 0.0, dict[str, int]()
        while len(last) < 2 or set(last.values()) != {status}:
            assert time.monotonic() - begun < 20, f"the workers answered last: {last}"
            for started, reply in self._callers.map(self._call, range(8)):
                last[reply.headers["X-Worker"]] = reply.status_code
                other = max(other, started if reply.status_code != status else 0.0)
        return other

    def _call(self, _: int) -> tuple[float, httpx2.Response]:
        started = time.monotonic()
        return started, self._http.get(self._url)


@pytest.fixture(scope="module", autouse=True)
def warm(rotating: Server, api: str, callers: ThreadPoolExecutor) -> None:
    """Both workers follow the revocations from their first token on."""
    Calls(api, _token(rotating, _client(rotating, api, "warm")), callers).until(200)


def test_refusal_and_metadata_come_through(rotating: Server, api: str) -> None:
    reply = httpx2.get(f"{api}/orders", timeout=20)
    assert reply.status_code == 401
    assert f'resource_metadata="{api}{PLACE}"' in reply.headers["www-authenticate"]
    assert httpx2.get(f"{api}{PLACE}", timeout=20).json()["authorization_servers"] == [rotating.issuer]
    reply = httpx2.head(f"{api}/orders", timeout=20)
    assert (reply.status_code, reply.content) == (401, b"")


@pytest.mark.parametrize("what", ["token", "client", "key"])
def test_revoked_is_refused_by_both_workers(what: str, rotating: Server, api: str, callers: ThreadPoolExecutor) -> None:
    name = _client(rotating, api, f"revoked-{what}")
    token, other = _token(rotating, name), _token(rotating, "warm")
    calls = Calls(api, token, callers)
    calls.until(200)
    words = {
        "token": ("--jti", compact.parse(token).claims["jti"]),
        "client": ("--client", name),
        "key": ("--client", name, "--key", rotating.key(name).kid),
    }
    rotating.affiant("revoke", *words[what])
    ended = time.monotonic()
    waited = max(0.0, calls.until(401) - ended)
    print(f"{waited:.2f} s after the command had ended, the last call with a revoked {what} began that passed")
    assert waited < SECONDS
    Calls(api, other, callers).until(200)


def test_token_of_a_new_signing_key_is_accepted(rotating: Server, api: str, callers: ThreadPoolExecutor) -> None:
    old = _token(rotating, "warm")
    rotating.affiant("signing-key", "rotate", "--now")
    time.sleep(SEEN_SECONDS + 0.1)
    new = _token(rotating, "warm")
    assert compact.parse(new).kid != compact.parse(old).kid
    for token in (new, old):
        assert Calls(api, token, callers).until(200) == 0.0, "a call with a good token was refused"
