"""Follow the issuer's feed of revocations, so that a guard rejects a revoked token within seconds.

The feed is requested for as long as the API has requests, and a minute longer; the issuer delays each response until
something changes. The first request waits for the first response. Later ones wait for nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from affiant.errors import Error, Rejected, RemoteError, Unreachable
from affiant.jose import compact
from affiant.oauth import revocations as feed
from affiant.oauth.revocations import MAX_BYTES, Feed
from affiant.reasons import Reason
from affiant.resource.issuer import NOT_MODIFIED, OK, TIMEOUT_SECONDS, Issuer
from affiant.resource.keys import IssuerKeys

if TYPE_CHECKING:  # the first request loads it
    import httpx2

log = logging.getLogger(__name__)

POLICIES = ("optional", "required", "off")
WAIT_SECONDS = 5  # for which the issuer may delay a response; a dead connection is noticed so much later
LEAST_SECONDS = 1.0  # between two requests to an issuer that does not delay, or fails
MOST_SECONDS = 10.0  # between two requests while it keeps failing
IDLE_SECONDS = 60.0  # without a request to the API, after which the feed is not requested
FRESH_SECONDS = 2 * WAIT_SECONDS  # for which the last feed is used without waiting for a newer one
STALE_SECONDS = 30.0  # for which the last feed is current while the issuer is unreachable


class Followed:
    """The revocations of one issuer.

    With the policy ``optional``, the last known ones count if the issuer has no feed or is unreachable for more than
    STALE_SECONDS, and a warning is logged. With ``required`` all tokens are then rejected. ``off`` requests nothing.
    """

    def __init__(self, issuer: Issuer, keys: IssuerKeys, *, policy: str, clock: Callable[[], float]) -> None:
        self._issuer = issuer
        self._keys = keys
        self._policy = policy
        self._clock = clock
        # The last feed, and the newest of each of two periods. Attack: an old feed is replayed. It un-revokes nothing.
        self._feeds: tuple[Feed, ...] = ()
        self._etag: str | None = None
        self._heard_at = self._asked_at = float("-inf")
        self._has_feed = True
        self._tasks: dict[asyncio.AbstractEventLoop, tuple[asyncio.Task[None], asyncio.Event]] = {}

    async def check(self, claims: dict[str, Any]) -> None:
        """Raise TOKEN_REVOKED; or Unreachable if the policy is ``required`` and the last feed is too old."""
        if self._policy == "off":
            return
        if self._has_feed:
            await self._follow()
        if any(known.revokes(claims) for known in self._feeds):
            raise Rejected(Reason.TOKEN_REVOKED)
        if self._policy == "required" and not self._is_current():
            raise Unreachable(f"the revocations of {self._issuer.identifier} are not known")

    def _is_current(self) -> bool:
        now = self._clock()
        # Attack: 304 is answered for ever. A feed is not current for longer than it was signed for.
        return bool(self._feeds) and now - self._heard_at <= STALE_SECONDS and now < self._feeds[0].expires_at

    async def _follow(self) -> None:
        """Start the requests if none are made; wait for the first response if no fresh feed is known."""
        self._asked_at = self._clock()
        loop = asyncio.get_running_loop()
        if loop not in self._tasks:
            answered = asyncio.Event()
            task = loop.create_task(self._run(answered))
            task.add_done_callback(lambda _: self._tasks.pop(loop, None))
            self._tasks[loop] = task, answered
        _, answered = self._tasks[loop]
        if not answered.is_set() and self._asked_at - self._heard_at > FRESH_SECONDS:
            await answered.wait()

    def _is_wanted(self) -> bool:
        return self._has_feed and self._clock() - self._asked_at < IDLE_SECONDS

    async def _run(self, answered: asyncio.Event) -> None:
        failures = 0
        try:
            while self._is_wanted():
                try:
                    async with self._issuer.connect() as http:
                        await self._fetch(http)  # the first response must not be delayed
                        failures = 0
                        answered.set()
                        await self._listen(http)
                except Error as error:
                    failures += 1
                    self._warn(error, failures)
                answered.set()
                if failures:
                    await asyncio.sleep(min(LEAST_SECONDS * 2 ** min(failures - 1, 8), MOST_SECONDS))
        finally:
            answered.set()

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
            self._has_feed = False
            if self._policy == "required":
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
            self._heard_at = self._clock()
            return False
        if response.status != OK:
            raise RemoteError(f"{url} answered {response.status}")
        verified = await self._keys.verify(compact.parse(response.body.decode("ascii"), limit=MAX_BYTES))
        latest = feed.verify(verified, issuer=self._issuer.identifier, now=self._clock())
        # An issuer without 304 repeats the feed: that is no change, and must not cause a request without a pause.
        has_changed = latest not in self._feeds[:1]
        self._feeds = (latest, *_newest((latest, *self._feeds)))
        self._etag, self._heard_at = response.etag, self._clock()
        return has_changed

    def _warn(self, error: Error, failures: int) -> None:
        if failures == 1:
            then = "all tokens are rejected" if self._policy == "required" else "the last known ones count"
            log.warning(
                "the revocations of %s cannot be fetched; after %d s %s: %s",
                *(self._issuer.identifier, STALE_SECONDS, then, error),
            )


def _newest(known: tuple[Feed, ...]) -> list[Feed]:
    """Return the newest feed of each of the last two periods; a revocation stays in the feed for more than one."""
    by_period = {one.issued_at: one for one in sorted(known, key=_size)}
    return [by_period[period] for period in sorted(by_period)[-2:]]


def _size(known: Feed) -> tuple[int, int, int]:
    """Return what grows with each feed: within one period nothing is removed, so the larger one is newer."""
    return known.issued_at, len(known.whole) + len(known.before), sum(known.before.values())
