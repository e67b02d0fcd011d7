"""Messages about network failures in the SDK and the guard, from real connections that fail."""

import asyncio
import importlib.util
import os
import socket
import ssl
import time
from collections.abc import Callable, Generator
from pathlib import Path

import httpx2
import pytest
from tests import certificates

from affiant import Service
from affiant.client.protocol import transport
from affiant.client.protocol.flow import Reply, Send
from affiant.errors import ConfigError, RemoteError, Unreachable
from affiant.resource.issuer.remote import RemoteIssuer
from affiant.system.network import async_http_client, http_client

Ask = Callable[[str], str]

CANARY = "canary-cafe"
REFUSED = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("SSL_CERT")]:
        monkeypatch.delenv(name)


def _by_sdk(url: str) -> str:
    def flow() -> Generator[Send, Reply | None, Reply | None]:
        return (yield Send("GET", url, timeout=2))

    with httpx2.Client() as http, pytest.raises(Unreachable) as failed:
        transport.run(flow(), http)
    return str(failed.value)


def _by_guard(url: str) -> str:
    async def ask() -> None:
        issuer = RemoteIssuer(url, http=None)
        async with issuer.connect() as http:
            await issuer.get(http, url, timeout=2)

    with pytest.raises(Unreachable) as failed:
        asyncio.run(ask())
    return str(failed.value)


@pytest.fixture(params=[_by_sdk, _by_guard], ids=["sdk", "guard"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Return the message about a request for this URL."""
    found: Ask = request.param
    return found


def _answer(text: bytes) -> Callable[[socket.socket], object]:
    def play(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(text)

    return play


def test_a_refused_connection(ask: Ask) -> None:
    assert ask(REFUSED) == (
        "127.0.0.1:1 cannot be reached: it refused the connection: is it running, and is the address right?"
    )


def test_a_name_that_is_not_known(ask: Ask) -> None:
    assert "as.invalid cannot be reached: the name as.invalid is not known (" in ask("https://as.invalid")


def test_a_server_that_is_silent(ask: Ask, serve: Callable[..., int]) -> None:
    port = serve(lambda connection: connection.recv(65_536) and connection.recv(1))
    assert f"127.0.0.1:{port} cannot be reached: it did not answer in time" in ask(f"http://127.0.0.1:{port}")


def test_a_server_without_tls(ask: Ask, serve: Callable[..., int]) -> None:
    port = serve(_answer(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    said = ask(f"https://127.0.0.1:{port}")
    assert said.startswith(f"no TLS connection with 127.0.0.1:{port} (")
    assert "is it an https address" in said


@pytest.mark.parametrize(
    ("names", "lifetime", "is_known", "says"),
    [
        (("127.0.0.1",), (-60, 3600), False, "is of an authority that is not trusted here ("),
        (("127.0.0.1",), (-7200, -3600), True, "has expired: renew it there, or set the clock of this machine"),
        (("127.0.0.1",), (3600, 7200), True, "is not valid yet: set the clock"),
        (("192.0.2.1",), (-60, 3600), True, "is for another name ("),
    ],
)
def test_a_certificate(
    ask: Ask,
    serve: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    names: tuple[str, ...],
    lifetime: tuple[int, int],
    is_known: bool,
    says: str,
) -> None:
    now = int(time.time())
    authority = certificates.lasting(dn="CN=Private CA", is_ca=True)
    made = certificates.make(by=authority, ip=names, start=now + lifetime[0], end=now + lifetime[1])
    certificate, key = made.write(tmp_path, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    port = serve(_answer(b""), context)
    if is_known:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.write(tmp_path, "authority")[0]))
    said = ask(f"https://127.0.0.1:{port}")
    assert said.startswith(f"the certificate of 127.0.0.1:{port} {says}"), said
    if not is_known:
        assert said.endswith(
            "SSL_CERT_FILE is not set): set SSL_CERT_FILE to a PEM file with the certificate of that authority"
        )


@pytest.mark.parametrize(
    ("scheme", "variable"), [("http", "HTTP_PROXY"), ("https", "https_proxy"), ("http", "ALL_PROXY")]
)
def test_a_proxy_that_does_not_answer_is_named_without_its_password(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, scheme: str, variable: str
) -> None:
    monkeypatch.setenv(variable, f"http://user:{CANARY}@127.0.0.1:9")
    said = ask(f"{scheme}://as.example")
    assert said.startswith(
        "the proxy http://127.0.0.1:9 (HTTP_PROXY, HTTPS_PROXY or ALL_PROXY) cannot be reached: it refused the connection"
    ), said
    assert said.endswith("set NO_PROXY=as.example")
    assert CANARY not in said


def test_a_proxy_that_refuses_is_named(ask: Ask, serve: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    port = serve(_answer(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    said = ask("https://as.example")
    assert f"the proxy http://127.0.0.1:{port}" in said
    assert "refused to connect to as.example (407 Proxy Authentication Required)" in said


def test_a_proxy_that_is_not_used_is_not_blamed(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert "proxy" not in ask(REFUSED)


def test_a_client_that_ignores_the_environment_is_not_told_of_its_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    def flow() -> Generator[Send, Reply | None, Reply | None]:
        return (yield Send("GET", REFUSED, timeout=2))

    with httpx2.Client(trust_env=False) as http, pytest.raises(Unreachable) as failed:
        transport.run(flow(), http)
    assert "proxy" not in str(failed.value)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("HTTPS_PROXY", "nonsense://proxy.example", "not with nonsense://"),
        ("ALL_PROXY", "socks5://127.0.0.1:9", "pip install socksio"),
        ("HTTP_PROXY", "http://[::1", "http://HOST:PORT"),
        ("HTTP_PROXY", "http://proxy.example:port", "http://HOST:PORT"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "/nowhere/ca.pem, named by SSL_CERT_FILE, cannot be used (no such file"),
        ("SSL_CERT_FILE", __file__, "named by SSL_CERT_FILE, cannot be used (no certificate"),
    ],
)
def test_variable_that_cannot_be_used_is_named(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "socksio" in said and importlib.util.find_spec("socksio"):
        pytest.skip("socksio is installed: the proxy can be used")
    monkeypatch.setenv(variable, value)
    for make in (http_client, async_http_client):
        with pytest.raises(ConfigError) as failed:
            make()
        assert said in str(failed.value)
        assert variable in str(failed.value)
    with pytest.raises(ConfigError, match=variable):
        Service("https://as.example", "billing", secret="s" * 32).token()
    with pytest.raises(RemoteError, match=variable):
        asyncio.run(_open(RemoteIssuer("https://as.example", http=None)))


async def _open(issuer: RemoteIssuer) -> None:
    async with issuer.connect():
        pass
