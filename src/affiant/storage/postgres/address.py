"""Where the database is: a URL that holds a password, and must never be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from affiant.errors import ConfigError

# Strict, so that what is shown holds nothing of the password: in a URL with a stray "/" or "@" a part of it would
# stand where the host should.
_URL = re.compile(
    r"postgres(?:ql)?://(?:[^:@/?#\s]*(?::[^:@/?#\s]*)?@)?(?P<host>[^@/?#\s]*)/(?P<name>[^@/?#\s]+)(?:\?[^\s#]*)?"
)
# A list of hosts, each with a port or without. The driver reads a wrong port only when it connects.
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^:\[\],]*)(?::(?P<port>[0-9]{0,5}))?")
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """The URL of a database; text and repr are without user, password and parameters."""

    url: str = field(repr=False)
    shown: str

    def __str__(self) -> str:
        return self.shown


def parse_address(url: str) -> Address:
    """Read the URL of a database."""
    found = _URL.fullmatch(url)
    if found is None:
        raise ConfigError(
            "the database must be postgresql://USER@HOST/NAME, with every reserved character of its user and password"
            " percent-encoded"
        )
    for host in found["host"].split(","):
        part = _HOST.fullmatch(host)
        if part is None or int(part["port"] or 0) > _LAST_PORT:
            raise ConfigError(
                "the database must be postgresql://USER@HOST:PORT/NAME, with a port up to 65535 and brackets around an"
                " IPv6 address"
            )
    return Address(url, f"postgresql://{found['host']}/{found['name']}")
