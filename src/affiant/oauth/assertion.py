"""The client assertion: build it and judge it, side by side (RFC 7521, RFC 7523, draft-ietf-oauth-rfc7523bis)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from affiant.errors import Rejected
from affiant.jose import compact
from affiant.oauth import names
from affiant.oauth.claims import instant, media_type, text
from affiant.reasons import Reason

if TYPE_CHECKING:
    from affiant.jose.compact import Unverified, Verified
    from affiant.jose.signer import Signer

LEEWAY = 30  # seconds that the two clocks may differ
MAX_LIFETIME = 300  # seconds from now to exp, and from iat to now
MAX_IDENTIFIER = 256  # characters of jti, and of a label

AudiencePolicy = Literal["strict", "string", "legacy"]
_TYPES = frozenset({"jwt", names.CLIENT_ASSERTION_TYP})


@dataclass(frozen=True, slots=True)
class Rules:
    """What a server demands of an assertion.

    Attributes:
        issuer: the server's issuer identifier.
        token_endpoint: accepted as audience under the policy ``legacy`` only.
        audience_policy: ``strict`` (string or array of one), ``string`` (FAPI 2.0), ``legacy`` (endpoint as well).
        needs_jti: False lets the hash of the whole JWS stand for a missing jti.
    """

    issuer: str
    token_endpoint: str
    audience_policy: str = "strict"
    needs_jti: bool = True


@dataclass(frozen=True, slots=True)
class ClientAssertion:
    """A client's sworn statement that held in every respect but one: whether it was used before.

    Attributes:
        client_id: who swore.
        jti_digest: SHA-256 of the jti, 32 bytes.
        live_until: the second after which it can no longer be accepted.
        label: a `sub` that is not the client_id (guide profile), for the log only.
    """

    client_id: str
    jti_digest: bytes
    live_until: int
    label: str | None = None


def build(
    client_id: str, *, issuer: str, signer: Signer, now: float, lifetime: int = 60, jti: str | None = None
) -> str:
    """A client assertion that names the issuer as its only audience.

    Args:
        client_id: becomes iss and sub.
        issuer: the validated issuer of the server; never an endpoint (rfc7523bis section 4).
        signer: the client's key.
        now: seconds since the epoch.
        lifetime: seconds until exp.
        jti: a value never used before; random (128 bits) when left out.
    """
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": issuer,
        "iat": int(now),
        "exp": int(now) + lifetime,
        "jti": jti or secrets.token_urlsafe(16),
    }
    return compact.sign({"typ": names.CLIENT_ASSERTION_TYP}, claims, signer)


def check_names(unverified: Unverified, *, client_id: str | None, free_subject: bool = False) -> str:
    """The client that the assertion names (rung 4). Nothing of it is proved yet.

    Args:
        unverified: the assertion.
        client_id: the parameter of the request, if it was sent.
        free_subject: the guide profile, where sub may be any label.

    Raises:
        Rejected: JWT_TYP, ISS_SUB or CLIENT_ID.
    """
    if "typ" in unverified.header and media_type(unverified.header["typ"]) not in _TYPES:
        raise Rejected(
            Reason.JWT_TYP, expected=f"JWT or {names.CLIENT_ASSERTION_TYP}", got=_shown(unverified.header["typ"])
        )
    iss, sub = text(unverified.claims, "iss"), text(unverified.claims, "sub")
    # RFC 7523 section 3 items 1 and 2B: both are the client_id.
    if iss is None or sub is None or (iss != sub and not free_subject):
        got = f"iss {_shown(unverified.claims.get('iss'))}, sub {_shown(unverified.claims.get('sub'))}"
        raise Rejected(Reason.ISS_SUB, expected="iss and sub equal to the client_id", got=got)
    if client_id is not None and client_id != iss:
        raise Rejected(Reason.CLIENT_ID, expected=_shown(iss), got=_shown(client_id))
    return iss


def verify(verified: Verified, *, rules: Rules, now: float, whole: bytes) -> ClientAssertion:
    """Judge the claims of an assertion whose signature held (rungs 8 to 10).

    Args:
        verified: the proof that the signature held.
        rules: what this server demands of this client.
        now: seconds since the epoch.
        whole: the whole JWS, whose hash stands for a missing jti where the rules allow it.

    Raises:
        Rejected: AUDIENCE, or a reason of time, or JTI.
    """
    claims = verified.claims
    _check_audience(claims, rules)
    exp = _check_times(claims, now)
    jti = text(claims, "jti", longest=MAX_IDENTIFIER)
    if jti is None and ("jti" in claims or rules.needs_jti):
        raise Rejected(Reason.JTI, expected="a string of 1 to 256 characters", got=_shown(claims.get("jti")))
    iss, sub = str(claims["iss"]), str(claims["sub"])
    return ClientAssertion(
        client_id=iss,
        # The prefix keeps a hash of a JWS apart from any jti that somebody chooses.
        jti_digest=sha256(b"jti:" + jti.encode() if jti is not None else b"jws:" + whole).digest(),
        # It is refused from exp + LEEWAY on; the margin keeps its jti beyond that second on every rounding.
        live_until=int(exp) + 2 * LEEWAY,
        label=sub if sub != iss else None,
    )


def _check_audience(claims: dict[str, Any], rules: Rules) -> None:
    # rfc7523bis section 4: the issuer identifier as the sole value, by simple string comparison.
    aud = claims.get("aud")
    allowed = (rules.issuer, rules.token_endpoint) if rules.audience_policy == "legacy" else (rules.issuer,)
    alone = aud[0] if rules.audience_policy != "string" and isinstance(aud, list) and len(aud) == 1 else aud
    if not isinstance(alone, str) or alone not in allowed:
        raise Rejected(Reason.AUDIENCE, expected=" or ".join(allowed), got=_shown(aud))


def _check_times(claims: dict[str, Any], now: float) -> float:
    try:
        exp = instant(claims, "exp")
    except ValueError:
        exp = None
    if exp is None:
        raise Rejected(Reason.EXP_MISSING, expected="seconds since 1970", got=_shown(claims.get("exp")))
    if exp + LEEWAY <= now:
        raise Rejected(Reason.EXPIRED, expected=f"exp after {int(now)}", got=f"exp {int(exp)}, {int(now - exp)} s ago")
    if exp > now + MAX_LIFETIME + LEEWAY:
        raise Rejected(Reason.LIFETIME, expected=f"exp at most {MAX_LIFETIME} s ahead", got=f"{int(exp - now)} s ahead")
    try:
        nbf, iat = instant(claims, "nbf"), instant(claims, "iat")
    except ValueError as error:
        raise Rejected(Reason.TIME_CLAIM, expected="seconds since 1970", got=f"{error} is not a number") from None
    if nbf is not None and nbf > now + LEEWAY:
        raise Rejected(Reason.NOT_YET, expected=f"nbf at most {LEEWAY} s ahead", got=f"{int(nbf - now)} s ahead")
    if iat is not None:
        _check_issued_at(iat, now)
    return exp


def _check_issued_at(iat: float, now: float) -> None:
    if iat > now + LEEWAY:
        raise Rejected(Reason.IAT_FUTURE, expected=f"iat at most {LEEWAY} s ahead", got=f"{int(iat - now)} s ahead")
    if iat < now - MAX_LIFETIME - LEEWAY:
        raise Rejected(Reason.IAT_OLD, expected=f"iat at most {MAX_LIFETIME} s ago", got=f"{int(now - iat)} s ago")


def _shown(value: object) -> str:
    """What came, short enough for a sentence."""
    return "nothing" if value is None else str(value)[:100]
