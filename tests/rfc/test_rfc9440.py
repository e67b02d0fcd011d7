"""RFC 9440: the header in which a proxy tells the certificate of a client."""

import pytest
from tests.certificates import client_cert

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth.binding import forwarded, subject
from affiant.oauth.binding.forwarded import Header, Proxies

# Appendix A, without the line breaks.
EXAMPLE = (
    b":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0"
    b"ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnM"
    b"tOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjL"
    b"a38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoG"
    b"CCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:"
)
PROXIES = Proxies.parse("10.0.0.1")


@pytest.mark.rfc(9440, "2.2")
def test_header_is_byte_sequence() -> None:
    found = Header().parse_values([EXAMPLE])
    assert subject.has_subject(found, subject.DN, "CN=BC")
    assert subject.has_subject(found, subject.SAN_EMAIL, "bdc@example.com")
    assert client_cert(found.der) == EXAMPLE


@pytest.mark.rfc(8941, "4.2")
def test_spaces_around_it_do_not_count() -> None:
    assert Header().parse_values([b"  " + EXAMPLE + b" "]).der == Header().parse_values([EXAMPLE]).der


@pytest.mark.rfc(9440, "2.2")
@pytest.mark.parametrize(
    "values",
    [
        [EXAMPLE, EXAMPLE],
        [EXAMPLE + b", " + EXAMPLE],
        [EXAMPLE + b";x=1"],
        [EXAMPLE.strip(b":")],
        [b'"' + EXAMPLE.strip(b":") + b'"'],
        [EXAMPLE.replace(b"/", b"_")],
        [EXAMPLE.replace(b"MIIB", b"MII B", 1)],
        [EXAMPLE.replace(b"yhk=", b"yhk")],
        [EXAMPLE.replace(b"yhk=", b"yhl=")],
        [b"::"],
        [b""],
    ],
)
def test_one_item_and_nothing_else(values: list[bytes]) -> None:
    with pytest.raises(Rejected) as refused:
        Header().parse_values(values)
    assert refused.value.reason is Reason.CERTIFICATE_HEADER


@pytest.mark.rfc(9440, "4")
def test_header_without_a_proxy() -> None:
    """Section 2.4: a proxy without a certificate to tell sends no header, and strips what came."""
    headers = [(forwarded.CLIENT_CERT, EXAMPLE)]
    assert forwarded.find(headers, peer="10.0.0.1", proxies=PROXIES, tls=None) is not None
    assert forwarded.find(headers, peer="10.0.0.2", proxies=PROXIES, tls=None) is None
    assert forwarded.find([], peer="10.0.0.1", proxies=PROXIES, tls=None) is None


@pytest.mark.rfc(9440, "2.3")
def test_chain_is_not_judged_here() -> None:
    """Whoever ended TLS has judged it; a chain without a certificate makes none."""
    chain = (b"client-cert-chain", EXAMPLE)
    assert forwarded.find([chain], peer="10.0.0.1", proxies=PROXIES, tls=None) is None
