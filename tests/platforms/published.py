"""A real https server for what issuers publish, under their own names or under its own.

`reach` is a Fetcher of the server's own kind, for which every name leads here: the URL, the Host and the certificate are
those of the platform, the address and the port are not.
"""

import json
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import httpcore2
from tests.certificates import authority
from tests.key_server import LOOPBACK, PUBLIC, Names
from tests.platforms.issuer import Issuer

from affiant.server.registry.addresses import Allowed, parse_allowed
from affiant.server.registry.fetch import Fetcher

_JSON = "application/json"


class Published:
    """The server. What it answers with may be changed while it runs.

    Attributes:
        port: of 127.0.0.1.
        issuers: whose documents it has.
        extra: further answers by URL: a status and a body.
        hits: every URL that was asked for.
    """

    def __init__(self, issuers: Iterable[Issuer]) -> None:
        self.issuers: list[Issuer] = list(issuers)
        self.extra: dict[str, tuple[int, bytes]] = {}
        self.hits: list[str] = []
        self.port = 0

    def url(self, path: str = "") -> str:
        """An URL of its own, for an issuer that a process of its own has to reach."""
        return f"https://{LOOPBACK}:{self.port}{path}"

    def answer(self, url: str) -> tuple[int, bytes]:
        self.hits.append(url)
        if url in self.extra:
            return self.extra[url]
        for issuer in self.issuers:
            if url in issuer.documents:
                return 200, json.dumps(issuer.documents[url]).encode()
        return 404, b"{}"

    def reach(self, allowed: str = "", *, knows_authority: bool = True) -> Fetcher:
        """A Fetcher whose names are public ones, and whose connections all come here."""
        trust = parse_allowed(allowed) if allowed else Allowed()
        names = Names([[PUBLIC]])
        return Fetcher(
            trust, resolve=names, network=redirected(self.port), tls=authority().trust() if knows_authority else None
        )


class _Redirected(httpcore2.AnyIOBackend):
    """Connects to one port of loopback, whatever the address: behind the check of the address, and before TLS."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    async def connect_tcp(self, host: str, port: int, *more: Any, **named: Any) -> httpcore2.AsyncNetworkStream:
        return await super().connect_tcp(LOOPBACK, self._port, *more, **named)


def redirected(port: int) -> httpcore2.AsyncNetworkBackend:
    """A network whose every connection comes to this port of loopback."""
    return _Redirected(port)


def hosts(issuers: Iterable[Issuer]) -> set[str]:
    """The names that a certificate must have for all that these publish."""
    return {str(urlsplit(url).hostname) for issuer in issuers for url in issuer.documents}


def _handler(published: Published) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = published.answer(f"https://{self.headers['Host']}{self.path}")
            self.send_response(status)
            self.send_header("Content-Type", _JSON)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    return Handler


class _Listening(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, published: Published, tls: ssl.SSLContext) -> None:
        self._tls = tls
        super().__init__((LOOPBACK, 0), _handler(published))

    def finish_request(self, request: Any, client_address: Any) -> None:
        # In the thread of the connection: a handshake that hangs keeps nobody waiting.
        with self._tls.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asks may go away."""


@contextmanager
def running(*issuers: Issuer, names: Iterable[str] = (), tls: ssl.SSLContext | None = None) -> Iterator[Published]:
    """The server, with a certificate for its own address, for the hosts of these issuers and for further names."""
    published = Published(issuers)
    tls = tls or authority().serve(LOOPBACK, "localhost", *sorted({*hosts(issuers), *names}))
    listening = _Listening(published, tls)
    published.port = listening.server_address[1]
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield published
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
