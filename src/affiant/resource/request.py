"""Read from a request of ASGI what the guard checks."""

from __future__ import annotations

from affiant.oauth.binding import forwarded
from affiant.oauth.binding.forwarded import Proxies
from affiant.oauth.binding.mtls import Certificate
from affiant.oauth.resource_request import Proved, Scope, read

__all__ = ["Proved", "Scope", "read", "read_certificate"]


def read_certificate(scope: Scope, proxies: Proxies) -> Certificate | None:
    """Return the client certificate that the request came with, or None (RFC 8705, RFC 9440).

    Args:
        scope: of ASGI; its client must be the peer itself, not an address from a header.
        proxies: those with a trusted header, and its format.

    Raises:
        Rejected: CERTIFICATE_HEADER.
    """
    peer = scope["client"][0] if scope.get("client") else None
    return forwarded.find(scope["headers"], peer=peer, proxies=proxies, tls=(scope.get("extensions") or {}).get("tls"))
