"""Judge a platform's token by every check at once: keys, claims, the refusals of the trust, and each rule."""

from __future__ import annotations

from typing import NamedTuple

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth.federation import trusted_token
from affiant.server.client_auth.admission import Foreign
from affiant.server.explain.federation.presented import Presented
from affiant.server.registry.federation import claims as kept_claims
from affiant.server.registry.federation import nearest
from affiant.server.registry.federation.keys import TrustKeys
from affiant.server.registry.federation.known import Federation, KnownTrust

MAX_RULES = 20  # that are shown, the nearest first


class Trial(NamedTuple):
    """The token, and every reason to refuse it; the first is the one that the caller would get."""

    presented: Presented
    refusals: list[Rejected]


async def judge(
    token: Foreign, federation: Federation, keys: TrustKeys, *, now: float, trust: str | None = None
) -> Trial:
    """Judge a token by the trust of this name, or by the trusts of its issuer. Nothing is stored or used up."""
    claims = token.unverified.claims
    presented = Presented(
        token.issuers[-1],
        dict(kept_claims.walk(claims)),
        federation,
        of_person=kept_claims.is_of_person(claims),
        by_name=trust is not None,
    )
    refusals: list[Rejected] = []
    known = [one for issuer in token.issuers for one in federation.find(issuer)]
    if trust is not None:
        named = [one for one in federation.trusts if one.name == trust]
        if not any(one.name == trust for one in known):
            refusals.append(_of_other_issuer(trust, named, presented.issuer))
        known = named
    elif not known:
        refusals.append(token.unknown())
    if known:
        refusals += await _judge(token, presented, known, keys, now)
    return Trial(presented, refusals)


def _of_other_issuer(name: str, named: list[KnownTrust], issuer: str) -> Rejected:
    expected = " or ".join(trust.record.issuer for trust in named) or f"a trust named {name[:64]}"
    return Rejected(Reason.TRUST_UNKNOWN, expected=expected, got=issuer[:256], detail=f"trust {name[:64]}")


async def _judge(
    token: Foreign, presented: Presented, trusts: list[KnownTrust], keys: TrustKeys, now: float
) -> list[Rejected]:
    """Judge by the trust whose key made the signature, or else by the first one."""
    refusals: list[Rejected] = []
    verified: list[KnownTrust] = []
    for trust in trusts:
        try:
            await token.verify_by(trust, keys, now=now)
        except Rejected as refusal:
            refusals.append(refusal)
        else:
            verified.append(trust)
    enabled = [trust for trust in verified if trust.record.enabled] or verified
    if verified:
        refusals = []
    if len(enabled) > 1:
        refusals = [Rejected(Reason.TRUST_AMBIGUOUS, got=" and ".join(trust.name for trust in enabled))]
    trust = (enabled or trusts)[0]
    presented.trust, presented.is_verified = trust, bool(verified)
    if not trust.record.enabled:
        refusals.insert(0, Rejected(Reason.TRUST_DISABLED, detail=f"trust {trust.name}"))
    return [*refusals[:1], *_judge_claims(token, presented, trust, now)]


def _judge_claims(token: Foreign, presented: Presented, trust: KnownTrust, now: float) -> list[Rejected]:
    header, claims = token.unverified.header, token.unverified.claims
    found = trusted_token.breaches(header, claims, rules=trust.token_rules, now=now)
    presented.rules = tuple(nearest.rank(trust, claims, token.client_id)[:MAX_RULES])
    presented.nearest = nearest.find(trust, claims, token.client_id)
    try:
        token.check_refused(trust, claims)
    except Rejected as refusal:
        found.append(refusal)
    try:
        presented.chosen = token.choose(trust, claims)
    except Rejected as refusal:
        found.append(refusal)
    return found
