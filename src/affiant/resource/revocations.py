"""What the issuer revoked, followed from afar, so that a guard refuses within seconds what would be good for minutes.

The feed is asked for as long as the API has requests, and a moment longer: the issuer holds its answer back until
something changes. A first request waits for the first answer; no later one waits for anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from affiant.errors import Error, Rejected, RemoteError, Unreachable
from affiant.jose import compact
from affiant.oauth.standing import revocations as feed
from affiant.oauth.standing.revocations import MAX_BYTES, Feed
from affiant.reasons import Reason
from affiant.resource.issuer import NOT_MODIFIED, OK, TIMEOUT_SECONDS, Issuer
from affiant.resource.keys import IssuerKeys

if TYPE_CHECKING:
    import httpx2

log = logging.getLogger(__name__)

POLICIES = ("optional", "required", "off")
WAIT_SECONDS = 5  # that the issuer may hold an answer back; a connection that died is noticed so much later
LEAST_SECONDS = 1.0  # between two questions of an issuer that does not hold back, or fails
MOST_SECONDS = 10.0  # between two while it fails for long
IDLE_SECONDS = 60.0  # without a request, after which nothing is asked
FRESH_SECONDS = 2 * WAIT_SECONDS  # how long the last answer holds for a request that finds nobody asking
STALE_SECONDS = 30.0  # how long it holds while the issuer is away


class Followed:
    """The revocations of one issuer.

    Args:
        issuer: who is asked.
        keys: its keys.
        policy: ``optional``: where the issuer has no feed, or has been away for more than STALE_SECONDS, what is known
            counts, and a warning is logged; ``required``: nobody passes then; ``off``: it is not asked.
        clock: seconds since the epoch.
    """

    def __init__(self, issuer: Issuer, keys: IssuerKeys, *, policy: str, clock: Callable[[], float]) -> None:
        self._issuer = issuer
        self._keys = keys
        self._policy = policy
        self._clock = clock
        # What was told last, and the newest of two periods: who is behind, or tells an old answer, takes nothing back.
        self._feeds: tuple[Feed, ...] = ()
        self._etag: str | None = None
        self._heard_at = self._asked_at = float("-inf")
        self._is_named = True
        self._flights: dict[asyncio.AbstractEventLoop, tuple[asyncio.Task[None], asyncio.Event]] = {}

    async def check(self, claims: dict[str, Any]) -> None:
        """Let a token pass that was not revoked.

        Raises:
            Rejected: TOKEN_REVOKED.
            RemoteError: what is known is too old, and the policy is ``required``.
        """
        if self._policy == "off":
            return
        if self._is_named:
            await self._follow()
        if any(known.revokes(claims) for known in self._feeds):
            raise Rejected(Reason.TOKEN_REVOKED)
        if self._policy == "required" and not self._is_current():
            raise Unreachable(f"what {self._issuer.identifier} revoked is not known")

    def _is_current(self) -> bool:
        now = self._clock()
        # What is confirmed is believed no longer than it was signed for: who stands between us cannot hold it back.
        return bool(self._feeds) and now - self._heard_at <= STALE_SECONDS and now < self._feeds[0].expires_at

    async def _follow(self) -> None:
        """See to it that somebody asks; wait for the first answer, if nothing young is known."""
        self._asked_at = self._clock()
        loop = asyncio.get_running_loop()
        if loop not in self._flights:
            answered = asyncio.Event()
            task = loop.create_task(self._ask_on(answered))
            task.add_done_callback(lambda _: self._flights.pop(loop, None))
            self._flights[loop] = task, answered
        _, answered = self._flights[loop]
        if not answered.is_set() and self._asked_at - self._heard_at > FRESH_SECONDS:
            await answered.wait()

    async def _ask_on(self, answered: asyncio.Event) -> None:
        """Ask, until nobody wants to know any more."""
        failures = 0
        try:
            while self._is_named and self._clock() - self._asked_at < IDLE_SECONDS:
                try:
                    async with self._issuer.asking() as http:
                        await self._ask(http)  # the first answer is wanted at once
                        failures = 0
                        answered.set()
                        await self._listen(http)
                except Error as error:
                    failures += 1
                    self._tell(error, failures)
                answered.set()
                if failures:
                    await asyncio.sleep(min(LEAST_SECONDS * 2 ** min(failures - 1, 8), MOST_SECONDS))
        finally:
            answered.set()

    async def _listen(self, http: httpx2.AsyncClient) -> None:
        loop = asyncio.get_running_loop()
        while self._is_named and self._clock() - self._asked_at < IDLE_SECONDS:
            begun = loop.time()
            has_changed = await self._ask(http, wait=WAIT_SECONDS)
            if not has_changed:
                await asyncio.sleep(max(0.0, LEAST_SECONDS - (loop.time() - begun)))

    async def _ask(self, http: httpx2.AsyncClient, *, wait: int = 0) -> bool:
        """Whether there is news.

        Raises:
            RemoteError: there is no answer, or none that can be believed.
            Rejected: its signature does not hold.
        """
        url = (await self._issuer.metadata(http)).revocations_uri
        if url is None:
            self._is_named = False
            if self._policy == "required":
                log.error("%s names no feed of revocations: nobody passes", self._issuer.identifier)
            return False
        headers = {"If-None-Match": self._etag} if self._etag is not None else {}
        found = await self._issuer.get(
            http,
            f"{url}?wait={wait}" if wait else url,
            headers=headers,
            limit=MAX_BYTES,
            timeout=WAIT_SECONDS + TIMEOUT_SECONDS,  # it may be large
        )
        if found.status == NOT_MODIFIED and self._feeds:
            self._heard_at = self._clock()
            return False
        if found.status != OK:
            raise RemoteError(f"{url} answered {found.status}")
        told = await self._believe(found.body)
        # Who has no 304 for us has no news either: it must not be asked anew without a pause.
        has_changed = told not in self._feeds[:1]
        self._feeds = (told, *_newest((told, *self._feeds)))
        self._etag, self._heard_at = found.etag, self._clock()
        return has_changed

    async def _believe(self, body: bytes) -> Feed:
        verified = await self._keys.verify(compact.parse(body.decode("ascii"), limit=MAX_BYTES))
        return feed.verify(verified, issuer=self._issuer.identifier, now=self._clock())

    def _tell(self, error: Error, failures: int) -> None:
        if failures == 1:
            then = "nobody passes" if self._policy == "required" else "what is known counts on"
            log.warning(
                "the revocations of %s cannot be fetched; after %d s %s: %s",
                *(self._issuer.identifier, STALE_SECONDS, then, error),
            )


def _newest(known: tuple[Feed, ...]) -> list[Feed]:
    """Of the last two periods the newest each: what ended is told for longer than one."""
    by_period = {one.issued_at: one for one in sorted(known, key=_age)}
    return [by_period[period] for period in sorted(by_period)[-2:]]


def _age(known: Feed) -> tuple[int, int, int]:
    """What grows with each feed: within one period nothing is taken out, so the longer one is the newer."""
    return known.issued_at, len(known.whole) + len(known.before), sum(known.before.values())
