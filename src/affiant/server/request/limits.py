"""How often an address or a client may fail, and how often a client may succeed; shared by all workers of a machine.

Attack: the limits must not be turned on a victim. A request with a valid proof is never refused for the failures of
others, from its address or in its name. Only failures are limited, which would fill the audit log.
"""

from __future__ import annotations

import ipaddress
import mmap
import os
import struct
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from pathlib import Path

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.server.request.notes import Request
from affiant.system.files import denied, ensure_private

_SLOTS = 1 << 16
_ROWS = 2
_LAST_FAILURE = _SLOTS * _ROWS  # after the slots: the instant of the last failure of all
_BYTES = (_LAST_FAILURE + 1) * 8
_MAX_NAMES = 100  # names in one summary; the others are counted together
_OTHERS = "others"


@dataclass(frozen=True)
class Rate:
    """A burst, and how fast it fills up again. A burst of 0 is no limit."""

    burst: int
    per_second: float

    @cached_property
    def interval(self) -> float:
        """Seconds that one request costs."""
        return 1 / self.per_second

    @cached_property
    def tolerance(self) -> float:
        """Seconds that a name may be ahead of the clock."""
        return (self.burst - 1) / self.per_second


@dataclass(frozen=True, slots=True)
class Rates:
    """The limits of a server: failures by one address or in one client's name, and token requests of a client.

    The limit of token requests is also that of a client at every other endpoint; each endpoint is counted separately.
    """

    failures: Rate = Rate(100, 1.0)
    tokens: Rate = Rate(10_000, 50.0)


class Later(Rejected):
    """A refusal that ends by itself; `retry_after` is in seconds."""

    def __init__(self, reason: Reason, retry_after: float, *, expected: str = "", got: str = "") -> None:
        super().__init__(reason, expected=expected, got=got)
        self.retry_after: int = max(1, int(retry_after) + 1)


class Limited(Later):
    """Too many requests: nothing is written, and no jti is used up."""


class Limits:
    """Counts by the generic cell rate algorithm (ITU-T I.371): one instant for each name, no history.

    `key` is secret, so that no name can be chosen to share the slots of a victim. It is the same in all workers, which
    share the file at `path`.
    """

    def __init__(self, rates: Rates, *, key: bytes, path: Path | None = None) -> None:
        self.rates = rates
        self._key = key
        self._table = memoryview(_map(path)).cast("d")
        self._slots = lru_cache(maxsize=4096)(self._find_slots)
        self._refused: Counter[tuple[Reason, str]] = Counter()

    def check_failures(self, request: Request) -> None:
        """Raise Limited for a request without a new proof whose address or claimed client has failed too often."""
        if self._is_quiet(request.now):
            return
        waits = [(self._wait(f"failure {name}", self.rates.failures, request.now), name) for name in _names(request)]
        wait, name = max(waits)
        if wait > 0:
            raise self._limited(Reason.LIMIT_FAILURES, name, wait)

    def check_share(self, client_id: str, endpoint: str, now: float) -> None:
        """Raise Limited for an authenticated client with too many requests.

        Attack: a flood with a stolen key at one endpoint must not keep the owner from changing the key at another, so
        each endpoint is counted separately.
        """
        wait = self._wait(f"{endpoint} {client_id}", self.rates.tokens, now)
        if wait > 0:
            raise self._limited(Reason.LIMIT_TOKENS, f"client {client_id}", wait)

    def count_failure(self, request: Request) -> None:
        """Count a failure, once it is recorded."""
        self._table[_LAST_FAILURE] = request.now
        for name in _names(request):
            self._spend(f"failure {name}", self.rates.failures, request.now)

    def count_share(self, client_id: str, endpoint: str, now: float) -> None:
        """Count a request, once it is recorded: a replayed assertion must not use up the share of its client."""
        self._spend(f"{endpoint} {client_id}", self.rates.tokens, now)

    def take_refused(self) -> Counter[tuple[Reason, str]]:
        """Return how many requests were refused since the last call, by reason and name; they have no other record."""
        refused, self._refused = self._refused, Counter()
        return refused

    def _is_quiet(self, now: float) -> bool:
        """Whether the last failure is so long ago that every burst is full again; then there is nothing to look up."""
        last = self._table[_LAST_FAILURE]
        whole = self.rates.failures.burst * self.rates.failures.interval
        return not last - whole <= now <= last + whole

    def _limited(self, reason: Reason, name: str, wait: float) -> Limited:
        known = (reason, name) in self._refused or len(self._refused) < _MAX_NAMES
        self._refused[reason, name if known else _OTHERS] += 1
        return Limited(reason, wait)

    def _wait(self, name: str, rate: Rate, now: float) -> float:
        """Return the seconds until the name may send again; 0.0 if it may now."""
        if rate.burst == 0:
            return 0.0
        first, second = self._instants(name, rate, now)
        return max(0.0, min(first, second) - now - rate.tolerance)

    def _spend(self, name: str, rate: Rate, now: float) -> None:
        if rate.burst == 0:
            return
        first, second = self._instants(name, rate, now)
        # At most one beyond the burst: requests that came at once, before the count, must not extend the wait.
        following = min(max(min(first, second), now) + rate.interval, now + rate.tolerance + rate.interval)
        # Two workers that write at once count one for both: a limit may be that much too high.
        slots = self._slots(name)
        self._table[slots[0]] = max(first, following)
        self._table[slots[1]] = max(second, following)

    def _instants(self, name: str, rate: Rate, now: float) -> tuple[float, float]:
        """Return both instants of a name; the earlier is closer to the truth, as other names share the slots."""
        slots = self._slots(name)
        first, second = self._table[slots[0]], self._table[slots[1]]
        # A later instant was written before the clock was set back.
        latest = now + rate.tolerance + 2 * rate.interval
        return first if first <= latest else now, second if second <= latest else now

    def _find_slots(self, name: str) -> tuple[int, int]:
        digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8, key=self._key).digest()
        first, second = struct.unpack("II", digest)
        return first % _SLOTS, _SLOTS + second % _SLOTS


def _names(request: Request) -> list[str]:
    claimed = [] if request.notes.claimed is None else [f"client {request.notes.claimed}"]
    return [f"address {network(request.address)}", *claimed]


@lru_cache(maxsize=4096)
def network(address: str) -> str:
    """Return an IPv4 address as it is, and the /64 of an IPv6 address: one host can use all of it."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if parsed.version == 4:  # noqa: PLR2004
        return str(parsed)
    mapped = parsed.ipv4_mapped
    return str(mapped or ipaddress.ip_network((parsed, 64), strict=False))


def _map(path: Path | None) -> mmap.mmap:
    if path is None:
        return mmap.mmap(-1, _BYTES)
    try:
        with os.fdopen(ensure_private(path, flags=os.O_RDWR | os.O_APPEND), "a+b") as file:
            # Danger: on a full disk, a write to a hole in mapped memory kills the process, so no hole is left.
            file.write(bytes(max(0, _BYTES - file.tell())))
            file.flush()
            return mmap.mmap(file.fileno(), _BYTES)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be used: {error.strerror}{denied(path, error, folder=path.parent)}"
        ) from error
