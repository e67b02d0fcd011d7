"""Admit the token that a platform gave a workload: a trust verifies it, and one of its rules names the client.

Such a token authenticates a client (methods/platform_token.py), or is exchanged (token/grants/token_exchange.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.jose.compact import Unverified, Verified
from affiant.oauth.federation import conditions, spiffe_id, trusted_token
from affiant.oauth.federation.trusted_token import TrustedToken
from affiant.server.client_auth import stranger
from affiant.server.client_auth.method import Judging
from affiant.server.registry.federation import claims as kept_claims
from affiant.server.registry.federation import nearest
from affiant.server.registry.federation.keys import TrustKeys
from affiant.server.registry.federation.known import Federation, KnownTrust
from affiant.server.request.caller import Ceiling
from affiant.storage.entries import JtiClaim
from affiant.storage.records import Rule
from affiant.system.values import Value

MAX_SOURCE = 1024  # bytes of copied claims in an access token
_PLAIN = re.compile(r"https://[A-Za-z0-9.-]{1,100}(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~-]{0,64}){0,6}")


class Foreign(Value, frozen=True):
    """A parsed token of another issuer, whose signature is not verified yet."""

    HIDDEN = frozenset({"unverified"})

    unverified: Unverified
    issuers: tuple[str, ...]
    client_id: str | None = None  # the parameter, which chooses among the rules

    @classmethod
    def find(cls, unverified: Unverified, *, client_id: str | None = None, is_svid: bool = False) -> Foreign | None:
        """Return the token, or None if a client signed it itself.

        `is_svid` says that it was sent as a JWT-SVID. Raises JWT_TYP for another kind of JWT, and TRUST_SPIFFE_ID for
        a JWT-SVID without a SPIFFE ID.
        """
        issuers = trusted_token.find_issuers(unverified)
        if not issuers:
            return None
        if is_svid:
            # Attack: mix-up. Another issuer that writes SPIFFE IDs is no trust domain.
            sub = unverified.claims.get("sub")
            domain = spiffe_id.find_domain(sub)
            if domain is None:
                raise trusted_token.no_spiffe_id(sub)
            issuers = (domain,)
        trusted_token.check_typ(unverified.header)
        return cls(unverified, issuers, client_id)

    async def admit(self, federation: Federation, judging: Judging) -> Admission:
        """Return the proof that a trust and one of its rules take the token; raise Rejected if none does."""
        notes, claims = judging.notes, self.unverified.claims
        notes.issuer = self.issuers[-1]
        try:
            trust, verified = await self._find_trust(federation, judging)
        except Rejected:
            notes.claims = kept_claims.keep(claims, is_verified=False)
            raise
        try:
            token = trusted_token.verify(verified, rules=trust.token_rules, now=judging.now)
            self.check_refused(trust, token.claims)
            rule = self.choose(trust, token.claims)
        except Rejected:
            notes.claims = kept_claims.keep(claims, is_verified=True)
            notes.nearest = nearest.to_text(nearest.find(trust, claims, self.client_id))
            raise
        # Order: last, since it may wait for another server. Only a token that gets something needs it.
        feeds = judging.feeds
        parents = (await feeds.check(trust, token.claims, now=judging.now),) if trust.follows and feeds else ()
        is_old = judging.trust_keys.is_old(trust, now=judging.now)
        return Admission(trust, rule, verified, token, (Reason.JWKS_STALE.code,) if is_old else (), parents)

    async def _find_trust(self, federation: Federation, judging: Judging) -> tuple[KnownTrust, Verified]:
        trusts = [trust for issuer in self.issuers for trust in federation.find(issuer)]
        if not trusts:
            raise self.unknown()
        return await self._verify(trusts, judging)

    def unknown(self) -> Rejected:
        """Return the refusal where no trust has this issuer."""
        issuer, claims = self.issuers[-1], self.unverified.claims
        if "://" not in issuer:
            got = f"iss {issuer[:100]}, sub {str(claims.get('sub'))[:100]}"
            return Rejected(Reason.ISS_SUB, expected="iss and sub equal to the client_id", got=got)
        # Attack: an attacker chooses this text, and an operator reads it. Only a plain URL is repeated.
        named = f"a trust in {issuer}: affiant trust add" if _PLAIN.fullmatch(issuer) else "a trust: affiant trust add"
        return Rejected(Reason.TRUST_UNKNOWN, expected=named, got=issuer[:256])

    async def _verify(self, trusts: Sequence[KnownTrust], judging: Judging) -> tuple[KnownTrust, Verified]:
        """Return the one trust whose key made the signature, and the verified token."""
        enabled = [trust for trust in trusts if trust.record.enabled]
        # Attack: a disabled trust must take as long as an enabled one. Its keys are tried too, and nothing is fetched.
        searched = enabled or trusts
        try:
            found = await judging.trust_keys.verify(searched, self.unverified, now=judging.now, fetches=bool(enabled))
        except Rejected as refusal:
            if refusal.reason is not Reason.SIGNATURE:
                with suppress(Rejected):  # every failure costs a verification
                    compact.verify_any(self.unverified, stranger.dummy_keys(self.unverified.alg))
            if enabled:
                raise
        else:
            if enabled:
                return found
        raise Rejected(Reason.TRUST_DISABLED)

    async def verify_by(self, trust: KnownTrust, trust_keys: TrustKeys, *, now: float) -> Verified:
        """Return the token if a key of this trust made its signature, enabled or not."""
        return (await trust_keys.verify([trust], self.unverified, now=now))[1]

    def check_refused(self, trust: KnownTrust, claims: dict[str, Any]) -> None:
        """Raise TRUST_REFUSES for claims that the trust refuses, whatever its rules say."""
        refused = trust.find_refused(claims)
        if refused is not None:
            got = str(conditions.find(claims, refused.claim))[:100]
            raise Rejected(Reason.TRUST_REFUSES, got=f"{refused.claim} {got}", detail=f"trust {trust.name}")

    def choose(self, trust: KnownTrust, claims: dict[str, Any]) -> Rule:
        """Return the one rule whose conditions the claims meet."""
        rules = [rule for rule in trust.match(claims) if self.client_id in (None, rule.client_id)]
        if not rules:
            raise Rejected(Reason.RULE_NONE, got=f"sub {claims.get('sub')}"[:256], detail=f"trust {trust.name}")
        if len(rules) > 1:
            raise Rejected(Reason.TRUST_AMBIGUOUS, got=" and ".join(rule.path for rule in rules)[:256])
        return rules[0]


class Admission(Value, frozen=True):
    """A valid token, and the rule that names its client. Whether it was used before is not checked yet."""

    HIDDEN = frozenset({"verified"})

    trust: KnownTrust
    rule: Rule
    verified: Verified
    token: TrustedToken
    observed: tuple[str, ...] = ()  # codes of the reasons that are recorded with it
    parents: tuple[dict[str, Any], ...] = ()  # entries for `parents`: the names by which its own server revokes it

    @property
    def claim(self) -> JtiClaim | None:
        """The jti, to be claimed in the commit of the request; None where the trust takes tokens again."""
        if self.token.jti_digest is None:
            return None
        return JtiClaim(claim_owner(self.trust.name), self.token.jti_digest, self.token.live_until)

    @property
    def ceiling(self) -> Ceiling:
        """The most that the token gives."""
        return ceiling_of(self.rule, not_after=self.token.expires_at)

    @property
    def source(self) -> dict[str, Any] | None:
        """The claims that the rule copies, with their issuer; None if it copies none."""
        rule = self.rule
        if not rule.copied_claims:
            return None
        claims = self.token.claims
        copied = {name: value for name in rule.copied_claims if (value := conditions.find(claims, name)) is not None}
        source = {**copied, "iss": self.trust.record.issuer}
        if len(msgspec.json.encode(source)) > MAX_SOURCE:
            raise Rejected(Reason.RULE_COPIES, expected=f"at most {MAX_SOURCE:,} bytes", detail=rule.path)
        return source


def ceiling_of(rule: Rule, *, not_after: int | None = None) -> Ceiling:
    """Return the most that this rule gives for a token that expires at this time."""
    return Ceiling(
        layer=f"rule {rule.path}",
        scope=rule.scope or None,
        resources=rule.resources or None,
        lifetime=rule.access_token_lifetime,
        not_after=not_after,
        has_details=not rule.scope,
    )


def claim_owner(trust: str) -> str:
    """Return the owner of the jtis of a trust's tokens, in place of a client_id; no client can have this name.

    One trust cannot use up the jti of another.
    """
    return f"trust {trust}"
