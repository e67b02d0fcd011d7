"""The parser of requests, which reads one that asks for another protocol as if it had not asked (RFC 9110 7.8).

llhttp ends such a request with its headers and takes its body for the other protocol. Nobody speaks one here, so the
body would be read as the next request, with the rights of the proxy that sent it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    from affiant.cli.server.listening.connection import Connection


class Parser:
    """llhttp's, as uvicorn uses it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._begin()

    def _begin(self) -> None:
        self._inner = httptools.HttpRequestParser(self._connection)
        # One answer for a request that is not the last although it says so, as in uvicorn.
        self._inner.set_dangerous_leniencies(lenient_data_after_close=True)
        # Those that uvicorn calls.
        self.should_keep_alive = self._inner.should_keep_alive
        self.get_http_version = self._inner.get_http_version
        self.get_method = self._inner.get_method

    def feed_data(self, data: bytes) -> None:
        """Parse what came."""
        while True:
            try:
                self._inner.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._head() + data[upgrade.args[0] :]
                self._begin()
            else:
                return

    def should_upgrade(self) -> bool:
        """Whether the headers ask for another protocol, and are therefore read once more."""
        return bool(self._inner.should_upgrade())

    def _head(self) -> bytes:
        """Return the head of the request without its wish."""
        method, headers = self.get_method(), self._connection.headers
        if method == b"CONNECT":
            raise httptools.HttpParserError("CONNECT")
        line = b"%b %b HTTP/%b\r\n" % (method, self._connection.url, self.get_http_version().encode())
        kept = [b"%b: %b\r\n" % header for header in headers if header[0] != b"upgrade"]
        return line + b"".join(kept) + b"\r\n"
