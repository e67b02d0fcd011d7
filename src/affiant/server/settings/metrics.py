"""The address of the listener for metrics."""

from __future__ import annotations

import re
from ipaddress import ip_address

from affiant.errors import ConfigError

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f.]*:[0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})", re.ASCII)
_MAX_PORT = 65_535


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port."""
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[3]) > _MAX_PORT:
        raise ConfigError("write HOST:PORT, such as 127.0.0.1:9377 or [::1]:9377")
    return found[1] or found[2], int(found[3])


def is_private(text: str) -> bool:
    """Whether only this machine or a private network reaches the address, as far as it shows. No address is private."""
    if not text:
        return True
    host, _ = parse_address(text)
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    return not address.is_unspecified and (address.is_loopback or address.is_private or address.is_link_local)
