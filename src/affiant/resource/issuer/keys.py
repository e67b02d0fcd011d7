"""The issuer's keys: a copy that every thread reads, replaced in the background before its lifetime ends.

The lifetime is that of Cache-Control. A token under a key of the copy waits for no fetch. A key is missing if none has
the kid of a token, or if none of that kid made its signature: the issuer may have replaced a key under the same kid.
Both kinds of fetch share one budget: a flood of tokens must not become a flood of fetches.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from msgspec import structs

from affiant.errors import Rejected, RemoteError, Unreachable
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.jose.compact import Unverified, Verified
from affiant.jose.key_set import KeySet, describe
from affiant.jose.keys import PublicKey
from affiant.jose.strict_json import parse_object
from affiant.oauth.parameters.jwks_uri import lifetime, parse_max_age
from affiant.resource.issuer.flight import Flight, arrive, result
from affiant.resource.issuer.remote import NOT_MODIFIED, OK, RemoteIssuer
from affiant.resource.issuer.worker import worker
from affiant.system.values import Value

if TYPE_CHECKING:  # the first request loads it
    import httpx2

log: logging.Logger = logging.getLogger(__name__)

FRESH_SECONDS = 300.0  # cache lifetime if the response has no Cache-Control
LEAST_SECONDS, MOST_SECONDS = 5.0, 86_400.0  # limits of a lifetime from Cache-Control
REFRESH_AT = 0.8  # of the lifetime, the copy is replaced in the background
IDLE_LIFETIMES = 10  # without a request, after which it is not
STALE_SECONDS = 86_400.0  # for which cached keys are used while the issuer is unreachable
FAILING_SECONDS = 60.0  # after a failed fetch, for which the issuer counts as unreachable
METADATA_SECONDS = 86_400.0  # after which the metadata are read again
BURST, REFILL_SECONDS = 3.0, 10.0  # fetches for missing keys
ABSENT_SECONDS, MAX_ABSENT = 5.0, 1024  # for which the issuer is not asked again for a kid that it did not have
# How old a fetch may be that a request waits for: for the first copy or a missing key, and where the copy is too old.
WAIT_SECONDS, REPLACE_SECONDS = 15.0, 1.0


class Copy(Value, frozen=True):
    """The keys as they were fetched."""

    keys: KeySet
    edition: int
    fetched_at: float
    refresh_at: float
    fresh_until: float
    uri: str
    etag: str | None


class KeysState(Value, frozen=True):
    """What is known of the keys, for metrics and readiness.

    Attributes:
        keys: their number.
        age_seconds: since they were fetched; None if they never were.
        is_usable: tokens can be judged by them.
        is_stale: they are used beyond their lifetime, since the issuer is unreachable or slow.
        fetches: that succeeded in this process.
        failures: fetches that did not.
        failure: why the last one failed; None if it did not.
    """

    keys: int
    is_usable: bool
    age_seconds: float | None = None
    is_stale: bool = False
    fetches: int = 0
    failures: int = 0
    failure: str | None = None


class IssuerKeys:
    """The keys of one issuer. `edition` changes when they do."""

    def __init__(self, issuer: RemoteIssuer, *, clock: Callable[[], float]) -> None:
        self._issuer = issuer
        self._clock = clock
        self._copy: Copy | None = None
        self._fetches = self._failures = 0
        self._asked_at = self._failed_at = float("-inf")
        self._failure: str | None = None  # of the last fetch
        self._tokens, self._refilled_at = BURST, clock()  # a token bucket
        self._absent: OrderedDict[str, float] = OrderedDict()  # by kid: until when it is not looked for
        self._flight = Flight[None](issuer.loop)
        self._begun_at = float("-inf")  # the fetch in flight
        self._timer: asyncio.TimerHandle | None = None

    @property
    def edition(self) -> int:
        return self._copy.edition if self._copy is not None else 0

    def is_ready(self) -> bool:
        """Whether there are keys to judge by now; begin to replace them in the background if it is time."""
        copy, now = self._copy, self._clock()
        self._asked_at = now
        if copy is None:
            return False
        if now < copy.refresh_at:
            return True
        if now - self._failed_at >= REFILL_SECONDS:
            self._flight.begin(self._begin)
        return now < copy.fresh_until or (now - self._failed_at < FAILING_SECONDS and self._is_usable(copy, now))

    def state(self) -> KeysState:
        """Return what is known, without a fetch."""
        copy, now = self._copy, self._clock()
        is_stale = copy is not None and now >= copy.fresh_until
        return KeysState(
            keys=len(copy.keys.keys) if copy is not None else 0,
            age_seconds=max(0.0, now - copy.fetched_at) if copy is not None else None,
            is_usable=copy is not None and (not is_stale or self._is_usable(copy, now)),
            is_stale=is_stale,
            fetches=self._fetches,
            failures=self._failures,
            failure=self._failure,
        )

    def begin(self, then: Callable[[], object]) -> None:
        """Begin to fetch the keys if there are none. Call `then` when there are some, in whatever thread."""

        def arrived(future: Future[None]) -> None:
            try:
                result(future)
            except RemoteError as error:
                log.warning("the keys of %s cannot be fetched yet: %s", self._issuer.identifier, error)
            else:
                then()

        if self.is_ready():
            then()
        else:
            self._flight.begin(self._begin).add_done_callback(arrived)

    async def refresh(self) -> None:
        """Wait until there are keys to judge by; raise RemoteError if there are none."""
        if not self.is_ready():
            await self._replace()

    async def verify(self, unverified: Unverified, *, tried: Sequence[PublicKey] = ()) -> Verified:
        """Verify by the key of this kid, or by any that fits if the JWS names none; not by those that were tried.

        Raises TOKEN_KEY or TOKEN_SIGNATURE; RemoteError if no key, or none of this kid, is known and the issuer does
        not answer.
        """
        fetches = self._fetches
        found = await self._find(unverified)
        with contextlib.suppress(Rejected):
            return compact.verify_any(unverified, [key for key in found if key not in tried])
        if self._fetches == fetches:  # otherwise they were fetched for this token
            others = await self._find_others(unverified, found)
            with contextlib.suppress(Rejected):
                return compact.verify_any(unverified, others)
        age = max(0, int(self._clock() - self._copy.fetched_at)) if self._copy is not None else 0
        raise Rejected(Reason.TOKEN_SIGNATURE, detail=f"by the keys of the issuer, fetched {age} s ago")

    async def _find(self, unverified: Unverified) -> Sequence[PublicKey]:
        await self.refresh()
        # An unknown kid may be a new key. Tokens with a known kid never wait for it.
        found = self.candidates(unverified) or await self._look_again(unverified)
        if not found:
            raise Rejected(Reason.TOKEN_KEY, detail=describe(self._copy.keys.left_out) if self._copy else "")
        return found

    async def _find_others(self, unverified: Unverified, tried: Sequence[PublicKey]) -> Sequence[PublicKey]:
        """Return keys of the same kid that the issuer has published since, without those that were tried."""
        try:
            return await self._look_again(unverified, tried)
        except RemoteError:
            # By the known keys the signature is invalid: an unreachable issuer must not turn a forged token into a 503.
            return ()

    async def _look_again(self, unverified: Unverified, tried: Sequence[PublicKey] = ()) -> Sequence[PublicKey]:
        if not tried and self._is_absent(unverified.kid):
            return ()
        if self._flight.find() is not None:  # it began before this token came: perhaps before its key was published
            await self._arrive(WAIT_SECONDS)
            if found := self.candidates(unverified, tried):
                return found
        is_paid = self._flight.find() is None
        if is_paid and not self._may_fetch():
            if self._failure is not None:
                raise RemoteError(self._failure)
            return ()
        await self._arrive(WAIT_SECONDS)
        found = self.candidates(unverified, tried)
        if found and is_paid:
            with worker.lock:
                self._tokens += 1  # only the issuer can publish a new key: its rotations are no flood
        if not found and not tried:
            self._note_absent(unverified.kid)
        return found

    def candidates(self, unverified: Unverified, tried: Sequence[PublicKey] = ()) -> Sequence[PublicKey]:
        """Return the keys of the copy that may have made the signature, without those that were tried."""
        if self._copy is None:
            return ()
        found = self._copy.keys.candidates(unverified.alg, unverified.kid)
        return [key for key in found if key not in tried] if tried else found

    def _may_fetch(self) -> bool:
        now = self._clock()
        with worker.lock:
            self._tokens = min(BURST, self._tokens + (now - self._refilled_at) / REFILL_SECONDS)
            self._refilled_at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def _is_absent(self, kid: str | None) -> bool:
        return kid is not None and self._clock() < self._absent.get(kid, float("-inf"))

    def _note_absent(self, kid: str | None) -> None:
        if kid is None:
            return
        with worker.lock:
            self._absent.pop(kid, None)
            self._absent[kid] = self._clock() + ABSENT_SECONDS
            if len(self._absent) > MAX_ABSENT:
                self._absent.popitem(last=False)

    def _is_usable(self, copy: Copy, now: float) -> bool:
        return now - copy.fetched_at <= STALE_SECONDS

    async def _replace(self) -> None:
        copy = self._copy
        try:
            await self._arrive(WAIT_SECONDS if copy is None else REPLACE_SECONDS)
        except RemoteError as error:
            now = self._clock()
            if copy is None or not self._is_usable(copy, now):
                raise
            self._fail(error, last=copy)  # a slow fetch counts as a failed one: the next requests do not wait for it

    async def _arrive(self, seconds: float) -> None:
        """Wait for the fetch in flight, or for one that begins now; raise RemoteError if it fails or takes longer."""
        future = self._flight.begin(self._begin)
        if not await arrive(future, seconds=max(0.0, self._begun_at + seconds - time.monotonic())):
            raise Unreachable(f"the keys of {self._issuer.identifier} did not come within {seconds:.0f} s")
        result(future)

    def _begin(self) -> Coroutine[Any, Any, None]:
        self._begun_at = time.monotonic()
        return self._fetch()

    async def _fetch(self) -> None:
        """Replace the copy; on the event loop of the issuer, and once at a time."""
        try:
            fetched = await self._fetch_copy()
        except RemoteError as error:
            self._failures += 1
            self._fail(error, last=self._copy)
            raise
        else:
            self._publish(fetched)
        finally:
            self._set_timer()

    async def _fetch_copy(self) -> Copy:
        reads, uri = self._issuer.reads, None
        await self._issuer.reread(least_seconds=METADATA_SECONDS)
        try:
            async with self._issuer.connect() as http:
                uri = (await self._issuer.metadata(http)).require_jwks_uri()
                return await self._get(http, uri)
        except RemoteError:
            # The issuer may have moved its keys.
            if self._issuer.reads != reads or not await self._issuer.reread(least_seconds=0):
                raise
        async with self._issuer.connect() as http:
            return await self._get(http, (await self._issuer.metadata(http)).require_jwks_uri())

    async def _get(self, http: httpx2.AsyncClient, uri: str) -> Copy:
        last, now = self._copy, self._clock()
        if last is not None and last.uri != uri:
            last = None
        headers = {"If-None-Match": last.etag} if last is not None and last.etag is not None else {}
        response = await self._issuer.get(http, uri, headers=headers)
        if response.status == NOT_MODIFIED and last is not None:
            keys, etag = last.keys, response.etag or last.etag
        elif response.status == OK:
            keys, etag = KeySet.parse(parse_object(response.body)), response.etag
        else:
            raise RemoteError(f"{uri} answered {response.status}")
        max_age = parse_max_age(response.cache_control)
        seconds = lifetime(max_age, default=FRESH_SECONDS, least=LEAST_SECONDS, most=MOST_SECONDS)
        return Copy(keys, self.edition, now, now + REFRESH_AT * seconds, now + seconds, uri, etag)

    def _publish(self, fetched: Copy) -> None:
        if self._copy is None or fetched.keys != self._copy.keys:
            fetched = structs.replace(fetched, edition=fetched.edition + 1)
            if fetched.keys.left_out:
                log.info("the keys of %s: %s", self._issuer.identifier, describe(fetched.keys.left_out))
        if self._failure is not None:
            log.info("the keys of %s were fetched again", self._issuer.identifier)
        with worker.lock:
            self._copy = fetched
            self._failure, self._failed_at = None, float("-inf")
            self._fetches += 1

    def _fail(self, error: RemoteError, *, last: Copy | None) -> None:
        """Remember a failure; log the first of several, not one for each request."""
        now = self._clock()
        with worker.lock:
            if self._copy is not last:  # the fetch that was given up has come a moment later
                return
            is_first = self._failure is None
            self._failure, self._failed_at = str(error), now
        if is_first and last is not None:
            log.warning("the keys of %s cannot be fetched, cached ones are used: %s", self._issuer.identifier, error)

    def _set_timer(self) -> None:
        """Fetch the next copy when it is time, also if no request comes then: the first one after it must not wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        copy, now = self._copy, self._clock()
        if copy is None or now - self._asked_at > IDLE_LIFETIMES * (copy.fresh_until - copy.fetched_at):
            return
        seconds = REFILL_SECONDS if self._failure is not None else copy.refresh_at - now
        fetch = weakref.WeakMethod(self._fetch_in_background)
        self._timer = asyncio.get_running_loop().call_later(seconds, _call, fetch)

    def _fetch_in_background(self) -> None:
        self._flight.begin(self._begin)


def _call(method: weakref.WeakMethod[Callable[[], None]]) -> None:
    if (alive := method()) is not None:  # otherwise the guard is no longer in use
        alive()
