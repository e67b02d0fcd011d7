"""Judge a verified token of a trusted issuer (RFC 7523 section 3), such as the identity token of a job or a pod."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose.claims import LEEWAY, audiences, instant, media_type, text
from affiant.jose.compact import Unverified, Verified
from affiant.oauth import assertion
from affiant.oauth.federation import spiffe_id
from affiant.system.values import Value

MAX_LIFETIME = 90_000  # seconds from iat to exp that a trust can allow: a day and an hour
DEFAULT_LIFETIME = 3600
ONCE, IF_PRESENT, REUSED = "once", "if-present", "reused"
# once: each token has a jti, and is taken once. if-present: a token with a jti is taken once, one without it as often
# as it comes. reused: so is every token, for platforms that hand out one token until it expires.
REPLAYS = (ONCE, IF_PRESENT, REUSED)
_MAX_JTI = 1024
_MAX_SUB = 2048
# RFC 8725 section 3.11. JOSE is what SPIFFE allows (JWT-SVID section 2.2).
_TYPES = frozenset({"jwt", "jose"})


@dataclass(frozen=True, slots=True)
class TokenRules:
    """The rules of a trust for its tokens."""

    issuer: str  # a SPIFFE trust domain is written as spiffe://DOMAIN
    audiences: tuple[str, ...]  # one of these must be its aud
    several_audiences: bool = False  # whether aud may have other values too
    max_lifetime: int = DEFAULT_LIFETIME  # seconds from iat to exp
    replay: str = ONCE
    made_after: int | None = None  # when the server lost its memory of used tokens


class TrustedToken(Value, frozen=True):
    """A valid token of a trusted issuer. Whether it was used before is not checked yet."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"claims"})

    claims: dict[str, Any]
    subject: str
    expires_at: int  # no token that is issued for it lives longer
    live_until: int  # the second after which it can no longer be accepted
    jti_digest: bytes | None  # None: it may be used again

    @property
    def audience(self) -> tuple[str, ...]:
        return audiences(self.claims)


def find_issuers(unverified: Unverified) -> tuple[str, ...]:
    """Return the issuers that may have made a token; none if iss and sub are equal: a client signed it itself.

    The issuer of a SPIFFE ID is its trust domain: a JWT-SVID needs no iss (JWT-SVID section 3). Raises TRUST_SPIFFE_ID
    for a sub that only looks like one.
    """
    iss = unverified.claims.get("iss")
    if iss == unverified.claims.get("sub"):  # each request of a client with a key comes here
        return ()
    sub = text(unverified.claims, "sub", longest=_MAX_SUB)
    if sub is None:
        return ()
    domain = spiffe_id.find_domain(sub)
    if not isinstance(iss, str) or iss == domain:
        iss = None
    # Attack: the authority of one trust domain, named in iss, signs for a workload of another, or for none.
    if (domain is None and spiffe_id.is_domain(sub)) or (iss is not None and spiffe_id.is_domain(iss)):
        raise no_spiffe_id(sub)
    return tuple(issuer for issuer in (domain, iss) if issuer is not None)


def no_spiffe_id(sub: object) -> Rejected:
    """Return the refusal of a JWT-SVID whose sub is no SPIFFE ID."""
    return Rejected(Reason.TRUST_SPIFFE_ID, expected="sub spiffe://DOMAIN/PATH", got=str(sub)[:256])


def verify(verified: Verified, *, rules: TokenRules, now: float) -> TrustedToken:
    """Return the token if its claims are valid for this server now; raise Rejected with a reason of steps 4 to 10."""
    claims = verified.claims
    check_typ(verified.header)
    if "events" in claims:
        # Attack: a logout token (OpenID Connect Back-Channel Logout 2.4) has iss, sub, aud and jti as well.
        raise Rejected(Reason.JWT_TYP, expected="a token that identifies a workload", got="events (RFC 8417)")
    _check_audience(claims, rules)
    expires_at = _check_times(claims, rules, now)
    return TrustedToken(
        claims=claims,
        subject=claims["sub"],  # a text: see find_issuers
        expires_at=int(expires_at),
        live_until=int(expires_at) + 2 * LEEWAY,
        jti_digest=_digest(claims, rules),
    )


def breaches(header: dict[str, Any], claims: dict[str, Any], *, rules: TokenRules, now: float) -> list[Rejected]:
    """Return the refusal of every step of `verify` that these parts of a token would not pass."""
    steps: tuple[Callable[[], object], ...] = (
        lambda: check_typ(header),
        lambda: _check_audience(claims, rules),
        lambda: _check_times(claims, rules, now),
        lambda: _digest(claims, rules),
    )
    found = []
    for step in steps:
        try:
            step()
        except Rejected as refusal:
            found.append(refusal)
    return found


def check_typ(header: dict[str, Any]) -> None:
    """Reject other kinds of JWT, such as access tokens and proofs (RFC 8725 section 3.11)."""
    if "typ" in header and media_type(header["typ"]) not in _TYPES:
        raise Rejected(Reason.JWT_TYP, expected="JWT, or no typ", got=str(header["typ"])[:100])


def _check_audience(claims: dict[str, Any], rules: TokenRules) -> None:
    aud = claims.get("aud")
    values = aud if isinstance(aud, list) else [aud]
    is_named = any(isinstance(value, str) and value in rules.audiences for value in values)
    # Attack: another recipient of a token with several audiences sends it on to this server.
    if not is_named or (len(values) > 1 and not rules.several_audiences):
        raise Rejected(Reason.TRUST_AUDIENCE, expected=" or ".join(rules.audiences), got=str(aud)[:200])


def _check_times(claims: dict[str, Any], rules: TokenRules, now: float) -> float:
    exp = assertion.check_exp(claims, now)
    try:
        nbf, iat = instant(claims, "nbf"), instant(claims, "iat")
    except ValueError as error:
        raise Rejected(Reason.TIME_CLAIM, expected="seconds since 1970", got=f"{error} is not a number") from None
    if iat is not None:
        assertion.check_begins("iat", iat, Reason.IAT_FUTURE, exp, now)
    if nbf is not None:
        assertion.check_begins("nbf", nbf, Reason.NOT_YET, exp, now)
    if rules.made_after is not None and rules.replay != REUSED:
        assertion.check_made_after(iat, rules.made_after, now, longest=rules.max_lifetime)
    # Without iat and nbf its life began by now at the latest.
    begin = iat if iat is not None else nbf if nbf is not None else now
    if exp - begin > rules.max_lifetime + LEEWAY:
        got = f"{int(exp - begin)} s from {'iat' if iat is not None else 'nbf' if nbf is not None else 'now'} to exp"
        raise Rejected(Reason.TRUST_LIFETIME, expected=f"at most {rules.max_lifetime} s", got=got)
    return exp


def _digest(claims: dict[str, Any], rules: TokenRules) -> bytes | None:
    if rules.replay == REUSED:
        return None
    jti = text(claims, "jti", longest=_MAX_JTI)
    if jti is not None:
        return assertion.digest(jti, whole=b"")
    if rules.replay == ONCE or "jti" in claims:
        raise Rejected(Reason.JTI, expected=f"a string of 1 to {_MAX_JTI:,} characters")
    return None
