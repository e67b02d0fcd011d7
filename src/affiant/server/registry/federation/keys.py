"""The keys of trusts: uploaded, or fetched from their issuers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.jose.algorithms import ASYMMETRIC
from affiant.jose.compact import Unverified, Verified
from affiant.jose.jwk import MAX_KID
from affiant.jose.key_set import KeySet, LeftOut
from affiant.jose.keys import PublicKey
from affiant.server.registry.federation.known import KnownTrust, read_uploaded
from affiant.server.registry.federation.sources import Issued
from affiant.server.registry.key_cache import NOT_FETCHED, TURN_SECONDS, Fetch, KeyCache, Wanted
from affiant.storage.records import Trust

_DAY, _HOUR = 86_400, 3600
# Each completes "the keys of trust NAME cannot be obtained: ".
_WHY = {
    Reason.JWKS_BLOCKED: "the host has an address that this server may not connect to; allow it by jwks_uri_allow",
    Reason.JWKS_UNAVAILABLE: "the host cannot be reached",
    Reason.JWKS_TIMEOUT: "there was no answer within 3 seconds",
    Reason.JWKS_TLS: "the certificate of the host is not valid; give its authority by --ca if that is a private one",
    Reason.JWKS_STATUS: "the answer was not 200, and redirects are not followed",
    Reason.JWKS_TOO_LARGE: "the answer is larger than 64 KiB",
    Reason.JWKS_MALFORMED: "the answer is not what it must be",
}


@dataclass(frozen=True, slots=True)
class Found:
    """The keys that a trust has now.

    Attributes:
        uri: of the set that was fetched; None for an uploaded one.
        keys: in order.
        left_out: members of the set that are not used, and why.
    """

    uri: str | None
    keys: tuple[PublicKey, ...]
    left_out: tuple[LeftOut, ...]


class TrustKeys:
    """Finds the keys that may have signed a token of a trust."""

    def __init__(self, fetch: Fetch | None = None) -> None:
        self._fetch = fetch
        self._cache = KeyCache[KeySet](fetch)

    async def verify(
        self, trusts: Sequence[KnownTrust], unverified: Unverified, *, now: float, fetches: bool = True
    ) -> tuple[KnownTrust, Verified]:
        """Return the trust whose key made the signature, among all that may have issued the token.

        Key sets are fetched again only if no known key made it, so an unreachable issuer does not delay the tokens of
        another. Raises TRUST_AMBIGUOUS if two trusts have the key; SIGNATURE or a reason of step 6 if none has it.
        """
        tries = [_Try(self._cache, trust, unverified, is_alone=len(trusts) == 1) for trust in trusts]
        for step in (_Try.begin, _Try.look_again) if fetches else (_Try.begin_with_kept,):
            if len(tries) == 1:
                await step(tries[0], now)
            else:
                await asyncio.gather(*(step(one, now) for one in tries))
            found = [(one.trust, one.verified) for one in tries if one.verified is not None]
            if len(found) > 1:
                raise Rejected(Reason.TRUST_AMBIGUOUS, got=" and ".join(trust.name for trust, _ in found))
            if found:
                return found[0]
        refusals = [one.refuse(now) for one in tries]
        raise next((each for each in refusals if each.reason is Reason.SIGNATURE), refusals[-1])

    def is_old(self, trust: KnownTrust, *, now: float) -> bool:
        """Whether its set is used only because no new one can be fetched."""
        kept = self._cache.find(Issued(trust.record)) if trust.keys is None else None
        return kept is not None and kept.is_old(now)

    def describe(self, trust: KnownTrust, *, now: float) -> str:
        """Return one line for the operator: the age of its keys, and what is left out of them."""
        return _describe(self._cache, trust, now)

    async def probe(self, trust: Trust) -> Found:
        """Return the keys that this trust would have, without caching them.

        Raises ConfigError with the cause if they cannot be obtained.
        """
        uri, keys = await self.load(trust)
        return Found(uri, keys.keys, keys.left_out)

    async def load(self, trust: Trust) -> tuple[str | None, KeySet]:
        """Return the set of `probe`, and its address; None for an uploaded one."""
        if trust.jwks is not None:
            return None, read_uploaded(trust)
        if self._fetch is None:
            raise ConfigError(NOT_FETCHED)
        try:
            async with asyncio.timeout(TURN_SECONDS):
                loaded = await Issued(trust).load(self._fetch)
        except (Rejected, TimeoutError) as error:
            problem = error if isinstance(error, Rejected) else Rejected(Reason.JWKS_TIMEOUT)
            raise ConfigError(f"the keys of trust {trust.name} cannot be obtained: {explain(problem)}") from None
        return loaded.uri, loaded.keys

    async def close(self) -> None:
        """Cancel the fetches in flight."""
        await self._cache.close()


class _Try:
    """The search of the keys of one trust for the one that made a signature."""

    def __init__(self, cache: KeyCache[KeySet], trust: KnownTrust, unverified: Unverified, *, is_alone: bool) -> None:
        self.trust = trust
        self.verified: Verified | None = None
        self._cache = cache
        self._unverified = unverified
        self._is_alone = is_alone
        self._is_new = False  # whether its set was fetched for this token
        self._tried: tuple[PublicKey, ...] = ()
        self._refusal: Rejected | None = None

    async def begin(self, now: float) -> None:
        """Verify with the known keys; an old set is fetched first."""
        try:
            self._check_algorithm()
            keys = self.trust.keys
            if keys is None:
                kept, self._is_new = await self._cache.keep_fresh(
                    Issued(self.trust.record), now=now, is_patient=self._is_alone
                )
                keys = kept.check(now).keys
            self._verify(keys)
        except Rejected as refusal:
            self._refusal = refusal

    async def begin_with_kept(self, now: float) -> None:
        """Verify with the keys that are known, however old their set is."""
        kept = self._cache.find(Issued(self.trust.record)) if self.trust.keys is None else None
        try:
            self._check_algorithm()
            self._verify(self.trust.keys or (kept.check(now).keys if kept is not None else KeySet(())))
        except Rejected as refusal:
            self._refusal = refusal

    async def look_again(self, now: float) -> None:
        """Verify with keys that the issuer has published since its set was fetched."""
        kept = self._cache.find(Issued(self.trust.record)) if self.trust.keys is None else None
        if kept is None or not self._is_usable(self._unverified.alg):
            return
        wanted = self._wanted()
        await self._cache.look_for(kept, wanted, now=now, is_new=self._is_new)
        try:
            self._verify(kept.check(now, None if self._tried else wanted).keys)
        except Rejected as refusal:
            self._refusal = refusal

    def refuse(self, now: float) -> Rejected:
        """Return why no key of this trust made the signature."""
        known = _describe(self._cache, self.trust, now)
        refusal = self._refusal
        if refusal is None:
            kid = self._unverified.kid
            got = f"{self._unverified.alg} {kid or 'without kid'}"[:100]
            return Rejected(Reason.TRUST_KEY_UNKNOWN, got=got, detail=f"trust {self.trust.name}: {known}")
        if refusal.reason in _WHY or refusal.reason is Reason.JWKS_STALE:
            why = refusal.detail if refusal.detail == NOT_FETCHED else _told(self.trust.name, refusal, known)
            return Rejected(Reason.TRUST_KEYS, expected=refusal.expected, got=refusal.got, detail=why)
        detail = "; ".join(filter(None, (f"trust {self.trust.name}: {known}", refusal.detail)))
        return Rejected(refusal.reason, expected=refusal.expected, got=refusal.got, detail=detail)

    def _verify(self, keys: KeySet) -> None:
        candidates = keys.candidates(self._unverified.alg, self._unverified.kid)
        new = [key for key in candidates if key not in self._tried]
        self._tried = (*self._tried, *new)
        if new:
            self.verified = compact.verify_any(self._unverified, new)

    def _check_algorithm(self) -> None:
        # Attack: alg none, or HS256 with a public key as the secret. Such a token causes no fetch.
        alg, allowed = self._unverified.alg, self.trust.record.algorithms or ASYMMETRIC
        if not self._is_usable(alg):
            raise Rejected(Reason.KEY_ALGORITHM, expected=" or ".join(allowed), got=alg[:100])

    def _is_usable(self, alg: str) -> bool:
        return alg in ASYMMETRIC and alg in (self.trust.record.algorithms or ASYMMETRIC)

    def _wanted(self) -> Wanted:
        kid, alg, tried = self._unverified.kid, self._unverified.alg, {key.thumbprint for key in self._tried}
        name = kid[:MAX_KID] if kid is not None else f"any {alg}"
        return Wanted(
            f"not the known one for {name}" if tried else name,
            lambda key: alg in key.algorithms and kid in (None, key.kid) and key.thumbprint not in tried,
        )


def explain(problem: Rejected) -> str:
    """Return why a fetch failed, in words."""
    comes = f"expected {problem.expected}, got {problem.got or 'something else'}" if problem.expected else ""
    parts = (_WHY.get(problem.reason, problem.reason.value.sentence), problem.detail, comes)
    return "; ".join(filter(None, parts))


def _told(name: str, refusal: Rejected, known: str) -> str:
    return "; ".join(filter(None, (f"trust {name}: {refusal.reason.code} {refusal.detail}".strip(), known)))


def _describe(cache: KeyCache[KeySet], trust: KnownTrust, now: float) -> str:
    if trust.keys is None:
        kept = cache.find(Issued(trust.record))
        if kept is None or kept.loaded is None:
            return "its keys were never fetched"
        return f"{kept.describe(now)}; from {urlsplit(kept.loaded.uri).hostname}"
    at = trust.record.jwks_at
    return f"its key set was uploaded {_age(now - at)} ago" if at is not None else "its key set was uploaded"


def _age(seconds: float) -> str:
    """Return an age in days, hours or seconds."""
    if seconds >= 2 * _DAY:
        return f"{int(seconds // _DAY)} days"
    return f"{int(seconds // _HOUR)} hours" if seconds >= 2 * _HOUR else f"{max(0, int(seconds))} s"
