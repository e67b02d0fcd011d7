"""The registered name that a client's certificate must have (RFC 8705 section 2.1.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any

from cryptography import x509

from affiant.errors import ConfigError
from affiant.oauth.binding import distinguished
from affiant.oauth.binding.mtls import Certificate

DN = "tls_client_auth_subject_dn"
SAN_DNS, SAN_URI = "tls_client_auth_san_dns", "tls_client_auth_san_uri"
SAN_IP, SAN_EMAIL = "tls_client_auth_san_ip", "tls_client_auth_san_email"
SUBJECT_MEMBERS = (DN, SAN_DNS, SAN_URI, SAN_IP, SAN_EMAIL)

_MAX_NAME = 1024  # characters of a registered name
_MAX_SHOWN = 512  # characters of the names of a certificate in a message
_REMEMBERED = 1024  # parsed registered names
_DNS_NAME = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?",
    # Attack: without ASCII, U+212A (KELVIN SIGN) is a k.
    re.IGNORECASE | re.ASCII,
)
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?://([^/?#]*))?([!-~]*)")
_EMAIL = re.compile(r"([!-?A-~]+)@([A-Za-z0-9.-]+)")
_KINDS: dict[str, type[x509.GeneralName]] = {
    SAN_DNS: x509.DNSName,
    SAN_URI: x509.UniformResourceIdentifier,
    SAN_IP: x509.IPAddress,
    SAN_EMAIL: x509.RFC822Name,
}
_EXAMPLES = {
    DN: "write it like CN=billing,O=Example,C=DE (RFC 4514)",
    SAN_DNS: "write a host name in ASCII (xn--... for others), without a wildcard",
    SAN_URI: "write an absolute URI",
    SAN_IP: "write an IPv4 or IPv6 address",
    SAN_EMAIL: "write an address like billing@example.com",
}


def check_subject(member: str, value: str) -> tuple[str, str]:
    """Return the name if it can be registered: if it can be read in one way only."""
    if member not in SUBJECT_MEMBERS:
        raise ConfigError(f"a certificate's name is one of: {', '.join(SUBJECT_MEMBERS)}")
    why = ""
    try:
        if not 1 <= len(value) <= _MAX_NAME:
            raise ValueError(f"it must have 1 to {_MAX_NAME:,} characters")
        _normal(member, value)
    except ValueError as error:
        why = f"{error}; " if member == DN else ""
        raise ConfigError(f"{member} cannot be {value[:100]!r}: {why}{_EXAMPLES[member]}") from None
    return member, value


def has_subject(certificate: Certificate, member: str, value: str) -> bool:
    """Whether the certificate has the registered name.

    A name of the registered kind must be the same: no wildcard counts, and the subject never replaces a
    subjectAltName, or the other way round.
    """
    try:
        wanted = _normal(member, value)
    except ValueError:
        return False
    if member == DN:
        return any(found.matches(wanted) for found in _subject(certificate))
    return any(_is_same(member, found, wanted) for found in _alternatives(certificate, member))


def show(member: str, value: str) -> str:
    """Return the registered name for a message, in the form in which it is compared."""
    try:
        return f"{member} {_normal(member, value) if member == DN else value}"
    except ValueError:
        return f"{member} {value[:_MAX_SHOWN]}"


def show_found(certificate: Certificate, member: str) -> str:
    """Return the names of this kind in the certificate, for a message."""
    names = _subject(certificate) if member == DN else _alternatives(certificate, member)
    text = ", ".join(map(str, names)) or "none"
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return f"{member} {printable[:_MAX_SHOWN]}{'...' if len(printable) > _MAX_SHOWN else ''}"


def _subject(certificate: Certificate) -> Iterator[distinguished.Name]:
    try:
        yield distinguished.parse_certificate(certificate.content)
    except ValueError:
        return


def _alternatives(certificate: Certificate, member: str) -> Iterator[str]:
    try:
        extension = certificate.content.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return
    yield from (str(found.value) for found in extension.value if isinstance(found, _KINDS[member]))


def _is_same(member: str, found: str, wanted: object) -> bool:
    try:
        return bool(_read(member, found) == wanted)
    except ValueError:
        return False


@lru_cache(maxsize=_REMEMBERED)
def _normal(member: str, value: str) -> Any:
    return _read(member, value)


def _read(member: str, value: str) -> Any:
    """Return the name in the form in which it is compared."""
    if member == DN:
        return distinguished.parse(value)
    if member == SAN_IP:
        return _address(value)
    if member == SAN_DNS:
        return _matching(_DNS_NAME, value)[0].lower().rstrip(".")
    if member == SAN_EMAIL:
        # RFC 5280 section 7.5: only the host is compared without case.
        local, host = _matching(_EMAIL, value).groups()
        return local, host.lower()
    return _uri(value)


def _uri(value: str) -> tuple[str, ...]:
    scheme, authority, rest = _matching(_URI, value).groups(default="")
    user, at, host = authority.rpartition("@")
    if not (value.isascii() and value.isprintable() and " " not in value) or not authority + rest:
        raise ValueError(value)
    # RFC 3986 section 6.2.2.1: only scheme and host are compared without case.
    return scheme.lower(), user + at, host.lower(), rest


def _address(value: str) -> Any:
    address = ip_address(value)
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise ValueError("a certificate has no zone")
    return address


def _matching(pattern: re.Pattern[str], value: str) -> re.Match[str]:
    if (found := pattern.fullmatch(value)) is None:
        raise ValueError(value)
    return found
