"""The origins at which the console is visited: that of the issuer, and for a loopback address its other names.

A passkey needs a host name, so the console of http://127.0.0.1:8377 is visited at http://localhost:8377.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.server.request import http
from affiant.system.urls import LOOPBACK, PORTS, join_host


class Origins:
    """The origins of one issuer."""

    def __init__(self, issuer: str) -> None:
        parts = urlsplit(issuer)
        host = parts.hostname or ""
        self._scheme = parts.scheme
        self.is_secure: bool = parts.scheme == "https"
        self.port: int = parts.port or PORTS[parts.scheme]
        self._host = host
        self.own: str = self._build(host)
        self.all: tuple[str, ...] = tuple(map(self._build, sorted(LOOPBACK) if host in LOOPBACK else [host]))

    def check(self, scope: http.Scope) -> None:
        """Raise ADMIN_CSRF unless the request comes from a page of one of these origins (RFC 6454 section 7.3)."""
        sent = http.header(scope, b"origin")
        site = http.header(scope, b"sec-fetch-site")
        if len(sent) != 1 or sent[0].decode("latin-1") not in self.all or site not in ([], [b"same-origin"]):
            raise Rejected(Reason.ADMIN_CSRF)

    @property
    def rp_id(self) -> str | None:
        """The host name that passkeys are for (WebAuthn section 5.1.2); None if the server has no name."""
        if self._host in LOOPBACK:
            return "localhost"
        try:
            ipaddress.ip_address(self._host)
        except ValueError:
            return self._host
        return None

    def obstacle(self, scope: http.Scope) -> str | None:
        """Return why the page of this request cannot use passkeys, and what to do; None if it can."""
        if self.rp_id is None:
            return (
                "A passkey needs a host name, and this server is at an IP address:"
                " give it a name with AFFIANT_ISSUER. Until then, sign in with a link."
            )
        if self._host in LOOPBACK:
            named = b"".join(http.header(scope, b"host")).decode("latin-1").lower()
            if named.partition(":")[0] != self.rp_id:
                return f"A passkey needs a host name: open {self._build(self.rp_id)} instead of this address."
        elif not self.is_secure:
            return "A passkey needs https. Until the server has it, sign in with a link."
        return None

    def _build(self, host: str) -> str:
        # As a browser writes it: without the port of the scheme (RFC 6454 section 6.2).
        if self.port != PORTS[self._scheme]:
            return f"{self._scheme}://{join_host(host, self.port)}"
        return f"{self._scheme}://[{host}]" if ":" in host else f"{self._scheme}://{host}"
