"""What is known of a connection, and lost behind the headers of a request: who is at its other end."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from affiant.server.request.certificate import PEER

if TYPE_CHECKING:
    import asyncio


class Connection(HttpToolsProtocol):
    """uvicorn's, which also notes the peer, and the certificate that it showed (the TLS extension of ASGI)."""

    _tls: dict[str, Any] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Read the certificate once: it stays the same for all requests."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            der = tls.getpeercert(binary_form=True)
            self._tls = {"client_cert_chain": [ssl.DER_cert_to_PEM_cert(der)] if der else []}

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        # Before any middleware puts the address of X-Forwarded-For in its place.
        scope[PEER] = self.client[0] if self.client else None
        if self._tls is not None:
            scope["extensions"] = {"tls": self._tls}
