"""Mutual TLS: the certificate that a request came with, whom it is of, and what it binds a token to (RFC 8705).

Whoever ends TLS has seen that the sender holds the key of the certificate, and judged its chain. Behind a proxy the
certificate comes in a header (RFC 9440), which is believed from that proxy alone: anybody can write a header.
"""

from __future__ import annotations

import binascii
import re
import ssl
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from affiant.errors import ConfigError, Rejected
from affiant.jose import base64url
from affiant.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HEADER = b"client-cert"
CONFIRMATION = "x5t#S256"  # the member of cnf (RFC 8705 section 3.1)
MAX_BYTES = 16_384  # of a certificate in DER
SUBJECT_DN = "tls_client_auth_subject_dn"
SAN_DNS, SAN_URI = "tls_client_auth_san_dns", "tls_client_auth_san_uri"
SAN_IP, SAN_EMAIL = "tls_client_auth_san_ip", "tls_client_auth_san_email"
SUBJECT_MEMBERS = (SUBJECT_DN, SAN_DNS, SAN_URI, SAN_IP, SAN_EMAIL)

_MAX_NAME = 1024  # characters of a registered name
_REMEMBERED = 1024  # certificates that are not read anew with each request
_BYTE_SEQUENCE = re.compile(rb":([A-Za-z0-9+/]+={0,2}):")  # RFC 8941 section 3.3.5
_DNS_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")
_EMAIL = re.compile(r"[!-?A-~]+@[A-Za-z0-9.-]+")
# What openssl prints, beyond the names that RFC 4514 section 3 lists.
_DN_NAMES = {
    "emailAddress": x509.NameOID.EMAIL_ADDRESS,
    "serialNumber": x509.NameOID.SERIAL_NUMBER,
    "organizationIdentifier": x509.NameOID.ORGANIZATION_IDENTIFIER,
}
_SAN_KINDS: dict[str, type[x509.GeneralName]] = {
    SAN_DNS: x509.DNSName,
    SAN_URI: x509.UniformResourceIdentifier,
    SAN_IP: x509.IPAddress,
    SAN_EMAIL: x509.RFC822Name,
}


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate whose key the sender of a request holds.

    Attributes:
        der: its bytes.
        thumbprint: SHA-256 of them in base64url: x5t#S256 (RFC 8705 section 3.1).
        content: what it says.
    """

    der: bytes = field(repr=False)
    thumbprint: str
    content: x509.Certificate = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Proxies:
    """Those whose header is believed, by the address that their connection comes from."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Proxies:
        """Addresses and networks, separated by commas.

        Raises:
            ConfigError: one is neither.
        """
        return cls(tuple(_network(word.strip()) for word in text.split(",") if word.strip()))

    def has(self, peer: str | None) -> bool:
        """Whether this address is one of theirs."""
        try:
            address = ip_address(peer or "")
        except ValueError:
            return False
        # A socket that listens on :: tells of an IPv4 peer like this.
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


def parse(der: bytes) -> Certificate:
    """The certificate of these bytes.

    Raises:
        ValueError: they are none.
    """
    if len(der) > MAX_BYTES:
        raise ValueError("the certificate is too long")
    return _parse(der)


@lru_cache(maxsize=_REMEMBERED)
def _parse(der: bytes) -> Certificate:
    try:
        content = x509.load_der_x509_certificate(der)
        # Read once, here: a certificate that cannot be read to its end is none.
        _ = content.subject, content.extensions, content.not_valid_after_utc
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension) as error:
        raise ValueError("not a certificate") from error
    except x509.UnsupportedGeneralNameType as error:
        raise ValueError("not a certificate that can be read") from error
    return Certificate(der, base64url.encode(sha256(der).digest()), content)


def parse_pem(text: str) -> Certificate:
    """The first certificate in this text.

    Raises:
        ValueError: there is none.
    """
    begin, end = text.find("-----BEGIN CERTIFICATE-----"), text.find("-----END CERTIFICATE-----")
    if not 0 <= begin < end:
        raise ValueError("no certificate")
    return parse(ssl.PEM_cert_to_DER_cert(text[begin : end + len("-----END CERTIFICATE-----")]))


def build_header(der: bytes) -> bytes:
    """The value of Client-Cert (RFC 9440 section 2.2)."""
    return b":" + b64encode(der) + b":"


def parse_header(values: Sequence[bytes]) -> Certificate:
    """The certificate in the values of Client-Cert: one, an Item that is a Byte Sequence (RFC 9440 section 2.2).

    Raises:
        Rejected: CERTIFICATE_HEADER.
    """
    found = _BYTE_SEQUENCE.fullmatch(values[0].strip(b" ")) if len(values) == 1 else None
    if found is None or len(found[1]) > 2 * MAX_BYTES:
        raise Rejected(Reason.CERTIFICATE_HEADER)
    try:
        der = b64decode(found[1], validate=True)
        # One spelling only: RFC 8941 section 4.1.8 says how it is made.
        if b64encode(der) != found[1]:
            raise ValueError("not canonical")
        return parse(der)
    except (ValueError, binascii.Error):
        raise Rejected(Reason.CERTIFICATE_HEADER) from None


def find(
    headers: Iterable[tuple[bytes, bytes]], *, peer: str | None, proxies: Proxies, tls: Mapping[str, Any] | None
) -> Certificate | None:
    """The certificate that a request came with, or None.

    Args:
        headers: of the request, their names in lower case.
        peer: the address that the connection came from, whatever a header says of another.
        proxies: those whose header is believed.
        tls: what the server that ended TLS tells of the connection (the TLS extension of ASGI).

    Raises:
        Rejected: CERTIFICATE_HEADER.
    """
    if proxies.has(peer):
        # Of a proxy the header counts, or its absence: a certificate of its connection to us is its own.
        values = [value for name, value in headers if name == HEADER]
        return parse_header(values) if values else None
    chain = list((tls or {}).get("client_cert_chain") or ())
    if not chain or (tls or {}).get("client_cert_error"):
        return None
    try:
        return parse_pem(chain[0])
    except ValueError:
        raise Rejected(Reason.CERTIFICATE_HEADER) from None


def check_time(certificate: Certificate, now: float) -> None:
    """Let a certificate pass that is valid now, whatever the proxy that looked at it thinks of the time.

    Raises:
        Rejected: CERTIFICATE_TIME.
    """
    content = certificate.content
    if not content.not_valid_before_utc.timestamp() <= now <= content.not_valid_after_utc.timestamp():
        raise Rejected(Reason.CERTIFICATE_TIME, expected=f"until {content.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}")


def check_subject(member: str, value: str) -> tuple[str, str]:
    """The one name that a client's certificate must have, as it is registered (RFC 8705 section 2.1.2).

    Raises:
        ConfigError: not one of the five members, or not such a name.
    """
    if member not in SUBJECT_MEMBERS:
        raise ConfigError(f"a certificate's name is one of: {', '.join(SUBJECT_MEMBERS)}")
    try:
        if not 1 <= len(value) <= _MAX_NAME or not _normal(member, value):
            raise ValueError("empty or too long")
    except ValueError:
        raise ConfigError(f"{member} cannot be {value[:100]!r}: {_EXAMPLES[member]}") from None
    return member, value


_EXAMPLES = {
    SUBJECT_DN: "write it like CN=billing,O=Example,C=DE (RFC 4514)",
    SAN_DNS: "write a host name, without a wildcard",
    SAN_URI: "write an absolute URI",
    SAN_IP: "write an IPv4 or IPv6 address",
    SAN_EMAIL: "write an address like billing@example.com",
}


def has_subject(certificate: Certificate, member: str, value: str) -> bool:
    """Whether the certificate has the registered name (RFC 8705 section 2.1.2).

    A name of the kind that is registered must be the same: no wildcard counts, and the subject never stands for a
    subjectAltName, or the other way round.
    """
    wanted = _normal(member, value)
    if member == SUBJECT_DN:
        # Attribute by attribute, in their order: a text can be spelt in more than one way.
        return certificate.content.subject == wanted
    try:
        extension = certificate.content.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return False
    return any(_is_same(member, found, wanted) for found in extension.value if isinstance(found, _SAN_KINDS[member]))


def _is_same(member: str, found: Any, wanted: object) -> bool:
    try:
        return bool(_normal(member, str(found.value)) == wanted)
    except ValueError:
        return False


@lru_cache(maxsize=_REMEMBERED)
def _normal(member: str, value: str) -> object:
    """The name in the form in which it is compared.

    Raises:
        ValueError: it is none of that kind.
    """
    if member == SUBJECT_DN:
        return _name(value)
    if member == SAN_IP:
        return ip_address(value)
    if member == SAN_DNS:
        return _matching(_DNS_NAME, value.lower()).rstrip(".")
    if member == SAN_EMAIL:
        # RFC 5280 section 7.5: only the host is compared without case.
        local, _, host = _matching(_EMAIL, value).rpartition("@")
        return local, host.lower()
    return _matching(_URI, value)  # RFC 3986 section 6.2.1: simple string comparison


def _matching(pattern: re.Pattern[str], value: str) -> str:
    if pattern.fullmatch(value) is None:
        raise ValueError(value)
    return value


def _name(text: str) -> x509.Name:
    name = x509.Name.from_rfc4514_string(text, _DN_NAMES)
    if not name.rdns:
        raise ValueError("an empty name")
    return name
