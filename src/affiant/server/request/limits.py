"""How often somebody may fail, and how often a client may succeed; kept for all workers of this machine.

Nothing here can be turned on a victim: a request whose proof holds is never refused for the failures of others, from
its address or in its name. What is limited is the failing itself, which would fill the audit log.
"""

from __future__ import annotations

import ipaddress
import mmap
import os
import struct
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from affiant.errors import ConfigError, Rejected
from affiant.reasons import Reason
from affiant.server.request.notes import Request
from affiant.system.files import denied, ensure_private

_SLOTS = 1 << 16
_ROWS = 2
_INSTANT = struct.Struct("d")
_LAST_FAILURE = _SLOTS * _ROWS * _INSTANT.size  # behind the slots: when anybody failed last
_BYTES = _LAST_FAILURE + _INSTANT.size
_MAX_TOLD = 100  # names in one summary; the rest is counted together
_OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and then so many a second. A burst of 0 is no limit.

    Attributes:
        burst: how many may come at once.
        per_second: how fast the burst fills up again.
    """

    burst: int
    per_second: float

    @property
    def interval(self) -> float:
        """Seconds that one costs."""
        return 1 / self.per_second

    @property
    def tolerance(self) -> float:
        """How far ahead of the clock a name may be."""
        return (self.burst - 1) / self.per_second


@dataclass(frozen=True, slots=True)
class Rates:
    """The limits of a server: of failures by one address or in one client's name, and of a client's tokens.

    What a client does at another endpoint than that of tokens has the same limit, and is counted apart.
    """

    failures: Rate = Rate(100, 1.0)
    tokens: Rate = Rate(10_000, 50.0)


class Limited(Rejected):
    """Too many; `retry_after` is in seconds."""

    def __init__(self, reason: Reason, retry_after: float) -> None:
        super().__init__(reason)
        self.retry_after = max(1, int(retry_after) + 1)


class Limits:
    """Counts, by the generic cell rate algorithm (ITU-T I.371): for each name one instant, and no history."""

    def __init__(self, rates: Rates, *, key: bytes, path: Path | None = None) -> None:
        self.rates = rates
        self._key = key
        self._table = _map(path)
        self._slots = lru_cache(maxsize=4096)(self._find_slots)
        self._told: Counter[tuple[Reason, str]] = Counter()

    def check_failures(self, request: Request) -> None:
        """Let a request pass that proves nothing, or proves what was proved before."""
        if self._is_quiet(request.now):
            return
        waits = [(self._wait(f"failure {name}", self.rates.failures, request.now), name) for name in _names(request)]
        wait, name = max(waits)
        if wait > 0:
            raise self._limited(Reason.LIMIT_FAILURES, name, wait)

    def check_share(self, client_id: str, endpoint: str, now: float) -> None:
        """Let a client pass that proved who it is.

        Each endpoint counts apart: who floods one with a stolen key cannot keep its owner from changing it at another.
        """
        wait = self._wait(f"{endpoint} {client_id}", self.rates.tokens, now)
        if wait > 0:
            raise self._limited(Reason.LIMIT_TOKENS, f"client {client_id}", wait)

    def count_failure(self, request: Request) -> None:
        """Count it, once it is written down."""
        _INSTANT.pack_into(self._table, _LAST_FAILURE, request.now)
        for name in _names(request):
            self._spend(f"failure {name}", self.rates.failures, request.now)

    def count_share(self, client_id: str, endpoint: str, now: float) -> None:
        """Count it, once it is written down: an assertion that is shown again must not use up its client's share."""
        self._spend(f"{endpoint} {client_id}", self.rates.tokens, now)

    def take_told(self) -> Counter[tuple[Reason, str]]:
        """How many were refused since the last call, by reason and name; they stand nowhere else."""
        told, self._told = self._told, Counter()
        return told

    def _is_quiet(self, now: float) -> bool:
        """Whether nobody failed for so long that every burst is whole again; then there is nothing to look up."""
        last: float = _INSTANT.unpack_from(self._table, _LAST_FAILURE)[0]
        whole = self.rates.failures.burst * self.rates.failures.interval
        return not last - whole <= now <= last + whole

    def _limited(self, reason: Reason, name: str, wait: float) -> Limited:
        known = (reason, name) in self._told or len(self._told) < _MAX_TOLD
        self._told[reason, name if known else _OTHERS] += 1
        return Limited(reason, wait)

    def _wait(self, name: str, rate: Rate, now: float) -> float:
        """Seconds until it may pass; 0.0 when it may."""
        if rate.burst == 0:
            return 0.0
        first, second = self._instants(name, rate, now)
        return max(0.0, min(first, second) - now - rate.tolerance)

    def _spend(self, name: str, rate: Rate, now: float) -> None:
        if rate.burst == 0:
            return
        first, second = self._instants(name, rate, now)
        # Never further ahead than one past the burst: what came at once, before it was counted, is not held up longer.
        following = min(max(min(first, second), now) + rate.interval, now + rate.tolerance + rate.interval)
        # Two workers that write at once count one for both; a limit may be that much too kind.
        slots = self._slots(name)
        _INSTANT.pack_into(self._table, slots[0], max(first, following))
        _INSTANT.pack_into(self._table, slots[1], max(second, following))

    def _instants(self, name: str, rate: Rate, now: float) -> tuple[float, float]:
        """What stands in the slots; the earlier is nearer the truth, as the other is later for who shares the slot."""
        slots = self._slots(name)
        first: float = _INSTANT.unpack_from(self._table, slots[0])[0]
        second: float = _INSTANT.unpack_from(self._table, slots[1])[0]
        # Nobody gets further ahead than this: what is, was written before the clock was set back.
        latest = now + rate.tolerance + 2 * rate.interval
        return first if first <= latest else now, second if second <= latest else now

    def _find_slots(self, name: str) -> tuple[int, int]:
        digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8, key=self._key).digest()
        first, second = struct.unpack("II", digest)
        return (first % _SLOTS) * _INSTANT.size, (_SLOTS + second % _SLOTS) * _INSTANT.size


def _names(request: Request) -> list[str]:
    claimed = [] if request.notes.claimed is None else [f"client {request.notes.claimed}"]
    return [f"address {network(request.address)}", *claimed]


@lru_cache(maxsize=4096)
def network(address: str) -> str:
    """Whose address this is: an IPv4 address, or the /64 that an IPv6 host can take all of."""
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
            # Written, not left as a hole: on a full disk a write to a hole in mapped memory kills the process.
            file.write(bytes(max(0, _BYTES - file.tell())))
            file.flush()
            return mmap.mmap(file.fileno(), _BYTES)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be used: {error.strerror}{denied(path, error, folder=path.parent)}"
        ) from error
