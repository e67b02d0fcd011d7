"""Certificates: the header, who may send it, and the names that are compared."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from tests.certificates import DN, NOW, make

from affiant.errors import ConfigError, Rejected
from affiant.oauth.binding import mtls
from affiant.oauth.binding.mtls import SAN_DNS, SAN_EMAIL, SAN_IP, SAN_URI, SUBJECT_DN, Proxies
from affiant.reasons import Reason

NAMED = make(
    dns=("SVC.example", "*.wild.example"),
    uri=("spiffe://example/billing",),
    ip=("192.0.2.7", "2001:db8::1"),
    email=("Bill@Example.com",),
)
PARSED = mtls.parse(NAMED.der)
PROXIES = Proxies.parse("10.0.0.0/8, 2001:db8::/32,192.0.2.1")


@pytest.mark.parametrize(
    ("member", "value"),
    [
        (SUBJECT_DN, DN),
        (SUBJECT_DN, "CN=billing,OU=Payments,O=Ex\\2C Inc,C=DE"),
        (SAN_DNS, "svc.example"),
        (SAN_DNS, "svc.EXAMPLE."),
        (SAN_URI, "spiffe://example/billing"),
        (SAN_IP, "192.0.2.7"),
        (SAN_IP, "2001:DB8:0:0::1"),
        (SAN_EMAIL, "Bill@EXAMPLE.com"),
    ],
)
def test_name_fits(member: str, value: str) -> None:
    assert mtls.has_subject(PARSED, *mtls.check_subject(member, value))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        (SUBJECT_DN, "CN=billing"),
        (SUBJECT_DN, "CN=billing,O=Ex\\, Inc,OU=Payments,C=DE"),
        (SUBJECT_DN, "CN=Billing,OU=Payments,O=Ex\\, Inc,C=DE"),
        (SUBJECT_DN, "CN=billing+OU=Payments,O=Ex\\, Inc,C=DE"),
        (SAN_DNS, "billing"),
        (SAN_DNS, "a.wild.example"),
        (SAN_DNS, "example"),
        (SAN_DNS, "192.0.2.7"),
        (SAN_URI, "spiffe://example/Billing"),
        (SAN_URI, "spiffe://example/billing/"),
        (SAN_IP, "192.0.2.8"),
        (SAN_IP, "::ffff:192.0.2.7"),
        (SAN_EMAIL, "bill@example.com"),
    ],
)
def test_name_does_not_fit(member: str, value: str) -> None:
    assert not mtls.has_subject(PARSED, *mtls.check_subject(member, value))


@pytest.mark.parametrize("member", [SAN_DNS, SAN_URI, SAN_IP, SAN_EMAIL])
def test_subject_stands_for_no_other_name(member: str) -> None:
    bare = mtls.parse(make(dn="CN=svc.example").der)
    value = {SAN_IP: "192.0.2.7", SAN_URI: "urn:x", SAN_EMAIL: "a@b"}.get(member, "svc.example")
    assert not mtls.has_subject(bare, member, value)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("tls_client_auth_cn", "x"),
        (SUBJECT_DN, ""),
        (SUBJECT_DN, "billing"),
        (SUBJECT_DN, "CN="),
        (SAN_DNS, "*.example"),
        (SAN_DNS, "a b"),
        (SAN_DNS, "a\0.example"),
        (SAN_URI, "example/x"),
        (SAN_IP, "192.0.2.0/24"),
        (SAN_EMAIL, "example.com"),
        (SAN_DNS, "a" * 2000),
    ],
)
def test_name_cannot_be_registered(member: str, value: str) -> None:
    with pytest.raises(ConfigError):
        mtls.check_subject(member, value)


@pytest.mark.parametrize(
    ("peer", "is_one"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("192.0.2.1", True),
        ("2001:db8::9", True),
        ("192.0.2.2", False),
        ("2001:db9::9", False),
        ("::1", False),
        ("", False),
        (None, False),
        ("unix:", False),
        ("10.1.2.3, 10.1.2.4", False),
    ],
)
def test_proxy_is_known_by_its_address(peer: str | None, is_one: bool) -> None:
    assert PROXIES.has(peer) is is_one
    assert not Proxies().has(peer)


@pytest.mark.parametrize("text", ["*", "proxy.example", "10.0.0.1/8", "10.0.0.0/33"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        Proxies.parse(text)


@pytest.mark.parametrize(
    "values",
    [
        [b""],
        [b"::"],
        [NAMED.der],
        [NAMED.header[1][1:]],
        [NAMED.header[1][:-1]],
        [NAMED.header[1] + b";a=1"],
        [NAMED.header[1], NAMED.header[1]],
        [NAMED.header[1] + b", " + NAMED.header[1]],
        [NAMED.header[1].replace(b"=", b"") if b"=" in NAMED.header[1] else NAMED.header[1][:-1] + b"=:"],
        [b":QQ==:"],
        [b":QR==:"],
        [mtls.build_header(NAMED.der + b"\0")],
        [mtls.build_header(NAMED.der[:-1])],
        [mtls.build_header(bytes(mtls.MAX_BYTES + 1))],
        [b"-----BEGIN CERTIFICATE-----"],
        [NAMED.header[1].replace(b"A", b"-", 1)],
    ],
)
def test_header_is_read_strictly(values: list[bytes]) -> None:
    with pytest.raises(Rejected) as refused:
        mtls.parse_header(values)
    assert refused.value.reason is Reason.CERTIFICATE_HEADER


def test_header_is_of_proxies_alone() -> None:
    def find(peer: str | None, *chain: str) -> str | None:
        tls = {"client_cert_chain": list(chain)}
        found = mtls.find([NAMED.header], peer=peer, proxies=PROXIES, tls=tls)
        return found.thumbprint if found else None

    own = make()
    pem = own.certificate.public_bytes(serialization.Encoding.PEM).decode()
    assert find("10.0.0.1") == NAMED.thumbprint
    assert find("203.0.113.7") is None
    assert find("203.0.113.7", pem) == own.thumbprint
    # The certificate of a proxy is its own, and never the client's.
    assert mtls.find([], peer="10.0.0.1", proxies=PROXIES, tls={"client_cert_chain": [pem]}) is None
    assert (
        mtls.find([], peer=None, proxies=Proxies(), tls={"client_cert_chain": [pem], "client_cert_error": "x"}) is None
    )
    assert mtls.find([], peer=None, proxies=Proxies(), tls=None) is None
    with pytest.raises(Rejected):
        mtls.find([], peer=None, proxies=Proxies(), tls={"client_cert_chain": ["x"]})


@pytest.mark.parametrize(
    ("at", "is_valid"), [(NOW - 3600, True), (NOW + 86_400, True), (NOW - 3601, False), (NOW + 86_401, False)]
)
def test_time_is_ours(at: float, is_valid: bool) -> None:
    try:
        mtls.check_time(PARSED, at)
    except Rejected as refusal:
        assert (refusal.reason, is_valid) == (Reason.CERTIFICATE_TIME, False)
    else:
        assert is_valid


def test_repr_shows_no_bytes() -> None:
    assert "der" not in repr(PARSED)
