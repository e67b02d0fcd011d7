"""`affiant guard serve` in its own process, asked as a proxy asks."""

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.loopback import free_port
from tests.process import AFFIANT, Child, Launch, Server

API = "https://guarded.example"
ROUTES = ("--public", "GET /health", "--route", "GET /orders*=guarded.read", "--route", "POST /orders=guarded.write")


def _words(issuer: str, address: str) -> list[str]:
    identity = ("--issuer", issuer, "--audience", API, "--proxy", "nginx", "--listen", address)
    return [*AFFIANT, "guard", "serve", *identity, *ROUTES, "--metadata"]


@pytest.fixture(scope="module")
def guard(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Child, str]]:
    server.add_api(API, "--scope", "guarded.write", name="guarded", scope="guarded.read")
    server.affiant("client", "new", "fronted", "--scope", "guarded.read", "--resource", API)
    base = f"http://127.0.0.1:{free_port()}"
    folder = tmp_path_factory.mktemp("guard")
    with Child.start(folder, *_words(server.issuer, base.removeprefix("http://")), name="guard") as child:
        child.until(lambda: _is_ready(base))
        yield child, base


def _is_ready(base: str) -> bool:
    try:
        return httpx2.get(f"{base}/readyz", timeout=20).is_success
    except httpx2.TransportError:
        return False


def ask(base: str, method: str, target: str, token: str | None = None) -> httpx2.Response:
    headers = {"X-Original-Method": method, "X-Original-URI": target}
    bearer = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return httpx2.get(f"{base}/check", headers={**headers, **bearer}, timeout=20)


def test_verdicts(server: Server, guard: tuple[Child, str]) -> None:
    child, base = guard
    token = server.affiant("token", "-c", "fronted.affiant.json", "--resource", API)["access_token"]
    allowed = ask(base, "GET", "/orders/7", token)
    assert (allowed.status_code, allowed.headers["Affiant-Client-Id"]) == (200, "fronted")
    refused = ask(base, "POST", "/orders", token)
    assert refused.status_code == 403
    assert 'scope="guarded.write"' in refused.headers["WWW-Authenticate"]
    unknown = ask(base, "GET", "/orders")
    assert unknown.status_code == 401
    assert f'resource_metadata="{API}/.well-known/oauth-protected-resource"' in unknown.headers["WWW-Authenticate"]
    metadata = httpx2.get(f"{base}/.well-known/oauth-protected-resource").json()
    assert (metadata["authorization_servers"], metadata["resource"]) == ([server.issuer], API)
    assert metadata["scopes_supported"] == ["guarded.read", "guarded.write"]
    assert httpx2.options(f"{base}/.well-known/oauth-protected-resource").status_code == 204
    assert ask(base, "GET", "/health").status_code == 200
    assert ask(base, "GET", "/admin", token).status_code == 404
    assert ask(base, "GET", "/orders/../admin", token).status_code == 404
    assert f"affiant guard  {base}/check for nginx   issuer {server.issuer}" in child.out
    child.until(lambda: "refused: token.insufficient_scope" in child.err)
    assert token not in child.err
    server.affiant("revoke", "--client", "fronted", "--yes")
    child.until(lambda: ask(base, "GET", "/orders/7", token).status_code == 401)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_asked_to(launch: Launch, number: signal.Signals) -> None:
    """And it listens on IPv6, and starts without an issuer."""
    port = free_port()
    base = f"http://[::1]:{port}"
    child = launch(*_words("http://127.0.0.1:1", f"[::1]:{port}"))
    child.until(lambda: "/check for nginx" in child.out and _is_alive(base))
    assert httpx2.get(f"{base}/readyz", timeout=20).status_code == 503
    assert ask(base, "GET", "/orders", "eyJhbGciOiJFUzI1NiJ9.e30.AA").is_error
    child.process.send_signal(number)
    assert child.process.wait(15) == (130 if number == signal.SIGINT else -signal.SIGTERM)
    assert "Traceback" not in child.err


def _is_alive(base: str) -> bool:
    try:
        return httpx2.get(f"{base}/healthz", timeout=5).is_success
    except httpx2.TransportError:
        return False


def test_unix_socket(launch: Launch, tmp_path: Path) -> None:
    """The next process takes the file of one that was killed; not that of one that runs, and no other file."""
    path = tmp_path / "guard.sock"
    words = _words("http://127.0.0.1:1", f"unix:{path}")

    def answer() -> int:
        with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path)), base_url="http://guard") as http:
            return http.get("/check", headers={"X-Original-Method": "GET", "X-Original-URI": "/health"}).status_code

    first = launch(*words)
    first.until(lambda: f"http://unix:{path}:/check" in first.out)
    assert answer() == 200
    assert launch(*words).process.wait(30) == 8
    assert answer() == 200
    first.kill()
    second = launch(*words)
    second.until(lambda: "/check" in second.out)
    assert answer() == 200
    second.stop()
    path.unlink()
    path.write_text("mine")
    assert launch(*words).process.wait(30) == 8
    assert path.read_text() == "mine"
