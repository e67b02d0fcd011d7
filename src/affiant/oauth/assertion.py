"""Build and verify client assertions (RFC 7521, RFC 7523, draft-ietf-oauth-rfc7523bis)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.jose.claims import LEEWAY, instant, media_type, text
from affiant.jose.compact import Unverified, Verified
from affiant.jose.signer import Signer
from affiant.oauth import names
from affiant.system.values import Value

MAX_LIFETIME = 300  # seconds from now to exp, and from iat to now
LIFETIMES = {"short": 60, "strict": MAX_LIFETIME, "legacy": 3600}  # 3600 is the default of Authlib
MAX_IDENTIFIER = 256  # characters of jti, and of a label
# For every client: the assertion is parsed before its client is known. A chain of certificates in x5c takes 10,000.
MAX_CHARACTERS = 16_384

# The policies of each rule, the default first. Only ``legacy`` is looser than the default.
POLICIES = {
    "audience": ("strict", "string", "legacy"),
    "typ": ("strict", "explicit"),
    "lifetime": ("strict", "short", "legacy"),
    "jti": ("strict", "legacy"),
    "subject": ("strict", "legacy"),
}
RULES = tuple(POLICIES)
_TYPES = frozenset({"jwt", names.CLIENT_ASSERTION_TYP})


@dataclass(frozen=True, slots=True)
class Rules:
    """A server's rules for an assertion."""

    issuer: str
    token_endpoint: str  # accepted as audience under the policy ``legacy`` only
    # ``string`` is for FAPI 2.0; ``legacy`` also accepts the endpoint, a slash at the end, and both values.
    audience: str = "strict"
    typ: str = "strict"  # ``explicit``: client-authentication+jwt only
    lifetime: str = "strict"  # a key of LIFETIMES
    jti: str = "strict"  # ``legacy``: the hash of the whole JWS replaces a missing or unusable jti
    subject: str = "strict"  # ``legacy``: a missing sub is the same as iss
    # Rules whose breaches are recorded but accepted, as far as the loosest policy of the rule accepts them. An audience
    # of another server, and an expired assertion, are still rejected.
    observe: frozenset[str] = frozenset()
    # When the server lost its memory of used jtis: assertions from before are rejected until they have expired.
    made_after: int | None = None


class ClientAssertion(Value, frozen=True):
    """A valid assertion. Whether it was used before is not checked yet."""

    client_id: str
    jti_digest: bytes  # see `digest`
    live_until: int  # the second after which it can no longer be accepted
    label: str | None = None  # a `sub` that is not the client_id (guide profile), for the log only
    observed: tuple[Reason, ...] = ()  # for which stricter rules would have rejected it


def build(
    client_id: str,
    *,
    issuer: str,
    signer: Signer,
    now: float,
    lifetime: int = 60,
    jti: str | None = None,
    header: Mapping[str, Any] | None = None,
    claims: Mapping[str, Any] | None = None,
) -> str:
    """Return a new assertion for this issuer; with a random jti of 128 bits if none is given.

    `header` and `claims` add or replace members; a None leaves one out.
    """
    usual = {
        "iss": client_id,
        "sub": client_id,
        "aud": issuer,
        "iat": int(now),
        "exp": int(now) + lifetime,
        "jti": jti or secrets.token_urlsafe(16),
    }
    return compact.sign(_with({"typ": names.CLIENT_ASSERTION_TYP}, header), _with(usual, claims), signer)


def _with(members: dict[str, Any], more: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in {**members, **more}.items() if value is not None} if more else members


def parse(text: str) -> Unverified:
    """Take an assertion apart (step 3). Embedded keys such as x5c are never used."""
    return compact.parse(text, limit=MAX_CHARACTERS)


def check_names(unverified: Unverified, *, client_id: str | None, free_subject: bool = False) -> str:
    """Return the client_id that the assertion names (step 4). Nothing of it is verified yet."""
    if "typ" in unverified.header and media_type(unverified.header["typ"]) not in _TYPES:
        raise Rejected(
            Reason.JWT_TYP, expected=f"JWT or {names.CLIENT_ASSERTION_TYP}", got=_brief(unverified.header["typ"])
        )
    iss, sub = text(unverified.claims, "iss"), text(unverified.claims, "sub")
    # RFC 7523 section 3 items 1 and 2B: both are the client_id. Order: a missing sub is judged after the signature, by
    # the client's policy: an earlier answer would reveal which clients exist, and their policies.
    if "sub" not in unverified.claims and not free_subject:
        sub = iss
    if iss is None or sub is None or (iss != sub and not free_subject):
        got = f"iss {_brief(unverified.claims.get('iss'))}, sub {_brief(unverified.claims.get('sub'))}"
        raise Rejected(Reason.ISS_SUB, expected="iss and sub equal to the client_id", got=got)
    if client_id is not None and client_id != iss:
        raise Rejected(Reason.CLIENT_ID, got=f"{_brief(client_id)} but iss {_brief(iss)}")
    return iss


def verify(verified: Verified, *, rules: Rules, now: float, whole: bytes) -> ClientAssertion:
    """Check the claims of an assertion with a valid signature (steps 8 to 10)."""
    claims = verified.claims
    observed = [
        *check_subject(claims, rules),
        *check_typ(verified.header, rules),
        *check_audience(claims, rules),
        *check_times(claims, rules, now),
        *check_jti(claims, rules),
    ]
    jti, iss = text(claims, "jti", longest=MAX_IDENTIFIER), str(claims["iss"])
    sub = str(claims.get("sub", iss))
    return ClientAssertion(
        client_id=iss,
        jti_digest=digest(jti, whole=whole if jti is not None else compact.canonical(verified, whole)),
        # It is rejected from exp + LEEWAY on. The margin keeps its jti longer than that, however times are rounded.
        live_until=int(claims["exp"]) + 2 * LEEWAY,
        label=sub if sub != iss else None,
        observed=tuple(observed),
    )


def digest(jti: str | None, *, whole: bytes) -> bytes:
    """Return the 32 bytes by which a jti is remembered: SHA-256 of the jti, or of the whole JWS if there is none."""
    # Attack: a jti is chosen so that it has the hash of a JWS. The prefixes differ.
    return sha256(b"jti:" + jti.encode() if jti is not None else b"jws:" + whole).digest()


def check_subject(claims: dict[str, Any], rules: Rules) -> list[Reason]:
    """Reject an assertion without sub (RFC 7523 section 3 item 2), unless the policy allows it."""
    if "sub" in claims:
        return []
    if rules.subject != "legacy" and "subject" not in rules.observe:
        raise Rejected(Reason.ISS_SUB, expected="sub equal to iss", got="no sub")
    return [Reason.ISS_SUB]


def check_typ(header: dict[str, Any], rules: Rules) -> list[Reason]:
    """Step 8: reject an assertion without explicit typing, if the policy wants it (RFC 8725 section 3.11)."""
    if rules.typ != "explicit" or media_type(header.get("typ")) == names.CLIENT_ASSERTION_TYP:
        return []
    if "typ" not in rules.observe:
        raise Rejected(Reason.TYP_EXPLICIT, expected=names.CLIENT_ASSERTION_TYP, got=_brief(header.get("typ")))
    return [Reason.TYP_EXPLICIT]


def check_audience(claims: dict[str, Any], rules: Rules) -> list[Reason]:
    """Step 8: the issuer identifier must be the only audience, by simple string comparison (rfc7523bis section 4)."""
    aud = claims.get("aud")
    alone = aud[0] if isinstance(aud, list) and len(aud) == 1 else aud
    strict = alone == rules.issuer and (aud is alone or rules.audience != "string")
    if strict:
        return []
    known = (rules.issuer, rules.token_endpoint)
    # Attack: an assertion for another server is sent to this one. No policy and no observation accepts it.
    if not ((rules.audience == "legacy" or "audience" in rules.observe) and _names_us(aud, known)):
        expected = " or ".join(known if rules.audience == "legacy" else known[:1])
        raise Rejected(Reason.AUDIENCE, expected=expected, got=_brief(aud))
    return [Reason.AUDIENCE]


def _names_us(aud: object, known: tuple[str, ...]) -> bool:
    values = aud if isinstance(aud, list) else [aud]
    return all(isinstance(value, str) and value.removesuffix("/") in known for value in values) and bool(values)


def check_times(claims: dict[str, Any], rules: Rules, now: float) -> list[Reason]:
    """Step 9: exp, nbf and iat (RFC 7523 section 3, RFC 7519 section 4.1)."""
    exp = check_exp(claims, now)
    try:
        nbf, iat = instant(claims, "nbf"), instant(claims, "iat")
    except ValueError as error:
        raise Rejected(Reason.TIME_CLAIM, expected="seconds since 1970", got=f"{error} is not a number") from None
    if rules.made_after is not None:
        check_made_after(iat, rules.made_after, now, longest=LIFETIMES["legacy"])
    # Order: before the lifetime. If the clock is far ahead, iat explains more than exp.
    if nbf is not None:
        check_begins("nbf", nbf, Reason.NOT_YET, exp, now)
    if iat is not None:
        check_begins("iat", iat, Reason.IAT_FUTURE, exp, now)
    observed: list[Reason] = []
    usual = min(LIFETIMES[rules.lifetime], MAX_LIFETIME) + LEEWAY
    if exp - now > usual:
        observed += _check_life(Reason.LIFETIME, exp - now, "exp at most {} s ahead", "{} s ahead", rules)
    if iat is not None and now - iat > usual:
        observed += _check_life(Reason.IAT_OLD, now - iat, "iat at most {} s ago", "{} s ago", rules)
    return observed


def check_exp(claims: dict[str, Any], now: float) -> float:
    """Return `exp`, or reject an assertion without it or after it."""
    try:
        exp = instant(claims, "exp")
    except ValueError:
        exp = None
    if exp is None:
        raise Rejected(Reason.EXP_MISSING, expected="seconds since 1970", got=_brief(claims.get("exp")))
    if exp + LEEWAY <= now:
        raise Rejected(Reason.EXPIRED, expected=f"exp after {int(now)}", got=f"exp {int(exp)}, {int(now - exp)} s ago")
    return exp


def check_begins(name: str, begins: float, reason: Reason, exp: float, now: float) -> None:
    """Reject an assertion whose `nbf` or `iat` is in the future, or after its `exp`."""
    if begins > now + LEEWAY:
        raise Rejected(reason, expected=f"{name} at most {LEEWAY} s ahead", got=f"{int(begins - now)} s ahead")
    if begins > exp:
        raise Rejected(Reason.TIME_CLAIM, expected=f"{name} not after exp", got=f"{int(begins - exp)} s after")


def check_made_after(iat: float | None, made_after: int, now: float, *, longest: int) -> None:
    """Reject what was made before the server lost its memory, until all of that has expired."""
    if now > made_after + longest + 2 * LEEWAY:
        return
    # The client's clock may have been ahead of the server's.
    first = made_after + LEEWAY
    if iat is None or iat <= first:
        got = "nothing" if iat is None else f"iat {int(iat)}"
        raise Rejected(Reason.BEFORE_RESTORE, expected=f"iat after {first}", got=got)


def _check_life(reason: Reason, seconds: float, expected: str, got: str, rules: Rules) -> list[Reason]:
    """Judge a life that is longer than the usual one."""
    allowed = LIFETIMES[rules.lifetime]
    longest = LIFETIMES["legacy"] if "lifetime" in rules.observe else allowed
    if seconds > longest + LEEWAY:
        raise Rejected(reason, expected=expected.format(allowed), got=got.format(int(seconds)))
    return [reason]


def check_jti(claims: dict[str, Any], rules: Rules) -> list[Reason]:
    """Step 10: a jti that can be remembered (RFC 7523 section 3 item 7)."""
    if text(claims, "jti", longest=MAX_IDENTIFIER) is not None:
        return []
    if "jti" not in rules.observe and rules.jti != "legacy":
        raise Rejected(Reason.JTI, expected="a string of 1 to 256 characters", got=_brief(claims.get("jti")))
    return [Reason.JTI]


def _brief(value: object) -> str:
    return "nothing" if value is None else str(value)[:100]
