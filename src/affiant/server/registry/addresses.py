"""Network addresses that the server may connect to when a client names the host (RFC 8725 section 3.10).

Only public ones. Attack: a client registers a `jwks_uri` and reaches the network of the server. An operator can allow
hosts and networks.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from affiant.errors import ConfigError
from affiant.oauth.parameters import jwks_uri

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# The registries of special-purpose addresses (RFC 6890), whole: `is_global` differs between releases of Python.
_SPECIAL = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # behind a carrier's NAT; the metadata of some clouds
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # public by its number, but the host of every machine at Azure
            "169.254.0.0/16",  # link-local; the metadata of most clouds
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
            "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: an IPv4 address in disguise
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)
# All public IPv6 addresses (RFC 4291 section 2.4). Outside are loopback, link-local and unique local addresses,
# multicast, and addresses that contain an IPv4 address: mapped, compatible, and both networks of NAT64.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214 section 6.1: the last 32 bits are an IPv4 address


@dataclass(frozen=True, slots=True)
class Allowed:
    """Hosts and networks that need not be public."""

    hosts: frozenset[str] = frozenset()  # in lower case
    networks: tuple[Network, ...] = ()


def parse_allowed(text: str) -> Allowed:
    """Parse host names, addresses and networks, separated by commas."""
    hosts, networks = set(), list[Network]()
    for part in filter(None, map(str.strip, text.split(","))):
        try:
            networks.append(ipaddress.ip_network(part))
        except ValueError:
            hosts.add(_host(part))
    return Allowed(frozenset(hosts), tuple(networks))


def is_public(address: Address) -> bool:
    """Whether it is an address of the public Internet that contains no other address."""
    if any(address in network for network in _SPECIAL):
        return False
    if isinstance(address, IPv4Address):
        return True
    return address in _GLOBAL_UNICAST and (int(address) >> 32) & 0xFFFFFFFF not in _ISATAP


def find_forbidden(host: str, found: Sequence[Address], allowed: Allowed) -> Address | None:
    """Return the first address of this host that the server must not connect to."""
    if host.lower() in allowed.hosts:
        return None
    return next((address for address in found if not (is_public(address) or _is_within(address, allowed))), None)


def _is_within(address: Address, allowed: Allowed) -> bool:
    return any(address in network for network in allowed.networks)


def _host(text: str) -> str:
    try:
        jwks_uri.parse(f"https://{text}/")
        # A port or a path would look like a limit, but is none.
        if set(text) & set(":/?[]"):
            raise ValueError("more than a host")
    except ValueError:
        raise ConfigError(
            f"{text[:100]!r} is not a host name, an address or a network: write them with commas, such as"
            " keys.internal,10.1.0.0/16"
        ) from None
    return text.lower()
