"""The one name of a certificate that is registered: what it may be, and what it equals."""

import pytest
from tests.certificates import DN as SUBJECT
from tests.certificates import make

from affiant.errors import ConfigError
from affiant.oauth.binding import mtls, subject
from affiant.oauth.binding.subject import DN, SAN_DNS, SAN_EMAIL, SAN_IP, SAN_URI

NAMED = make(
    dns=("SVC.example", "*.wild.example"),
    uri=("spiffe://example/billing",),
    ip=("192.0.2.7", "2001:db8::1"),
    email=("Bill@Example.com",),
)
PARSED = mtls.parse(NAMED.der)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        (DN, SUBJECT),
        (DN, "CN=billing,OU=Payments,O=Ex\\2C Inc,C=DE"),
        (SAN_DNS, "svc.example"),
        (SAN_DNS, "svc.EXAMPLE."),
        (SAN_URI, "spiffe://example/billing"),
        (SAN_IP, "192.0.2.7"),
        (SAN_IP, "2001:DB8:0:0::1"),
        (SAN_EMAIL, "Bill@EXAMPLE.com"),
    ],
)
def test_name_fits(member: str, value: str) -> None:
    assert subject.has_subject(PARSED, *subject.check_subject(member, value))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        (DN, "CN=billing"),
        (DN, "CN=billing,O=Ex\\, Inc,OU=Payments,C=DE"),
        (DN, "CN=billin,OU=Payments,O=Ex\\, Inc,C=DE"),
        (DN, "CN=billing+OU=Payments,O=Ex\\, Inc,C=DE"),
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
    assert not subject.has_subject(PARSED, *subject.check_subject(member, value))


@pytest.mark.parametrize("member", [SAN_DNS, SAN_URI, SAN_IP, SAN_EMAIL])
def test_subject_does_not_replace_another_name(member: str) -> None:
    bare = mtls.parse(make(dn="CN=svc.example").der)
    value = {SAN_IP: "192.0.2.7", SAN_URI: "urn:x", SAN_EMAIL: "a@b"}.get(member, "svc.example")
    assert not subject.has_subject(bare, member, value)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        (DN, ""),
        (DN, "billing"),
        (DN, "CN="),
        (SAN_DNS, "*.example"),
        (SAN_DNS, "a b"),
        (SAN_DNS, "a\0.example"),
        (SAN_URI, "example/x"),
        (SAN_IP, "192.0.2.0/24"),
        (SAN_EMAIL, "example.com"),
        (SAN_DNS, "a" * 2000),
        (SAN_DNS, "\u212aelvin.example"),  # which is a k in lower case
        (SAN_DNS, "bücher.example"),
        (SAN_URI, "https://bücher.example/"),
        (SAN_URI, "urn:"),
        (SAN_URI, "urn:a b"),
        (SAN_IP, "fe80::1%eth0"),
        (SAN_IP, "192.0.2.07"),
        (SAN_EMAIL, "a@bücher.example"),
    ],
)
def test_name_cannot_be_registered(member: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{member} cannot be"):
        subject.check_subject(member, value)


def test_common_name_cannot_be_registered() -> None:
    with pytest.raises(ConfigError, match="a certificate's name is one of: "):
        subject.check_subject("tls_client_auth_cn", "x")


@pytest.mark.rfc(3986, "6.2.2.1")
def test_scheme_and_host_of_a_uri_are_compared_without_case() -> None:
    shown = mtls.parse(make(uri=("https://User@API.example:443/A?b#C",)).der)
    assert subject.has_subject(shown, SAN_URI, "HTTPS://User@api.example:443/A?b#C")
    for other in (
        "https://user@api.example:443/A?b#C",
        "https://User@api.example/A?b#C",
        "https://User@api.example:443/a?b#C",
        "https://User@api.example:443/A?B#C",
        "https://User@api.example:443/A?b#c",
        "https:User@API.example:443/A?b#C",
        "https:///User@API.example:443/A?b#C",
    ):
        assert not subject.has_subject(shown, SAN_URI, other)
    urn = mtls.parse(make(uri=("urn:Example:A",)).der)
    assert subject.has_subject(urn, SAN_URI, "URN:Example:A")
    assert not subject.has_subject(urn, SAN_URI, "urn:example:A")


@pytest.mark.parametrize(
    ("member", "found"),
    [
        (DN, SUBJECT),
        (SAN_DNS, "SVC.example, *.wild.example"),
        (SAN_URI, "spiffe://example/billing"),
        (SAN_IP, "192.0.2.7, 2001:db8::1"),
        (SAN_EMAIL, "Bill@Example.com"),
    ],
)
def test_names_of_a_certificate_are_shown_as_they_can_be_registered(member: str, found: str) -> None:
    assert subject.show_found(PARSED, member) == f"{member} {found}"
    assert subject.show_found(mtls.parse(make(dn="CN=x").der), SAN_DNS) == f"{SAN_DNS} none"


def test_names_in_messages_are_bounded_and_printable() -> None:
    shown = subject.show_found(mtls.parse(make(dns=tuple(f"{n}.{'a' * 40}.example" for n in range(100))).der), SAN_DNS)
    assert len(shown) < 600
    assert shown.endswith("...")
    assert subject.show(DN, "C = DE, CN = a\\0Ab") == f"{DN} C = DE, CN = a\\0Ab"
    assert subject.show(DN, "C = DE, CN = a") == f"{DN} CN=a,C=DE"
