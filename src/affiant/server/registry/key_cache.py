"""Fetched key sets of clients and trusts: fetched rarely, kept through an outage.

Only sets of registered owners are kept, so an attacker can neither fill nor empty the cache. Each owner has its own
limits: fetches as often as its Cache-Control asks, but at most one in 4 seconds, and at most two in 30 seconds for
missing keys. A key is missing if none has its kid, or if none with this kid made the signature.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, NamedTuple, Protocol, TypeVar

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.jose.jwk import IS_PRIVATE
from affiant.jose.key_set import KeySet, Reader, describe
from affiant.jose.keys import PublicKey
from affiant.jose.strict_json import parse_object
from affiant.oauth.parameters.jwks_uri import lifetime
from affiant.system.single_flight import SingleFlight

log: logging.Logger = logging.getLogger(__name__)

Form = TypeVar("Form")

FRESH_SECONDS = 300  # lifetime of a set without Cache-Control
# Bounds of Cache-Control. SMART App Launch: a set SHALL NOT be kept for longer than it says. The lower bound replaces
# no-store and max-age=0, so that a busy client does not cause one fetch per request.
LEAST_SECONDS, MOST_SECONDS = 5, 3600
AHEAD = 0.8  # part of the lifetime, after which a set is fetched again in the background
STALE_SECONDS = 86_400  # how long a set is used while it cannot be fetched
WINDOW_SECONDS, FETCHES = 30.0, 2  # the limit of fetches for missing keys, per owner
RETRY_SECONDS = 20.0  # after a fetch that failed
MISS_SECONDS = 30.0  # after a fetch that did not find the key
ABSENT_SECONDS = 60.0  # before the same key is looked for again
FETCH_SECONDS = 2.8  # for a fetch: the caller waits for it, and gets an answer within 3
TURN_SECONDS = FETCH_SECONDS + 0.1  # for all documents of a set, and the wait for one of the places
MAX_FETCHING = 32  # at one time, for all owners
MAX_WAITING = 100  # requests that wait for one fetch; further ones use the kept keys
MAX_OWNERS = 10_000
NOT_FETCHED = "keys are not fetched for this question"


@dataclass(frozen=True, slots=True)
class Fetched:
    body: bytes
    max_age: int | None  # seconds that it may be kept (RFC 9111 section 5.2.2); None if the sender does not say


class Fetch(Protocol):
    """Fetches one document."""

    async def __call__(self, uri: str, *, ca: str | None = None) -> Fetched:
        """Return the document; `ca` are PEM certificates, then the only ones that vouch for the host."""


@dataclass(frozen=True, slots=True)
class Loaded(Generic[Form]):
    """A key set as it was fetched."""

    keys: KeySet
    form: Form  # the same keys, as their user needs them
    uri: str
    max_age: int | None = None


class Source(Protocol[Form]):
    """The place where an owner publishes keys."""

    @property
    def owner(self) -> str:
        """The owner, for logs, such as "client c1"."""

    @property
    def place(self) -> Hashable:
        """The address, with all that decides which keys are found there."""

    async def load(self, fetch: Fetch) -> Loaded[Form]:
        """Fetch the set, or raise Rejected with a reason of the name jwks."""


class Wanted(NamedTuple):
    """The key that a request needs."""

    name: str  # usually a kid; a missing key is remembered by it
    fits: Callable[[PublicKey], bool]


@dataclass(slots=True)
class Kept(Generic[Form]):
    """The set of one owner; instants in seconds since the epoch."""

    source: Source[Form]
    loaded: Loaded[Form] | None = None
    moved_from: str | None = None  # the former address, if the metadata name another one now
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

    def is_old(self, now: float) -> bool:
        return self.age(now) >= self.lifetime

    def has(self, wanted: Wanted) -> bool:
        return self.loaded is not None and any(map(wanted.fits, self.loaded.keys.keys))

    def describe(self, now: float) -> str:
        """Return one line for the operator: the age of the set, and its members that are left out."""
        if self.loaded is None:
            return ""
        age = f"its key set was fetched {max(0, int(now - self.fetched_at))} s ago"
        moved = f"from another address than before, {self.moved_from}" if self.moved_from else ""
        return "; ".join(filter(None, (age, moved, describe(self.loaded.keys.left_out))))

    def check(self, now: float, wanted: Wanted | None = None) -> Loaded[Form]:
        """Return the set; raise Rejected if none is kept, it is too old, or it lacks the key after a failed fetch."""
        if self.problem is not None and (self.loaded is None or not (wanted is None or self.has(wanted))):
            raise _again(self.problem)
        if self.loaded is None:
            raise Rejected(Reason.JWKS_UNAVAILABLE, detail="too many requests wait for the keys")
        if self.age(now) >= STALE_SECONDS:
            raise Rejected(Reason.JWKS_STALE, detail=str(self.problem or ""))
        return self.loaded

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

    def accept(self, loaded: Loaded[Form], now: float) -> None:
        """Replace the set by a new one."""
        if self.loaded is not None and self.loaded.uri != loaded.uri:
            # Attack: an intruder who can write the metadata, and not the key set, points to keys of their own.
            self.moved_from = self.loaded.uri
            log.warning("the keys of %s are at another address now: %s, before %s", self.source.owner, loaded.uri,
                        self.moved_from)  # fmt: skip
        self.loaded, self.problem, self.fetched_at = loaded, None, now
        age = loaded.max_age
        self.lifetime = lifetime(age, default=FRESH_SECONDS, least=LEAST_SECONDS, most=MOST_SECONDS)


class KeyCache(Generic[Form]):
    """The fetched keys of all owners of one kind; without `fetch` it stays empty."""

    def __init__(self, fetch: Fetch | None = None) -> None:
        self._fetch = fetch
        self._kept: dict[str, Kept[Form]] = {}
        self._free = asyncio.Semaphore(MAX_FETCHING)
        self._flights = SingleFlight[None]()

    def find(self, source: Source[Form]) -> Kept[Form] | None:
        """Return what is kept of this source."""
        kept = self._kept.get(source.owner)
        return kept if kept is not None and kept.source.place == source.place else None

    async def get(self, source: Source[Form], wanted: Wanted, *, now: float) -> Kept[Form]:
        """Return the set; one without the wanted key is fetched again, within the limits."""
        kept, is_new = await self.keep_fresh(source, now=now)
        if not kept.has(wanted):
            await self.look_for(kept, wanted, now=now, is_new=is_new)
        kept.check(now, wanted)
        return kept

    async def keep_fresh(self, source: Source[Form], *, now: float, is_patient: bool = True) -> tuple[Kept[Form], bool]:
        """Fetch an old set; return it, and whether this request began the fetch.

        Unless `is_patient`, a request does not wait for a source whose last fetch failed.
        """
        if self._fetch is None:
            raise Rejected(Reason.JWKS_UNAVAILABLE, detail=NOT_FETCHED)
        kept = self._admit(source)
        age = kept.age(now)
        if kept.loaded is not None and age < kept.lifetime * AHEAD:
            return kept, False
        has_failed = kept.problem is not None
        began = kept.may_refresh(now) and self._begin(kept, now)
        # Only the first request waits to find the address down; later ones use the kept keys.
        has_none = kept.loaded is None and (is_patient or not has_failed)
        if has_none or (kept.loaded is not None and age >= kept.lifetime and not has_failed):
            await self._wait(kept)
            return kept, began
        return kept, False

    async def renew(self, source: Source[Form], *, now: float) -> Kept[Form]:
        """Fetch the set now, within the limits of its owner, and return what is kept."""
        kept = self._admit(source)
        if kept.may_refresh(now):
            self._begin(kept, now)
        await self._wait(kept)
        return kept

    async def look_for(self, kept: Kept[Form], wanted: Wanted, *, now: float, is_new: bool = False) -> None:
        """Fetch the set once more because it lacks a key, unless it `is_new`, fetched for this request."""
        await self._wait(kept)  # for a fetch in flight, which may have begun before this key was published
        if kept.has(wanted):
            return
        if not is_new:
            if not (kept.may_look_for(wanted, now) and self._begin(kept, now)):
                return
            kept.looked.append(now)
            await self._wait(kept)
        if kept.problem is None and not kept.has(wanted):
            kept.miss(wanted, now)

    async def close(self) -> None:
        """Cancel the fetches in flight."""
        await self._flights.close()

    def _admit(self, source: Source[Form]) -> Kept[Form]:
        kept = self._kept.pop(source.owner, None)
        if kept is None or kept.source.place != source.place:
            kept = Kept(source)
            if len(self._kept) >= MAX_OWNERS:
                self._kept.pop(next(iter(self._kept)))
        self._kept[source.owner] = kept  # last: the least recently used one is dropped first
        return kept

    def _begin(self, kept: Kept[Form], now: float) -> bool:
        if self._fetch is None or not kept.may_begin(now):
            return False
        kept.begun_at, kept.is_fetching = now, True
        _ = self._flights.begin(partial(self._renew, kept, self._fetch, now), key=id(kept))
        return True

    async def _wait(self, kept: Kept[Form]) -> None:
        flight = self._flights.find(id(kept))
        if flight is None or kept.waiting >= MAX_WAITING:
            return
        kept.waiting += 1
        try:
            # Not await: a cancelled request must not cancel the fetch that others wait for.
            await asyncio.wait([flight])
        finally:
            kept.waiting -= 1

    async def _renew(self, kept: Kept[Form], fetch: Fetch, now: float) -> None:
        owner = kept.source.owner
        try:
            async with asyncio.timeout(TURN_SECONDS), self._free:
                kept.accept(await kept.source.load(fetch), now)
        except (Rejected, TimeoutError) as error:
            kept.problem = error if isinstance(error, Rejected) else Rejected(Reason.JWKS_TIMEOUT)
            why = "; ".join(filter(None, (kept.problem.reason.code, kept.problem.detail)))
            log.warning("the keys of %s cannot be fetched: %s", owner, why)
        except Exception:
            log.exception("the keys of %s cannot be fetched", owner)
            kept.problem = Rejected(Reason.JWKS_UNAVAILABLE)
        finally:
            kept.is_fetching = False


async def read(body: bytes, owner: str, *, is_bundle: bool = False) -> KeySet:
    """Return the usable keys of a fetched set, and the members that are left out (RFC 7517 section 5)."""
    try:
        reader = Reader(parse_object(body), is_bundle=is_bundle)
        for _ in reader.steps():
            await asyncio.sleep(0)  # reading an RSA key takes over a millisecond: let other requests run
        found = reader.finish()
    except ValueError as error:
        raise Rejected(Reason.JWKS_MALFORMED, detail=plain(error)) from None
    except ConfigError as error:
        raise Rejected(Reason.JWKS_MALFORMED, expected="a public key that can be used", detail=str(error)) from None
    if any(member.why == IS_PRIVATE for member in found.left_out):
        log.warning("%s publishes a private key in its key set: %s", owner, describe(found.left_out))
    return found


def plain(error: ValueError) -> str:
    # The messages of json and the codecs repeat parts of the input.
    return "not UTF-8" if isinstance(error, UnicodeError) else "not one JSON object, strictly read"


def _again(problem: Rejected) -> Rejected:
    # A new one for each request: an exception that is raised twice grows by its tracebacks.
    return Rejected(problem.reason, expected=problem.expected, got=problem.got, detail=problem.detail)


def _is_within(seconds: float, begin: float, now: float) -> bool:
    return 0 <= now - begin <= seconds
