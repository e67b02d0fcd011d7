"""The keys of clients that publish them at a `jwks_uri` (RFC 7591 section 2): fetched rarely, cached through an outage.

Only sets of registered clients are cached, so an attacker can neither fill nor empty the cache. Each client has its own
limits: fetches as often as its Cache-Control asks, but at most one in 4 seconds, and at most two in 30 seconds for
missing keys. A key is missing if none has its kid, or if none with this kid made the signature.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from affiant.errors import ConfigError, Rejected
from affiant.jose.jwk import IS_PRIVATE
from affiant.jose.key_set import LeftOut, Reader, describe
from affiant.jose.keys import PublicKey
from affiant.jose.strict_json import parse_object
from affiant.oauth.parameters.jwks_uri import lifetime
from affiant.reasons import Reason
from affiant.server.credentials import keys as client_keys
from affiant.server.credentials.keys import ClientKeys
from affiant.server.registry.directory import RegisteredClient
from affiant.storage.records import ClientKey
from affiant.system.single_flight import SingleFlight

log: logging.Logger = logging.getLogger(__name__)

SOURCE = "jwks_uri"
FRESH_SECONDS = 300  # lifetime of a set without Cache-Control
# Bounds of Cache-Control. SMART App Launch: a set SHALL NOT be kept for longer than it says. The lower bound replaces
# no-store and max-age=0, so that a busy client does not cause one fetch per request.
LEAST_SECONDS, MOST_SECONDS = 5, 3600
AHEAD = 0.8  # of that time, after which it is fetched again in the background
STALE_SECONDS = 86_400  # how long a set is used while it cannot be fetched
WINDOW_SECONDS, FETCHES = 30.0, 2  # the limit of fetches for missing keys, per client
RETRY_SECONDS = 20.0  # after a fetch that failed
MISS_SECONDS = 30.0  # after a fetch that did not find the key
ABSENT_SECONDS = 60.0  # before the same kid is looked for again
FETCH_SECONDS = 2.8  # for a fetch: the caller waits for it, and gets an answer within 3
TURN_SECONDS = FETCH_SECONDS + 0.1  # for a fetch and the wait for one of the places
MAX_FETCHING = 32  # at one time, for all clients
MAX_WAITING = 100  # requests that wait for one fetch; further ones use the cached keys
MAX_CLIENTS = 10_000
NOT_FETCHED = "keys are not fetched for this question"


@dataclass(frozen=True, slots=True)
class Fetched:
    body: bytes
    max_age: int | None  # seconds that it may be kept (RFC 9111 section 5.2.2); None if the sender does not say


Fetch = Callable[[str], Awaitable[Fetched]]


class Wanted(NamedTuple):
    """The key that a request needs."""

    name: str  # usually a kid; a missing key is remembered by it
    fits: Callable[[PublicKey], bool]


@dataclass(slots=True)
class _Known:
    """The cached set of one client; instants in seconds since the epoch."""

    uri: str
    keys: tuple[ClientKey, ...] | None = None
    left_out: tuple[LeftOut, ...] = ()
    fetched_at: float = float("-inf")
    lifetime: float = 0.0
    begun_at: float = float("-inf")
    looked: deque[float] = field(default_factory=lambda: deque(maxlen=FETCHES))  # fetches for missing keys
    missed_at: float = float("-inf")
    absent: dict[str, float] = field(default_factory=dict)
    problem: Rejected | None = None
    is_fetching: bool = False
    waiting: int = 0

    def age(self, now: float) -> float:
        """Return its age in seconds; a set from the future is old, because a clock was wrong."""
        age = now - self.fetched_at
        return age if age >= 0 else self.lifetime - age

    def has(self, wanted: Wanted) -> bool:
        return any(wanted.fits(client_keys.parse(key.jwk)) for key in self.keys or ())

    def may_begin(self, now: float) -> bool:
        """Whether a fetch may begin: none is in flight, and the last one did not fail within RETRY_SECONDS."""
        has_failed = self.problem is not None and _is_within(RETRY_SECONDS, self.begun_at, now)
        return not self.is_fetching and not has_failed

    def may_refresh(self, now: float) -> bool:
        """Whether a fetch may begin because the copy is old."""
        return self.may_begin(now) and not _is_within(LEAST_SECONDS * AHEAD, self.begun_at, now)

    def may_look_for(self, wanted: Wanted, now: float) -> bool:
        """Whether a fetch may begin because this key is missing."""
        is_absent = _is_within(ABSENT_SECONDS, self.absent.get(wanted.name, float("-inf")), now)
        is_full = len(self.looked) == FETCHES and _is_within(WINDOW_SECONDS, self.looked[0], now)
        return not (is_absent or is_full or _is_within(MISS_SECONDS, self.missed_at, now)) and self.may_begin(now)

    def miss(self, wanted: Wanted, now: float) -> None:
        """Remember that the set has no such key. Fetches are few, and so are entries."""
        self.missed_at = now
        self.absent = {name: at for name, at in self.absent.items() if _is_within(ABSENT_SECONDS, at, now)}
        self.absent[wanted.name] = now


class RemoteKeys:
    """The fetched keys of all clients."""

    def __init__(self, fetch: Fetch | None = None) -> None:
        self._fetch = fetch
        self._known: dict[str, _Known] = {}
        self._free = asyncio.Semaphore(MAX_FETCHING)
        self._flights = SingleFlight[None]()

    async def complete(self, client: RegisteredClient, wanted: Wanted, *, now: float) -> RegisteredClient:
        """Return the client with its published keys; unchanged if it has no jwks_uri.

        A set without the wanted key is fetched again, within the limits.
        """
        if client.record.jwks_uri is None:
            return client
        known = self._find(client.client_id, client.record.jwks_uri)
        is_new = await self._keep_fresh(client.client_id, known, now)
        if not known.has(wanted):
            await self._look_again(client.client_id, known, wanted, now, is_new=is_new)
        self._check(known, wanted, now)
        observed = (Reason.JWKS_STALE,) if known.age(now) >= known.lifetime else ()
        return replace(client, keys=_merge(client.record.keys, known.keys or (), now), observed=observed)

    async def look_again(self, client: RegisteredClient, wanted: Wanted, *, now: float) -> RegisteredClient | None:
        """Fetch the set once more because none of its keys made a signature; None if it has no new key.

        The client may have replaced a key under its kid. These fetches share the limit of those for an unknown kid.
        """
        known = self._known.get(client.client_id)
        if known is None or known.uri != client.record.jwks_uri:
            return None
        if known.fetched_at < now:  # otherwise it was fetched for this request
            await self._look_again(client.client_id, known, wanted, now, is_new=False)
        if not known.has(wanted):
            return None
        return replace(client, keys=_merge(client.record.keys, known.keys or (), now))

    def describe(self, client: RegisteredClient, *, now: float) -> str:
        """Return one line for the operator: the age of the cached set, and its members that are left out."""
        known = self._known.get(client.client_id)
        if known is None or known.keys is None or known.uri != client.record.jwks_uri:
            return ""
        age = f"its key set was fetched {max(0, int(now - known.fetched_at))} s ago"
        return "; ".join(filter(None, (age, describe(known.left_out))))

    async def close(self) -> None:
        """Cancel the fetches in flight."""
        await self._flights.close()

    def _find(self, client_id: str, uri: str) -> _Known:
        known = self._known.pop(client_id, None)
        if known is None or known.uri != uri:
            known = _Known(uri)
            if len(self._known) >= MAX_CLIENTS:
                self._known.pop(next(iter(self._known)))
        self._known[client_id] = known  # last: the least recently used one is dropped first
        return known

    def _check(self, known: _Known, wanted: Wanted, now: float) -> None:
        if known.problem is not None and not known.has(wanted):
            raise _again(known.problem)
        if known.keys is None:
            detail = "too many requests wait for the keys" if self._fetch else NOT_FETCHED
            raise Rejected(Reason.JWKS_UNAVAILABLE, detail=detail)
        if known.age(now) >= STALE_SECONDS:
            raise Rejected(Reason.JWKS_STALE, detail=str(known.problem or ""))

    async def _keep_fresh(self, client_id: str, known: _Known, now: float) -> bool:
        """Fetch an old set; return whether this request began the fetch."""
        age = known.age(now)
        if known.keys is not None and age < known.lifetime * AHEAD:
            return False
        began = known.may_refresh(now) and self._begin(client_id, known, now)
        # Only the first request waits to find the endpoint down; later ones use cached keys.
        if known.keys is None or (age >= known.lifetime and known.problem is None):
            await self._wait(known)
            return began
        return False

    async def _look_again(self, client_id: str, known: _Known, wanted: Wanted, now: float, *, is_new: bool) -> None:
        await self._wait(known)  # for a fetch in flight, which may have begun before this key was published
        if known.has(wanted):
            return
        if not is_new:
            if not (known.may_look_for(wanted, now) and self._begin(client_id, known, now)):
                return
            known.looked.append(now)
            await self._wait(known)
        if known.problem is None and not known.has(wanted):
            known.miss(wanted, now)

    def _begin(self, client_id: str, known: _Known, now: float) -> bool:
        if self._fetch is None or not known.may_begin(now):
            return False
        known.begun_at, known.is_fetching = now, True
        _ = self._flights.begin(partial(self._renew, client_id, known, self._fetch, now), key=id(known))
        return True

    async def _wait(self, known: _Known) -> None:
        flight = self._flights.find(id(known))
        if flight is None or known.waiting >= MAX_WAITING:
            return
        known.waiting += 1
        try:
            # Not await: a cancelled request must not cancel the fetch that others wait for.
            await asyncio.wait([flight])
        finally:
            known.waiting -= 1

    async def _renew(self, client_id: str, known: _Known, fetch: Fetch, now: float) -> None:
        try:
            async with asyncio.timeout(TURN_SECONDS), self._free:
                fetched = await fetch(known.uri)
                known.keys, known.left_out = await _read(fetched.body, client_id)
                known.problem = None
            known.lifetime = lifetime(fetched.max_age, default=FRESH_SECONDS, least=LEAST_SECONDS, most=MOST_SECONDS)
            known.fetched_at = now
        except (Rejected, TimeoutError) as error:
            known.problem = error if isinstance(error, Rejected) else Rejected(Reason.JWKS_TIMEOUT)
            log.warning(
                "the keys of client %s cannot be fetched: %s %s", client_id, known.problem, known.problem.detail
            )
        except Exception:
            log.exception("the keys of client %s cannot be fetched", client_id)
            known.problem = Rejected(Reason.JWKS_UNAVAILABLE)
        finally:
            known.is_fetching = False


async def _read(body: bytes, client_id: str) -> tuple[tuple[ClientKey, ...], tuple[LeftOut, ...]]:
    """Return the usable keys of this set, and the members that are left out (RFC 7517 section 5)."""
    try:
        reader = Reader(parse_object(body))
        for _ in reader.steps():
            await asyncio.sleep(0)  # reading an RSA key takes over a millisecond: let other requests run
        found = reader.finish()
    except ValueError as error:
        raise Rejected(Reason.JWKS_MALFORMED, detail=_plain(error)) from None
    except ConfigError as error:
        raise Rejected(Reason.JWKS_MALFORMED, expected="a public key that can be used", detail=str(error)) from None
    keys = []
    for key in found.keys:
        await asyncio.sleep(0)
        keys.append(client_keys.build(key, now=0, source=SOURCE))
        client_keys.parse(keys[-1].jwk)  # fills the cache, so that no request pays for it
    if any(member.why == IS_PRIVATE for member in found.left_out):
        log.warning("client %s publishes a private key at its jwks_uri: %s", client_id, describe(found.left_out))
    return tuple(keys), found.left_out


def _merge(registered: tuple[ClientKey, ...], fetched: tuple[ClientKey, ...], now: float) -> ClientKeys:
    """Return the fetched keys without those that were revoked here, even if the set still lists them."""
    revoked = {client_keys.thumbprint(key) for key in registered if client_keys.is_revoked(key, now)}
    return ClientKeys([key for key in fetched if client_keys.thumbprint(key) not in revoked])


def _again(problem: Rejected) -> Rejected:
    # A new one for each request: an exception that is raised twice grows by its tracebacks.
    return Rejected(problem.reason, expected=problem.expected, got=problem.got, detail=problem.detail)


def _is_within(seconds: float, begin: float, now: float) -> bool:
    return 0 <= now - begin <= seconds


def _plain(error: ValueError) -> str:
    # The messages of json and the codecs repeat parts of the input.
    return "not UTF-8" if isinstance(error, UnicodeError) else "not one JSON object, strictly read"
