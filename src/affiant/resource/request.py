"""What the guard looks at of a request, read from ASGI."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any
from urllib.parse import quote

from affiant.oauth.binding import forwarded
from affiant.oauth.binding.forwarded import Proxies
from affiant.oauth.binding.mtls import Certificate
from affiant.values import Value

Scope = MutableMapping[str, Any]


# A WebSocket begins as a GET of http (RFC 6455 section 4.1), and that is what a proof names.
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class Proved(Value, frozen=True):
    """What a proof of possession is about: the request, and every value of its DPoP header.

    Attributes:
        method: of the request.
        url: of the request, as its sender knows it.
        proofs: every value of its DPoP header.
    """

    method: str
    url: str
    proofs: tuple[bytes, ...]


def read(scope: Scope, *, base: str | None) -> tuple[list[bytes], Proved | None]:
    """Every value of the Authorization header; and what is to be proved, where the request brings a proof.

    Args:
        scope: of ASGI.
        base: where callers reach this API, before the path; what the request says of its host when left out.
    """
    authorization, proofs = [], []
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization.append(value)
        elif name == b"dpop":
            proofs.append(value)
    if not proofs:
        return authorization, None
    return authorization, Proved(scope.get("method", "GET"), (base or _origin(scope)) + _path(scope), tuple(proofs))


def read_certificate(scope: Scope, proxies: Proxies) -> Certificate | None:
    """The client certificate that the request came with, or None (RFC 8705, RFC 9440).

    Args:
        scope: of ASGI; its client must be the peer itself, and no address out of a header.
        proxies: those with a trusted header, and its format.

    Raises:
        Rejected: CERTIFICATE_HEADER.
    """
    peer = scope["client"][0] if scope.get("client") else None
    return forwarded.find(scope["headers"], peer=peer, proxies=proxies, tls=(scope.get("extensions") or {}).get("tls"))


def _origin(scope: Scope) -> str:
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    return f"{_SCHEMES.get(scope.get('scheme', 'http'), 'http')}://{hosts[0] if hosts else ''}"


def _path(scope: Scope) -> str:
    # As it came, where the server tells it: what is decoded cannot be spelt again with certainty.
    raw: bytes | None = scope.get("raw_path")
    return raw.decode("latin-1") if raw else quote(scope["path"], safe="/%:@!$&'()*+,;=~-._")
