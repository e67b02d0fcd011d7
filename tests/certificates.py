"""Certificates for tests: authorities, what they issue, what signs itself, and the header of RFC 9440."""

import ssl
import tempfile
import time
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from affiant.jose import jwk, keys
from affiant.jose.keys import PublicKey
from affiant.oauth.binding import forwarded, mtls

NOW = 1_800_000_000
DAY = 86_400
DN = "CN=billing,OU=Payments,O=Ex\\, Inc,C=DE"


def client_cert(der: bytes) -> bytes:
    """Return the value of Client-Cert (RFC 9440 section 2.2)."""
    return b":" + b64encode(der) + b":"


@dataclass(frozen=True)
class Made:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def thumbprint(self) -> str:
        return mtls.parse(self.der).thumbprint

    @property
    def header(self) -> tuple[bytes, bytes]:
        return forwarded.CLIENT_CERT, client_cert(self.der)

    @property
    def text(self) -> str:
        return client_cert(self.der).decode()

    @property
    def public(self) -> PublicKey:
        """The key with its certificate, as it is registered for self_signed_tls_client_auth."""
        members = jwk.build(self.key.public_key())
        return keys.parse_public_jwk({**members, "x5c": [b64encode(self.der).decode()]})

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        pkcs8 = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, pkcs8, serialization.NoEncryption())

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """The files of the certificate and of its key, PEM."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(self.pem)
        key.write_bytes(self.key_pem)
        return certificate, key

    def trust(self) -> ssl.SSLContext:
        """What a client needs that believes this authority, and no other."""
        return ssl.create_default_context(cadata=self.pem.decode())

    def serve(self, *names: str, days: int = 1) -> ssl.SSLContext:
        """What a server needs that has a certificate of this authority for these names, which ends in so many days."""
        addresses = tuple(name for name in names if ":" in name or name.replace(".", "").isdigit())
        end = time.time() + days * DAY
        dns = tuple(name for name in names if name not in addresses)
        made = make(dn="CN=server", dns=dns, ip=addresses, by=self, start=end - 30 * DAY, end=end)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            context.load_cert_chain(*made.write(Path(folder), "server"))
        return context


def make(
    *,
    dn: str | x509.Name = DN,
    dns: tuple[str, ...] = (),
    uri: tuple[str, ...] = (),
    ip: tuple[str, ...] = (),
    email: tuple[str, ...] = (),
    by: Made | None = None,
    is_ca: bool = False,
    start: float = NOW - 3600,
    end: float = NOW + 86_400,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> Made:
    """A certificate with these names, signed by another one's key or by its own."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    names: list[Any] = [*map(x509.DNSName, dns), *map(x509.UniformResourceIdentifier, uri)]
    names += [x509.IPAddress(ip_address(text)) for text in ip]
    names += map(x509.RFC822Name, email)
    subject = x509.Name.from_rfc4514_string(dn) if isinstance(dn, str) else dn
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(start, UTC))
        .not_valid_after(datetime.fromtimestamp(end, UTC))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key((by.key if by else key).public_key()), critical=False
        )
        .add_extension(x509.KeyUsage(True, False, False, False, False, is_ca, is_ca, False, False), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Made(builder.sign(by.key if by else key, hashes.SHA256()), key)


def lasting(**options: Any) -> Made:
    """A certificate for real processes, which go by the clock on the wall."""
    now = time.time()
    return make(**{"start": now - 3600, "end": now + DAY, **options})


def make_authority() -> Made:
    return lasting(dn="CN=authority", is_ca=True)


authority = cache(make_authority)  # the one that these tests trust
