"""Find the client certificate of a request: from a trusted proxy, or from our own TLS (RFC 8705)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from affiant.oauth import names
from affiant.oauth.binding import forwarded
from affiant.oauth.binding.forwarded import Proxies
from affiant.oauth.binding.mtls import Certificate
from affiant.server.request.http import Scope

PEER = "affiant.peer"  # in the scope: the address of the connection, not one from a header (connection.py)


@dataclass(frozen=True, slots=True)
class Certificates:
    """The operator's settings for client certificates."""

    proxies: Proxies = field(default_factory=Proxies)  # whose header is trusted
    own_tls: bool = False  # whether this server itself requests certificates, and verifies them by its CAs
    # "ca": the proxy has verified the chain of every certificate; "any": it also passes on others, such as self-signed
    # ones. Then the names in a certificate prove nothing.
    trust: str = "ca"

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods by which clients can authenticate with a certificate."""
        if not (self.proxies.networks or self.own_tls):
            return ()
        by_key = (names.SELF_SIGNED_TLS_CLIENT_AUTH,)
        return by_key if self.trust == "any" or not self.proxies.header.is_judged else (names.TLS_CLIENT_AUTH, *by_key)

    def believing_all(self) -> Certificates:
        """Return the settings for a captured request: its proxy is unknown, so the header of any is trusted."""
        everywhere = Proxies.parse("0.0.0.0/0, ::/0").networks
        return replace(self, proxies=replace(self.proxies, networks=everywhere)) if self.methods else self

    def find(self, scope: Scope) -> Certificate | None:
        """Return the certificate of this request, or None."""
        if not self.methods:
            return None
        tls = (scope.get("extensions") or {}).get("tls")
        return forwarded.find(scope["headers"], peer=scope.get(PEER), proxies=self.proxies, tls=tls)
