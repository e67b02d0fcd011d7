"""The issuer's keys: fetched when needed, cached as its Cache-Control says, and fetched again when one is missing.

A key is missing if none has the kid of a token, or if none of that kid made its signature: the issuer may have replaced
a key under the same kid. Both kinds of fetch share one budget: a flood of tokens must not become a flood of fetches.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from affiant.errors import Error, Rejected, RemoteError
from affiant.jose import compact
from affiant.jose.compact import Unverified, Verified
from affiant.jose.key_set import KeySet, describe
from affiant.jose.keys import PublicKey
from affiant.jose.strict_json import parse_object
from affiant.oauth.jwks_uri import parse_max_age
from affiant.reasons import Reason
from affiant.resource.issuer import OK, Issuer

log = logging.getLogger(__name__)

FRESH_SECONDS = 300.0  # that keys are cached if the issuer's answer has no Cache-Control
LEAST_SECONDS, MOST_SECONDS = 5.0, 86_400.0  # within which the issuer's Cache-Control is followed
STALE_SECONDS = 86_400.0  # how long known keys serve while the issuer is away
BURST, REFILL_SECONDS = 3.0, 10.0  # fetches for missing keys


class IssuerKeys:
    """The keys of one issuer.

    Attributes:
        edition: a number that changes when the keys do.
    """

    def __init__(self, issuer: Issuer, *, clock: Callable[[], float]) -> None:
        self._issuer = issuer
        self._clock = clock
        self._keys: KeySet | None = None
        self.edition = 0
        self._failure: str | None = None  # of the last fetch
        self._fetches = 0
        self._fetched_at = float("-inf")
        self._fresh_until = float("-inf")
        self._tokens, self._refilled_at = BURST, clock()
        self._flights: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}

    async def verify(self, unverified: Unverified) -> Verified:
        """What one of the keys signed.

        Raises:
            Rejected: TOKEN_KEY or TOKEN_SIGNATURE.
            RemoteError: no key is known, or none of this kid, and the issuer does not answer.
        """
        fetches = self._fetches
        tried = await self.find(unverified.kid, unverified.alg)
        verified = _verify(unverified, tried)
        if verified is None and self._fetches == fetches:  # otherwise they were fetched for this token
            verified = _verify(unverified, await self._find_others(unverified, tried))
        if verified is None:
            age = max(0, int(self._clock() - self._fetched_at))
            raise Rejected(Reason.TOKEN_SIGNATURE, detail=f"by the keys of the issuer, fetched {age} s ago")
        return verified

    async def find(self, kid: str | None, alg: str) -> tuple[PublicKey, ...]:
        """The keys that may have signed: the one of this kid, or every fitting one where the token names none.

        Raises:
            Rejected: TOKEN_KEY.
            RemoteError: no key is known, or none of this kid, and the issuer does not answer.
        """
        await self.refresh()
        # An unknown kid may be a new key; a known one is never kept waiting by unknown ones.
        found = self._candidates(kid, alg) or await self._look_again(kid, alg)
        if not found:
            raise Rejected(Reason.TOKEN_KEY, detail=describe(self._keys.left_out) if self._keys is not None else "")
        return found

    async def refresh(self) -> None:
        """Fetch the keys if the copy is too old.

        Raises:
            Unreachable: no key is known, or none is young enough, and the issuer does not answer.
        """
        now = self._clock()
        if self._keys is None or now >= self._fresh_until:
            await self._renew(now)

    async def _find_others(self, unverified: Unverified, tried: tuple[PublicKey, ...]) -> tuple[PublicKey, ...]:
        """Return keys of the same kid that the issuer has published since, without those that were tried."""
        try:
            return await self._look_again(unverified.kid, unverified.alg, tried)
        except RemoteError:
            # By the known keys the signature is invalid: an unreachable issuer must not turn a forged token into a 503.
            return ()

    async def _look_again(self, kid: str | None, alg: str, tried: tuple[PublicKey, ...] = ()) -> tuple[PublicKey, ...]:
        now, paid = self._clock(), False
        found: tuple[PublicKey, ...] = ()
        if self._is_fetching():  # begun before this token came: perhaps before its key was published
            await self._renew(now, is_needed=True)
            found = self._candidates(kid, alg, tried)
        if not found and not self._is_fetching():
            if not self._may_fetch(now):
                if self._failure is not None:
                    raise RemoteError(self._failure)
                return ()
            paid = True
        if not found:
            await self._renew(now, is_needed=True)
            found = self._candidates(kid, alg, tried)
        if found and paid:
            self._tokens += 1  # only the issuer can bring a new key about: its rotations are no storm
        return found

    def _is_fetching(self) -> bool:
        return asyncio.get_running_loop() in self._flights

    def _candidates(self, kid: str | None, alg: str, tried: tuple[PublicKey, ...] = ()) -> tuple[PublicKey, ...]:
        if self._keys is None:
            return ()
        return tuple(key for key in self._keys.candidates(alg, kid) if key not in tried)

    def _may_fetch(self, now: float) -> bool:
        self._tokens = min(BURST, self._tokens + (now - self._refilled_at) / REFILL_SECONDS)
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    async def _renew(self, now: float, *, is_needed: bool = False) -> None:
        loop = asyncio.get_running_loop()
        flight = self._flights.get(loop)
        if flight is None:
            flight = self._flights[loop] = asyncio.create_task(self._fetch(now))
            flight.add_done_callback(lambda _: self._flights.pop(loop, None))
        try:
            await asyncio.shield(flight)
        except Error as error:
            self._failure = str(error)
            if self._keys is None or now - self._fetched_at > STALE_SECONDS:
                raise
            log.warning("the keys of %s cannot be fetched, those known serve on: %s", self._issuer.identifier, error)
            self._fresh_until = now + REFILL_SECONDS
            if is_needed:  # nobody can say whether the issuer has such a key: that is no fault of the token
                raise

    async def _fetch(self, now: float) -> None:
        async with self._issuer.asking() as http:
            jwks_uri = (await self._issuer.metadata(http)).require_jwks_uri()
            published = await self._issuer.get(http, jwks_uri)
            if published.status != OK:
                raise RemoteError(f"{jwks_uri} answered {published.status}")
            fetched = KeySet.parse(parse_object(published.body))
        self._failure = None
        self._fetches += 1
        if fetched != self._keys:
            self.edition += 1
            if fetched.left_out:
                log.info("the keys of %s: %s", self._issuer.identifier, describe(fetched.left_out))
        self._keys = fetched
        self._fetched_at, self._fresh_until = now, now + _age(published.cache_control)


def _verify(unverified: Unverified, keys: tuple[PublicKey, ...]) -> Verified | None:
    with contextlib.suppress(Rejected):
        return compact.verify_any(unverified, keys)
    return None


def _age(cache_control: str) -> float:
    wished = parse_max_age(cache_control)
    return FRESH_SECONDS if wished is None else min(max(float(wished), LEAST_SECONDS), MOST_SECONDS)
