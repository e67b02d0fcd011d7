"""Mutual TLS: the certificate of a client, and what it binds a token to (RFC 8705).

The server or proxy that ends TLS has checked that the sender holds the key of the certificate, and its chain.
forwarded.py finds the certificate of a request, subject.py compares its names.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from affiant.errors import Rejected
from affiant.jose import base64url
from affiant.reasons import Reason

CONFIRMATION = "x5t#S256"  # the member of cnf (RFC 8705 section 3.1)
MAX_BYTES = 16_384  # of a certificate in DER

_REMEMBERED = 1024  # certificates that are not read with each request


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


def parse(der: bytes) -> Certificate:
    """The certificate of these bytes."""
    if len(der) > MAX_BYTES:
        raise ValueError("the certificate is too long")
    return _parse(der)


@lru_cache(maxsize=_REMEMBERED)
def _parse(der: bytes) -> Certificate:
    try:
        content = x509.load_der_x509_certificate(der)
        # Read once, here: a certificate that cannot be read to its end is none. Its subject may have values of types
        # that cryptography does not read.
        _ = content.extensions, content.not_valid_after_utc
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension) as error:
        raise ValueError("not a certificate") from error
    except x509.UnsupportedGeneralNameType as error:
        raise ValueError("not a certificate that can be read") from error
    return Certificate(der, base64url.encode(sha256(der).digest()), content)


def parse_pem(text: str) -> Certificate:
    """The first certificate in this text."""
    begin, end = text.find("-----BEGIN CERTIFICATE-----"), text.find("-----END CERTIFICATE-----")
    if not 0 <= begin < end:
        raise ValueError("no certificate")
    return parse(ssl.PEM_cert_to_DER_cert(text[begin : end + len("-----END CERTIFICATE-----")]))


def sha256_hex(certificate: Certificate) -> str:
    """Return SHA-256 of its bytes in hexadecimal."""
    return sha256(certificate.der).hexdigest()


def check_time(certificate: Certificate, now: float) -> None:
    """Let a certificate pass that is valid now, whatever the proxy that looked at it thinks of the time."""
    content = certificate.content
    if not content.not_valid_before_utc.timestamp() <= now <= content.not_valid_after_utc.timestamp():
        raise Rejected(Reason.CERTIFICATE_TIME, expected=f"until {content.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}")
