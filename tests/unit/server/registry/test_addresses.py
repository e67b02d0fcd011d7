import ipaddress
import socket

import pytest

from affiant.errors import ConfigError
from affiant.server.registry.addresses import Allowed, find_forbidden, is_public, parse_allowed

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "198.17.255.255",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700::1111",
    "2a00:1450:4001::1",
]
INNER = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",  # metadata at Alibaba
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",  # the host at Azure
    "169.254.169.254",  # metadata nearly everywhere
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",  # metadata at Oracle
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",  # compatible
    "::ffff:127.0.0.1",  # mapped
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",  # translated, RFC 2765
    "64:ff9b::7f00:1",  # NAT64
    "64:ff9b::808:808",
    "64:ff9b:1::1",  # NAT64, local
    "100::1",  # discard
    "2001::1",  # Teredo
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",  # benchmarking
    "2001:10::1",  # ORCHID
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",  # 6to4
    "2002:808:808::1",
    "2a00:1450::5efe:7f00:1",  # ISATAP
    "2a00:1450::200:5efe:7f00:1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",  # metadata at AWS
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "4000::1",
]


@pytest.mark.parametrize("text", PUBLIC)
def test_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.rfc(8725, "3.10")
@pytest.mark.parametrize("text", INNER)
def test_inner(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["127.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "0"])
def test_whatever_a_resolver_makes_of_it_is_judged(text: str) -> None:
    """Of other spellings the parser of URIs thinks nothing; should one get through, the address is what counts."""
    rows = socket.getaddrinfo(text, 443, type=socket.SOCK_STREAM)
    assert not any(is_public(ipaddress.ip_address(str(row[4][0]))) for row in rows)


def test_every_address_is_judged() -> None:
    found = [ipaddress.ip_address(text) for text in ("8.8.8.8", "10.1.2.3")]
    assert find_forbidden("keys.example", found, Allowed()) == found[1]
    assert find_forbidden("keys.example", found[:1], Allowed()) is None


def test_allowed() -> None:
    allowed = parse_allowed(" keys.Internal, 10.1.0.0/16 ,fd00::/8,127.0.0.1, ")
    inner = [ipaddress.ip_address("10.1.2.3"), ipaddress.ip_address("fd00::1"), ipaddress.ip_address("127.0.0.1")]
    assert find_forbidden("keys.example", inner, allowed) is None
    other = ipaddress.ip_address("10.2.0.1")
    assert find_forbidden("keys.example", [*inner, other], allowed) == other
    assert find_forbidden("KEYS.internal", [other], allowed) is None
    assert find_forbidden("a.keys.internal", [other], allowed) == other


def test_what_is_allowed_in_one_form_is_not_in_another() -> None:
    mapped = ipaddress.ip_address("::ffff:10.1.2.3")
    assert find_forbidden("keys.example", [mapped], parse_allowed("10.0.0.0/8")) == mapped


def test_nothing_is_allowed_at_first() -> None:
    assert parse_allowed("") == parse_allowed(" , ") == Allowed()


@pytest.mark.parametrize(
    "text", ["10.1.0.0/33", "10.1.2.3/16", "keys.internal:8443", "https://keys.internal", "*.internal", "a b", "127.1"]
)
def test_mistake(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a host name, an address or a network"):
        parse_allowed(text)
