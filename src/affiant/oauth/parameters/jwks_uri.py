"""The `jwks_uri` of a client or server (RFC 7591 section 2): its syntax, and how long a key set is cached."""

from __future__ import annotations

import re
from ipaddress import IPv6Address

MAX_CHARACTERS = 2000
_HTTPS = 443
_FIRST_UNPRIVILEGED = 1024
_LAST = 65535

# RFC 3986 without user information, fragment, and escapes in the host.
URI = re.compile(
    r"https://(?:\[(?P<literal>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9.-]{1,253}))"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:[/?](?:[\x21\x24\x26-\x3b\x3d\x3f-\x5a\x5f\x61-\x7a\x7e]|%[0-9A-Fa-f]{2})*)?"
)
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=\"?([0-9]{1,9})", re.IGNORECASE)
_NOT_KEPT = re.compile(r"\bno-(?:store|cache)\b", re.IGNORECASE)
_OCTET = re.compile(r"0|[1-9][0-9]{0,2}")
# Resolvers read a name whose last label is a number as an address: 127.1, 0x7f.0.0.1, 2130706433.
_NUMBER = re.compile(r"[0-9]+|0[Xx][0-9A-Fa-f]*")


def parse(text: str) -> str:
    """Return the text if it can be the https URL of a key set: with a host, and port 443 or one from 1024 up.

    The network addresses of the host are checked later, when it is fetched.
    """
    found = URI.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    if found is None:
        raise ValueError("not an https URI without user information and fragment")
    _literal(found["literal"]) if found["literal"] else _name(found["name"])
    _port(found["port"])
    return text


def parse_max_age(cache_control: str) -> int | None:
    """Return for how many seconds a copy may be kept by these Cache-Control values (RFC 9111 5.2.2).

    0 if it may not be kept; None if the values do not say.
    """
    if _NOT_KEPT.search(cache_control):
        return 0
    return min(map(int, _MAX_AGE.findall(cache_control)), default=None)


def lifetime(max_age: int | None, *, default: float, least: float, most: float) -> float:
    """Return for how many seconds a key set with this max-age is cached: within limits, or the default without one."""
    return default if max_age is None else min(max(float(max_age), least), most)


def _literal(host: str) -> None:
    try:
        IPv6Address(host)
    except ValueError:
        raise ValueError("not an IPv6 address in the brackets") from None


def _name(host: str) -> None:
    labels = host.split(".")
    if not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("not a host name")
    if _NUMBER.fullmatch(labels[-1]) and not _is_ipv4(labels):
        raise ValueError("a host that is a number must be an IPv4 address of four decimal parts")


def _is_ipv4(labels: list[str]) -> bool:
    return len(labels) == 4 and all(_OCTET.fullmatch(label) and int(label) < 256 for label in labels)  # noqa: PLR2004


def _port(port: str | None) -> None:
    if port is not None and int(port) != _HTTPS and not _FIRST_UNPRIVILEGED <= int(port) <= _LAST:
        raise ValueError("the port must be 443 or one from 1024 up")
