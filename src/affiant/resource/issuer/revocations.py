"""Follow the issuer's feed of revocations, so that a guard rejects a revoked token within seconds.

The feed is requested for as long as the API has requests, and a minute longer; the issuer delays each response until
something changes. The first request waits for the first response, and where the feed is optional for a second at most.
Later ones wait for nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from affiant.errors import Error, Rejected, RemoteError, Unreachable
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.oauth import revocations as feed
from affiant.oauth.access_token import JudgedToken
from affiant.oauth.revocations import MAX_BYTES, Feed, digests
from affiant.resource.issuer.flight import Flight, arrive
from affiant.resource.issuer.offline import Keys
from affiant.resource.issuer.remote import NOT_MODIFIED, OK, TIMEOUT_SECONDS, RemoteIssuer
from affiant.resource.issuer.worker import worker
from affiant.system.values import Value

if TYPE_CHECKING:  # the first request loads it
    import httpx2

log: logging.Logger = logging.getLogger(__name__)

POLICIES = ("optional", "required", "off")
WAIT_SECONDS = 5  # for which the issuer may delay a response; a dead connection is noticed so much later
LEAST_SECONDS = 1.0  # between two requests to an issuer that does not delay, or fails
MOST_SECONDS = 10.0  # between two requests while it keeps failing
IDLE_SECONDS = 60.0  # without a request to the API, after which the feed is not requested
FRESH_SECONDS = 2 * WAIT_SECONDS  # for which the last feed is used without waiting for a newer one
# What requests wait at most for the first response, counted from its request.
OPTIONAL_WAIT_SECONDS, MOST_WAIT_SECONDS = 1.0, 15.0
STALE_SECONDS = 30.0  # for which the last feed is current while the issuer is unreachable


class FeedState(Value, frozen=True):
    """What is known of the feed, for metrics and readiness.

    Attributes:
        is_required: all tokens are rejected while it is not current.
        is_current: it was heard of a moment ago.
        age_seconds: since the issuer was heard of; None if it never was.
        failures: requests that failed in this process.
    """

    is_required: bool
    is_current: bool
    age_seconds: float | None
    failures: int


class Followed:
    """The revocations of one issuer.

    With the policy ``optional``, the last known ones count if the issuer has no feed or is unreachable for more than
    STALE_SECONDS, and a warning is logged. With ``required`` all tokens are then rejected. ``off`` requests nothing.
    """

    def __init__(self, issuer: RemoteIssuer, keys: Keys, *, policy: str, clock: Callable[[], float]) -> None:
        self._issuer = issuer
        self._keys = keys
        self._policy = policy
        self._clock = clock
        # The last feed, and the newest of each of two periods. Attack: an old feed is replayed. It un-revokes nothing.
        self._feeds: tuple[Feed, ...] = ()
        self._etag: str | None = None
        self._failures = 0
        self._heard_at = self._asked_at = float("-inf")
        self._live_until = float("-inf")  # until when the run in flight needs no look, in this fork
        self._forks = worker.forks
        self._is_missed = False  # the policy demands a feed, and the issuer has none
        self._flight = Flight[None](issuer.loop)
        self._first, self._begun_at = Future[None](), float("-inf")  # the first response of the run in flight

    async def check(self, judged: JudgedToken) -> None:
        """Raise TOKEN_REVOKED; or Unreachable if the policy is ``required`` and the last feed is too old."""
        if not self.is_ready():
            limit = MOST_WAIT_SECONDS if self._policy == "required" else OPTIONAL_WAIT_SECONDS
            await arrive(self._first, seconds=max(0.0, self._begun_at + limit - time.monotonic()))
        self.judge(judged)

    def is_ready(self) -> bool:
        """Whether there is nothing to wait for; begin the requests if none are made."""
        now = self._asked_at = self._clock()
        if now < self._live_until and self._forks == worker.forks:
            return True
        if self._policy == "off" or not self._has_feed():
            return True
        if self._flight.find() is None:
            self._flight.begin(self._begin)
        return now - self._heard_at <= FRESH_SECONDS or self._first.done()

    def follow(self) -> bool:
        """Begin the requests as a request to the API does; return whether any are made."""
        self.is_ready()
        return self._flight.find() is not None

    def state(self) -> FeedState | None:
        """Return what is known, without a request; None where no feed is followed."""
        if self._policy == "off" or not (self._has_feed() or self._policy == "required"):
            return None
        age = max(0.0, self._clock() - self._heard_at) if self._feeds else None
        return FeedState(self._policy == "required", self._is_current(), age, self._failures)

    def judge(self, judged: JudgedToken) -> None:
        """Judge by what is known, as `check` does, without waiting."""
        if self._policy == "off":
            return
        for known in self._feeds:
            if known.whole or known.before:
                if not judged.names:  # once for each token: seven digests take longer than the rest of a check
                    judged.names.append(digests(judged.token.claims))
                if known.has_any(judged.names[0]) and known.revokes(judged.token.claims):
                    raise Rejected(Reason.TOKEN_REVOKED)
        if self._policy == "required" and not self._is_current():
            raise Unreachable(f"the revocations of {self._issuer.identifier} are not known")

    def _is_current(self) -> bool:
        now = self._clock()
        # Attack: 304 is answered for ever. A feed is not current for longer than it was signed for.
        return bool(self._feeds) and now - self._heard_at <= STALE_SECONDS and now < self._feeds[0].expires_at

    def _has_feed(self) -> bool:
        """Whether the metadata name a feed, as far as they are known."""
        known = self._issuer.known
        return known is None or known.revocations_uri is not None

    def _is_wanted(self) -> bool:
        return self._has_feed() and self._clock() - self._asked_at < IDLE_SECONDS

    def _begin(self) -> Coroutine[Any, Any, None]:
        self._first, self._begun_at = first, _ = Future[None](), time.monotonic()
        return self._run(first)

    async def _run(self, first: Future[None]) -> None:
        failures = 0
        try:
            while self._is_wanted():
                try:
                    async with self._issuer.connect() as http:
                        await self._fetch(http)  # the first response must not be delayed
                        failures = 0
                        _set(first)
                        await self._listen(http)
                except Error as error:
                    failures += 1
                    self._failures += 1
                    self._warn(error, failures)
                _set(first)
                if failures:
                    await asyncio.sleep(min(LEAST_SECONDS * 2 ** min(failures - 1, 8), MOST_SECONDS))
        finally:
            self._live_until = float("-inf")
            _set(first)

    async def _listen(self, http: httpx2.AsyncClient) -> None:
        loop = asyncio.get_running_loop()
        while self._is_wanted():
            begun = loop.time()
            has_changed = await self._fetch(http, wait=WAIT_SECONDS)
            if not has_changed:
                await asyncio.sleep(max(0.0, LEAST_SECONDS - (loop.time() - begun)))

    async def _fetch(self, http: httpx2.AsyncClient, *, wait: int = 0) -> bool:
        """Return whether the feed changed; raise RemoteError or Rejected if the response cannot be trusted."""
        url = (await self._issuer.metadata(http)).revocations_uri
        if url is None:
            if self._policy == "required" and not self._is_missed:
                self._is_missed = True
                log.error("%s names no feed of revocations: all tokens are rejected", self._issuer.identifier)
            return False
        response = await self._issuer.get(
            http,
            f"{url}?wait={wait}" if wait else url,
            headers={"If-None-Match": self._etag} if self._etag is not None else {},
            limit=MAX_BYTES,
            timeout=WAIT_SECONDS + TIMEOUT_SECONDS,  # it may be large
        )
        if response.status == NOT_MODIFIED and self._feeds:
            self._hear()
            return False
        if response.status != OK:
            raise RemoteError(f"{url} answered {response.status}")
        verified = await self._keys.verify(compact.parse(response.body.decode("ascii"), limit=MAX_BYTES))
        latest = feed.verify(verified, issuer=self._issuer.identifier, now=self._clock())
        # An issuer without 304 repeats the feed: that is no change, and must not cause a request without a pause.
        has_changed = latest not in self._feeds[:1]
        self._feeds = (latest, *_newest((latest, *self._feeds)))
        self._etag = response.etag
        self._hear()
        return has_changed

    def _hear(self) -> None:
        self._heard_at = self._clock()
        self._live_until, self._forks = self._heard_at + WAIT_SECONDS, worker.forks

    def _warn(self, error: Error, failures: int) -> None:
        if failures == 1:
            then = "all tokens are rejected" if self._policy == "required" else "the last known ones count"
            log.warning(
                "the revocations of %s cannot be fetched; after %d s %s: %s",
                *(self._issuer.identifier, STALE_SECONDS, then, error),
            )


def _set(first: Future[None]) -> None:
    if not first.done():
        first.set_result(None)


def _newest(known: tuple[Feed, ...]) -> list[Feed]:
    """Return the newest feed of each of the last two periods; a revocation stays in the feed for more than one."""
    by_period = {one.issued_at: one for one in sorted(known, key=_size)}
    return [by_period[period] for period in sorted(by_period)[-2:]]


def _size(known: Feed) -> tuple[int, int, int]:
    """Return what grows with each feed: within one period nothing is removed, so the larger one is newer."""
    return known.issued_at, len(known.whole) + len(known.before), sum(known.before.values())
