"""Mutual TLS: the certificate of a client, and tokens that are bound to it (RFC 8705).

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
from affiant.errors.reasons import Reason
from affiant.jose import base64url
from affiant.system.text import instant

CONFIRMATION = "x5t#S256"  # the member of cnf (RFC 8705 section 3.1)
MAX_BYTES = 16_384  # of a certificate in DER

_REMEMBERED = 1024  # parsed certificates


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate. The sender of the request has its key."""

    der: bytes = field(repr=False)
    thumbprint: str  # x5t#S256: SHA-256 of the DER in base64url (RFC 8705 section 3.1)
    content: x509.Certificate = field(repr=False, compare=False)


def parse(der: bytes) -> Certificate:
    """Read a certificate in DER, or raise ValueError."""
    if len(der) > MAX_BYTES:
        raise ValueError("the certificate is too long")
    return _parse(der)


@lru_cache(maxsize=_REMEMBERED)
def _parse(der: bytes) -> Certificate:
    try:
        content = x509.load_der_x509_certificate(der)
        # Reject a certificate that cannot be read to its end. Its subject is not read here: it may have values of types
        # that cryptography does not know.
        _ = content.extensions, content.not_valid_after_utc
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension) as error:
        raise ValueError("not a certificate") from error
    except x509.UnsupportedGeneralNameType as error:
        raise ValueError("not a certificate that can be read") from error
    return Certificate(der, base64url.encode(sha256(der).digest()), content)


def parse_pem(text: str) -> Certificate:
    """Read the first certificate in this text, or raise ValueError."""
    begin, end = text.find("-----BEGIN CERTIFICATE-----"), text.find("-----END CERTIFICATE-----")
    if not 0 <= begin < end:
        raise ValueError("no certificate")
    return parse(ssl.PEM_cert_to_DER_cert(text[begin : end + len("-----END CERTIFICATE-----")]))


def sha256_hex(certificate: Certificate) -> str:
    return sha256(certificate.der).hexdigest()


def check_time(certificate: Certificate, now: float) -> None:
    """Reject a certificate that is not valid now. The proxy's clock may be wrong."""
    content = certificate.content
    if not content.not_valid_before_utc.timestamp() <= now <= content.not_valid_after_utc.timestamp():
        raise Rejected(Reason.CERTIFICATE_TIME, expected=f"until {instant(content.not_valid_after_utc.timestamp())}")
