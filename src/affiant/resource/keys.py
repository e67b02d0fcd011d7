"""The issuer's keys: fetched when needed, cached as Cache-Control says, and fetched again when a key is missing.

A key is missing if none has the kid of a token, or if none of that kid made its signature: the issuer may have replaced
a key under the same kid. Both kinds of fetch share one budget: a flood of tokens must not become a flood of fetches.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from functools import partial

from affiant.errors import Error, Rejected, RemoteError
from affiant.jose import compact
from affiant.jose.compact import Unverified, Verified
from affiant.jose.key_set import KeySet, describe
from affiant.jose.keys import PublicKey
from affiant.jose.strict_json import parse_object
from affiant.oauth.jwks_uri import lifetime, parse_max_age
from affiant.reasons import Reason
from affiant.resource.issuer import OK, Issuer
from affiant.system.single_flight import SingleFlight

log = logging.getLogger(__name__)

FRESH_SECONDS = 300.0  # cache lifetime if the response has no Cache-Control
LEAST_SECONDS, MOST_SECONDS = 5.0, 86_400.0  # limits of a lifetime from Cache-Control
STALE_SECONDS = 86_400.0  # for which cached keys are used while the issuer is unreachable
BURST, REFILL_SECONDS = 3.0, 10.0  # fetches for missing keys


class IssuerKeys:
    """The keys of one issuer. `edition` changes when they do."""

    def __init__(self, issuer: Issuer, *, clock: Callable[[], float]) -> None:
        self._issuer = issuer
        self._clock = clock
        self._keys: KeySet | None = None
        self.edition = 0
        self._failure: str | None = None  # of the last fetch
        self._fetches = 0
        self._fetched_at = float("-inf")
        self._fresh_until = float("-inf")
        self._tokens, self._refilled_at = BURST, clock()  # a token bucket
        self._flight = SingleFlight[None]()

    async def verify(self, unverified: Unverified) -> Verified:
        """Verify by the key of this kid, or by any that fits if the JWS names none.

        Raises TOKEN_KEY or TOKEN_SIGNATURE; RemoteError if no key, or none of this kid, is known and the issuer does
        not answer.
        """
        fetches = self._fetches
        tried = await self._find(unverified)
        with contextlib.suppress(Rejected):
            return compact.verify_any(unverified, tried)
        if self._fetches == fetches:  # otherwise they were fetched for this token
            others = await self._find_others(unverified, tried)
            with contextlib.suppress(Rejected):
                return compact.verify_any(unverified, others)
        age = max(0, int(self._clock() - self._fetched_at))
        raise Rejected(Reason.TOKEN_SIGNATURE, detail=f"by the keys of the issuer, fetched {age} s ago")

    async def refresh(self) -> None:
        """Fetch the keys if the copy is too old; raise RemoteError if that fails and no copy can be used."""
        now = self._clock()
        if self._keys is None or now >= self._fresh_until:
            await self._fetch_once(now)

    async def _find(self, unverified: Unverified) -> Sequence[PublicKey]:
        await self.refresh()
        # An unknown kid may be a new key. Tokens with a known kid never wait for it.
        found = self._candidates(unverified) or await self._look_again(unverified)
        if not found:
            raise Rejected(Reason.TOKEN_KEY, detail=describe(self._keys.left_out) if self._keys is not None else "")
        return found

    async def _find_others(self, unverified: Unverified, tried: Sequence[PublicKey]) -> Sequence[PublicKey]:
        """Return keys of the same kid that the issuer has published since, without those that were tried."""
        try:
            return await self._look_again(unverified, tried)
        except RemoteError:
            # By the known keys the signature is invalid: an unreachable issuer must not turn a forged token into a 503.
            return ()

    async def _look_again(self, unverified: Unverified, tried: Sequence[PublicKey] = ()) -> Sequence[PublicKey]:
        now = self._clock()
        if self._flight.find() is not None:  # it began before this token came: perhaps before its key was published
            await self._fetch_once(now, is_needed=True)
            if found := self._candidates(unverified, tried):
                return found
        is_paid = self._flight.find() is None
        if is_paid and not self._may_fetch(now):
            if self._failure is not None:
                raise RemoteError(self._failure)
            return ()
        await self._fetch_once(now, is_needed=True)
        found = self._candidates(unverified, tried)
        if found and is_paid:
            self._tokens += 1  # only the issuer can publish a new key: its rotations are no flood
        return found

    def _candidates(self, unverified: Unverified, tried: Sequence[PublicKey] = ()) -> Sequence[PublicKey]:
        if self._keys is None:
            return ()
        return [key for key in self._keys.candidates(unverified.alg, unverified.kid) if key not in tried]

    def _may_fetch(self, now: float) -> bool:
        self._tokens = min(BURST, self._tokens + (now - self._refilled_at) / REFILL_SECONDS)
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    async def _fetch_once(self, now: float, *, is_needed: bool = False) -> None:
        try:
            await self._flight.run(partial(self._fetch, now))
        except Error as error:
            self._failure = str(error)
            if self._keys is None or now - self._fetched_at > STALE_SECONDS:
                raise
            log.warning("the keys of %s cannot be fetched, cached ones are used: %s", self._issuer.identifier, error)
            self._fresh_until = now + REFILL_SECONDS
            if is_needed:  # the issuer may have such a key: do not blame the token
                raise

    async def _fetch(self, now: float) -> None:
        async with self._issuer.connect() as http:
            jwks_uri = (await self._issuer.metadata(http)).require_jwks_uri()
            response = await self._issuer.get(http, jwks_uri)
            if response.status != OK:
                raise RemoteError(f"{jwks_uri} answered {response.status}")
            fetched = KeySet.parse(parse_object(response.body))
        self._failure = None
        self._fetches += 1
        if fetched != self._keys:
            self.edition += 1
            if fetched.left_out:
                log.info("the keys of %s: %s", self._issuer.identifier, describe(fetched.left_out))
        self._keys = fetched
        max_age = parse_max_age(response.cache_control)
        self._fetched_at = now
        self._fresh_until = now + lifetime(max_age, default=FRESH_SECONDS, least=LEAST_SECONDS, most=MOST_SECONDS)
