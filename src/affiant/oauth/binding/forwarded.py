"""The client certificate of a request: from the proxy that ended TLS, or from our own TLS (RFC 8705, RFC 9440).

Attack: a client sends the header itself. It is read from trusted proxies only, and only the one header that they are
configured to send, which must be there once: a second one was not removed by the proxy.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import unquote_to_bytes

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.oauth.binding import mtls
from affiant.oauth.binding.mtls import Certificate

CLIENT_CERT = b"client-cert"  # RFC 9440
RFC9440, NGINX, XFCC, ALB, ALB_PASSTHROUGH = "rfc9440", "nginx", "xfcc", "alb", "alb-passthrough"

_MAX_VALUE = 65_536  # bytes of a header with a chain
_MAX_SINGLE = 2 * mtls.MAX_BYTES  # bytes of a header with one certificate
_BYTE_SEQUENCE = re.compile(rb":([A-Za-z0-9+/]+={0,2}):")  # RFC 8941 section 3.3.5
_ESCAPED = re.compile(rb"(?:[!-$&-~]|%[0-9A-Fa-f]{2})*")  # visible ASCII
_PEM = re.compile(
    rb"-----BEGIN CERTIFICATE-----\r?\n((?:[A-Za-z0-9+/=]+\r?\n)+)-----END CERTIFICATE-----(?:\r?\n|$)", re.ASCII
)
_PAIR = re.compile(rb'([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^",;]*)(;|$)')
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_OTHERS = ("authorization", "cookie", "dpop", "host")  # which mean something else


@dataclass(frozen=True, slots=True)
class Header:
    """The header in which the proxies send the certificate."""

    kind: str = RFC9440  # its format
    name: bytes = CLIENT_CERT  # in lower case

    @classmethod
    def parse(cls, text: str) -> Header:
        """Read a setting: a kind, or ``nginx:NAME`` for a header with another name."""
        kind, colon, name = text.partition(":")
        if kind not in _KINDS or (colon and kind != NGINX):
            raise ConfigError(f"{text[:100]!r} is no format: choose one of {', '.join(_KINDS)}, {NGINX}:HEADER-NAME")
        if colon and (not _NAME.fullmatch(name) or name.lower() in _OTHERS):
            raise ConfigError(f"{name[:100]!r} cannot be the header of a certificate: write {NGINX}:HEADER-NAME")
        return cls(kind, name.lower().encode("ascii") if colon else _KINDS[kind][0])

    @property
    def is_judged(self) -> bool:
        """Whether proxies verify the chain of every certificate in such a header by default."""
        return self.kind != ALB_PASSTHROUGH

    def parse_values(self, values: Sequence[bytes]) -> Certificate:
        """Return the certificate, or raise CERTIFICATE_HEADER."""
        try:
            if len(values) != 1:
                raise ValueError("more than one header")
            return _KINDS[self.kind][1](values[0])
        except (ValueError, binascii.Error):
            name = self.name.decode("ascii")
            raise Rejected(Reason.CERTIFICATE_HEADER, expected=f"one header {name} in the format {self.kind}") from None


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies whose header is trusted, by the peer address of their connections."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    header: Header = field(default_factory=Header)

    @classmethod
    def parse(cls, text: str, header: str = RFC9440) -> Proxies:
        """Read a list of addresses and networks, separated by commas, and the format of the header."""
        networks = tuple(_network(word.strip()) for word in text.split(",") if word.strip())
        return cls(networks, Header.parse(header))

    def has(self, peer: str | None) -> bool:
        """Whether this is the address of a proxy."""
        if not self.networks:
            return False
        try:
            address = ip_address(peer or "")
        except ValueError:
            return False
        # The form of an IPv4 peer of a socket that listens on ::.
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address.version == network.version and address in network for network in self.networks)


def _network(word: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(word)
    except ValueError:
        pass
    try:
        hint = f"is {ip_network(word, strict=False)} meant?"
    except ValueError:
        hint = "write one such as 10.0.0.5 or 10.0.0.0/8"
    raise ConfigError(f"{word[:100]!r} is not an address or a network: {hint}")


def find(
    headers: Iterable[tuple[bytes, bytes]], *, peer: str | None, proxies: Proxies, tls: Mapping[str, Any] | None
) -> Certificate | None:
    """Return the client certificate of a request, or None.

    The peer is the address of the connection, never one from a header. `tls` is the TLS extension of ASGI.
    """
    if proxies.has(peer):
        # A certificate of this connection would be the proxy's own, not the client's.
        values = [value for name, value in headers if name == proxies.header.name]
        return proxies.header.parse_values(values) if values else None
    chain = list((tls or {}).get("client_cert_chain") or ())
    if not chain or (tls or {}).get("client_cert_error"):
        return None
    try:
        return mtls.parse_pem(chain[0])
    except ValueError:
        raise Rejected(Reason.CERTIFICATE_HEADER) from None


def _rfc9440(value: bytes) -> Certificate:
    """Read a Byte Sequence (RFC 9440 section 2.2)."""
    found = _BYTE_SEQUENCE.fullmatch(value.strip(b" "))
    if found is None or len(value) > _MAX_SINGLE:
        raise ValueError("not a Byte Sequence")
    return _decode(found[1])


def _decode(text: bytes) -> Certificate:
    der = b64decode(text, validate=True)
    # Only the canonical encoding (RFC 8941 section 4.1.8).
    if b64encode(der) != text:
        raise ValueError("not canonical")
    return mtls.parse(der)


def _escaped_pem(value: bytes) -> Certificate:
    """Read one percent-encoded PEM certificate: $ssl_client_escaped_cert of nginx, or the leaf of ALB."""
    if len(value) > _MAX_SINGLE:
        raise ValueError("too long")
    return _decode(_blocks(value, most=1)[0])


def _escaped_chain(value: bytes) -> Certificate:
    """Read the first certificate of a percent-encoded PEM chain."""
    return _decode(_blocks(value, most=10)[0])


def _blocks(value: bytes, *, most: int) -> list[bytes]:
    if len(value) > _MAX_VALUE or _ESCAPED.fullmatch(value) is None:
        raise ValueError("not percent-encoded")
    text, at, found = unquote_to_bytes(value), 0, list[bytes]()
    while at < len(text) or not found:
        block = _PEM.match(text, at)
        if block is None or len(found) == most:
            raise ValueError("not PEM, or more than one")
        found.append(block[1].replace(b"\r", b"").replace(b"\n", b""))
        at = block.end()
    return found


def _xfcc(value: bytes) -> Certificate:
    """Read one element of X-Forwarded-Client-Cert in the format of Envoy.

    A second element comes from another proxy, or the first one from the client. Attack: a name in the certificate looks
    like a Cert element. Hash is required, since Envoy computes it.
    """
    members: dict[bytes, bytes] = {}
    at, end = 0, b";"
    if len(value) > _MAX_VALUE:
        raise ValueError("too long")
    while end:
        pair = _PAIR.match(value, at)
        if pair is None:  # a comma begins another element
            raise ValueError("not one element")
        name, text, at, end = pair[1].lower(), pair[2], pair.end(), pair[3]
        if name in members and name in (b"hash", b"cert", b"chain"):
            raise ValueError("twice")
        members[name] = text[1:-1] if text[:1] == b'"' else text
    found = [_escaped_pem(members[b"cert"])] if b"cert" in members else []
    found += [_escaped_chain(members[b"chain"])] if b"chain" in members else []
    thumbprint = members.get(b"hash", b"").decode("ascii").lower()
    if not found or any(mtls.sha256_hex(certificate) != thumbprint for certificate in found):
        raise ValueError("no certificate, or not the one that Hash names")
    return found[0]


# The header of each proxy. ALB sends only the leaf if it verifies certificates, otherwise the chain.
_KINDS: dict[str, tuple[bytes, Callable[[bytes], Certificate]]] = {
    RFC9440: (CLIENT_CERT, _rfc9440),
    NGINX: (b"ssl-client-cert", _escaped_pem),
    XFCC: (b"x-forwarded-client-cert", _xfcc),
    ALB: (b"x-amzn-mtls-clientcert-leaf", _escaped_pem),
    ALB_PASSTHROUGH: (b"x-amzn-mtls-clientcert", _escaped_chain),
}
