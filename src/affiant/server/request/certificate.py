"""Where the certificate of a request comes from: a proxy that is trusted to tell it, or our own TLS (RFC 8705)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from affiant.oauth import names
from affiant.oauth.binding import forwarded
from affiant.oauth.binding.forwarded import Proxies
from affiant.oauth.binding.mtls import Certificate
from affiant.server.request.http import Scope

PEER = "affiant.peer"  # in the scope: the address of the connection, whatever a header says of another (connection.py)


@dataclass(frozen=True, slots=True)
class Certificates:
    """What an operator says of client certificates.

    Attributes:
        proxies: whose header is believed.
        own_tls: whether this server itself asks for certificates, and judges them by its authorities.
        trust: ``ca`` where only certificates come in whose chain was judged; ``any`` where the proxy lets others in
            too, such as self-signed ones. Then no name in a certificate means anything.
    """

    proxies: Proxies = field(default_factory=Proxies)
    own_tls: bool = False
    trust: str = "ca"

    @property
    def methods(self) -> tuple[str, ...]:
        """How clients can authenticate with a certificate here."""
        if not (self.proxies.networks or self.own_tls):
            return ()
        by_key = (names.SELF_SIGNED_TLS_CLIENT_AUTH,)
        return by_key if self.trust == "any" or not self.proxies.header.is_judged else (names.TLS_CLIENT_AUTH, *by_key)

    def believing_all(self) -> Certificates:
        """The same, for requests that are told of afterwards: whoever it came through, the header counts."""
        everywhere = Proxies.parse("0.0.0.0/0, ::/0").networks
        return replace(self, proxies=replace(self.proxies, networks=everywhere)) if self.methods else self

    def find(self, scope: Scope) -> Certificate | None:
        """The certificate that this request came with, or None."""
        if not self.methods:
            return None
        tls = (scope.get("extensions") or {}).get("tls")
        return forwarded.find(scope["headers"], peer=scope.get(PEER), proxies=self.proxies, tls=tls)
