"""The open connections of one process: their number is capped, and each has a deadline."""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Protocol

from affiant.server.request.limits import network

log: logging.Logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5  # between two looks at all deadlines
RESERVE = 256  # files that are not connections: the database, logs, sockets to a database or a jwks_uri
REPORT_SECONDS = 60.0  # between two lines of the log about connections that were refused


@dataclass(frozen=True, slots=True)
class Caps:
    """How many connections one process keeps open."""

    total: int = 4096
    per_address: int = 1024  # of one IPv4 address or IPv6 /64; 0 is no limit
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()  # exempt from it, since many clients share their addresses

    def name(self, address: str) -> str | None:
        """Return the name that the connections of this address are counted under, or None if it is exempt."""
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return None  # a Unix socket has no address
        mapped = getattr(parsed, "ipv4_mapped", None) or parsed
        if self.per_address == 0 or any(mapped in proxy for proxy in self.proxies):
            return None
        return network(address)


async def _at_once() -> None:
    pass


@dataclass(eq=False)
class Succession:
    """How this process follows others on the same socket, and is followed."""

    may_accept: Callable[[], Awaitable[None]] = _at_once  # waits until this process may accept connections
    is_followed: bool = False  # whether others accept on the socket when this process ends


def parse_networks(*texts: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return the networks in settings such as `trusted_proxies`; `*` is every network."""
    words = [word.strip() for text in texts for word in text.split(",") if word.strip()]
    spelt = [every for word in words for every in (("0.0.0.0/0", "::/0") if word == "*" else (word,))]
    return tuple(map(ip_network, spelt))


def raise_limit(wanted: int) -> int:
    """Raise the soft limit of open files, for this process and its children, and return how many connections fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVE
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    reached = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (reached, hard))
    except (OSError, ValueError):  # some platforms have a second limit, lower than the hard one
        reached = soft
    return min(wanted, max(reached - RESERVE, reached // 2))


@dataclass(slots=True, eq=False)
class Address:
    """The connections that are counted under one name; None has no limit of its own."""

    name: str | None
    count: int = 0
    waiting: dict[Open, None] = field(default_factory=dict)  # for their peer, the longest first


class Open(Protocol):
    """A connection, as the table uses it."""

    address: Address

    def drop(self) -> None:
        """Close it at once."""

    def check(self, now: float) -> None:
        """Close it if it is overdue."""


class Table:
    """The open connections.

    A connection waits for its peer while the server can do nothing for it: in the TLS handshake, until a request has
    arrived whole, and while the peer does not read an answer. To make room, the one that has waited for longest is
    closed: a client that just connected to send a request is the last to lose its connection in a flood.
    """

    def __init__(self, caps: Caps) -> None:
        self.is_ending = False  # whether the process is about to end
        self.succession = Succession()
        self._caps = caps
        self._name = lru_cache(maxsize=4096)(caps.name)
        self._open: dict[Open, None] = {}
        self._waiting: dict[Open, None] = {}
        self._addresses: dict[str, Address] = {}
        self.refused = 0  # since the process was started
        self._reported = 0  # of these
        self._reported_at = float("-inf")
        self._looking: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_followed(self) -> bool:
        """Whether other processes accept on the socket, so that this one may take its time to end."""
        return self.succession.is_followed

    def find_room(self, peer: str) -> Address | None:
        """Close waiting connections until one more of this peer fits; return None if too many are busy."""
        name = self._name(peer)
        address = (self._addresses.get(name) if name is not None else None) or Address(name)
        if self._is_full(address):
            self._drop_first(address.waiting)
        if len(self._open) >= self._caps.total:
            self._drop_first(self._waiting)
        if self._is_full(address) or len(self._open) >= self._caps.total:
            self.refused += 1
            return None
        return address

    def drop_oldest(self) -> None:
        """Close the connection that has waited for longest: the process has no more files to open."""
        self.refused += 1
        self._drop_first(self._waiting)

    def add(self, connection: Open) -> None:
        """Add a connection that was just accepted."""
        address = connection.address
        self._open[connection] = None
        address.count += 1
        if address.name is not None:
            self._addresses[address.name] = address
        self.mark_waiting(connection)

    def discard(self, connection: Open) -> None:
        """Remove a connection that was closed."""
        if connection not in self._open:
            return
        self.mark_busy(connection)
        del self._open[connection]
        address = connection.address
        address.count -= 1
        if not address.count and address.name is not None:
            del self._addresses[address.name]

    def mark_waiting(self, connection: Open) -> None:
        """Note that it waits for its peer."""
        if connection in self._open:
            self._waiting[connection] = connection.address.waiting[connection] = None

    def mark_busy(self, connection: Open) -> None:
        """Note that the server has something to do for it."""
        self._waiting.pop(connection, None)
        connection.address.waiting.pop(connection, None)

    def _is_full(self, address: Address) -> bool:
        return address.name is not None and address.count >= self._caps.per_address

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Check all deadlines from now on, with one timer: a timer per connection would slow each request."""
        self._looking = loop.call_later(LOOK_SECONDS, self._look, loop)

    def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()

    def check(self, now: float) -> None:
        """Close the connections that are overdue."""
        for connection in list(self._open):
            connection.check(now)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self.check(now)
        if self.refused > self._reported and now - self._reported_at >= REPORT_SECONDS:
            log.warning(
                "%d connections were refused or closed for lack of room: see max_connections in docs/how-to/operate.md",
                self.refused - self._reported,
            )
            self._reported, self._reported_at = self.refused, now
        self._looking = loop.call_later(LOOK_SECONDS, self._look, loop)

    def _drop_first(self, waiting: dict[Open, None]) -> None:
        if waiting:
            connection = next(iter(waiting))
            self.discard(connection)
            connection.drop()
