"""The origins at which the console is visited: that of the issuer, and for a loopback address its other names.

A passkey needs a host name, so the console of http://127.0.0.1:8377 is visited at http://localhost:8377.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from affiant.errors import Rejected
from affiant.reasons import Reason
from affiant.server.request import http

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class Origins:
    """The origins of one issuer."""

    def __init__(self, issuer: str) -> None:
        parts = urlsplit(issuer)
        host, _, port = parts.netloc.rpartition(":") if not parts.netloc.endswith("]") else (parts.netloc, "", "")
        host, port = (host, f":{port}") if host else (parts.netloc, "")
        hosts = _LOOPBACK if host in _LOOPBACK else (host,)
        self.all: tuple[str, ...] = tuple(f"{parts.scheme}://{one}{port}" for one in hosts)

    def check(self, scope: http.Scope) -> None:
        """Raise ADMIN_CSRF unless the request comes from a page of one of these origins."""
        sent = http.header(scope, b"origin")
        site = http.header(scope, b"sec-fetch-site")
        if len(sent) != 1 or sent[0].decode("latin-1") not in self.all or site not in ([], [b"same-origin"]):
            raise Rejected(Reason.ADMIN_CSRF)
