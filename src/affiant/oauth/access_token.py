"""Build and verify access tokens, JWTs of RFC 9068."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, ClassVar

from affiant.errors import Rejected
from affiant.jose import compact
from affiant.jose.claims import LEEWAY, audiences, instant, media_type, text
from affiant.jose.compact import Verified
from affiant.jose.signer import AnySigner
from affiant.oauth import names
from affiant.oauth.binding import mtls
from affiant.oauth.binding.dpop import DpopProof
from affiant.oauth.binding.mtls import Certificate
from affiant.oauth.parameters import scope
from affiant.oauth.parameters.authorization_details import Details
from affiant.reasons import Reason
from affiant.values import Value


class AccessTokenClaims(Value, frozen=True, omit_defaults=True):
    """The claims of an access token (RFC 9068 section 2.2), as its JSON has them; instants in epoch seconds."""

    iss: str
    sub: str
    client_id: str
    aud: str | tuple[str, ...]
    exp: int
    iat: int
    jti: str
    scope: str = ""
    client_key: str | None = None  # the key or secret that obtained the token, which is revoked with it
    authorization_details: Details = ()  # RFC 9396 section 9.1
    cnf: dict[str, str] | None = None  # see `confirmation`


class AccessToken(Value, frozen=True):
    """An access token that is valid for this audience now."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"claims"})

    client_id: str
    sub: str
    jti: str
    scopes: frozenset[str]
    expires_at: float
    claims: dict[str, Any]


def confirmation(proof: DpopProof | None, certificate: Certificate | None) -> dict[str, str] | None:
    """Return the claim `cnf` of a token that is bound to these (RFC 9449 section 6.1, RFC 8705 section 3.1)."""
    key = {"jkt": proof.jkt} if proof is not None else {}
    return key | ({mtls.CONFIRMATION: certificate.thumbprint} if certificate is not None else {}) or None


def build(claims: AccessTokenClaims, signer: AnySigner, *, typ: str = names.ACCESS_TOKEN_TYP) -> Awaitable[str]:
    """Sign with a key that may be in a device or service. `typ` is another one only for an API that has chosen it."""
    return compact.sign_with(typ, claims, signer)


class JudgedToken(Value, frozen=True):
    """An access token of this issuer for this audience, with all its claims. It may be expired, and may be bound.

    Its times and its binding are judged with each request: `admit` and `admit_bound`.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"token"})

    token: AccessToken
    issued_at: float
    not_before: float | None
    is_bound: bool  # it has a `cnf`
    jkt: str | None  # the thumbprint of the key that it is bound to
    certificate: str | None  # that of the certificate


class BoundToken(Value, frozen=True):
    """A token that is valid only for the owner of the key with this thumbprint: not an AccessToken yet.

    If it is bound to a certificate as well, that was there.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"token"})

    token: AccessToken
    jkt: str


class Expected(Value, frozen=True):
    """The values that a token is checked against."""

    issuer: str
    audience: str  # the identifier of the API
    now: float
    leeway: int = LEEWAY  # seconds
    certificate: Certificate | None = None  # that the request came with


def verify(verified: Verified, expected: Expected) -> AccessToken:
    """Return an access token that was presented without a proof, if it is valid (RFC 9068 section 4)."""
    return admit(judge(verified, issuer=expected.issuer, audience=expected.audience), expected)


def verify_bound(verified: Verified, expected: Expected) -> BoundToken:
    """Return an access token that was presented with the scheme DPoP, if it is valid and bound to a key."""
    return admit_bound(judge(verified, issuer=expected.issuer, audience=expected.audience), expected)


def judge(verified: Verified, *, issuer: str, audience: str) -> JudgedToken:
    """Judge what no time changes: type, issuer, audience, and the form of the claims."""
    claims = verified.claims
    if media_type(verified.header.get("typ")) != names.ACCESS_TOKEN_TYP:
        raise Rejected(Reason.TOKEN_TYPE, expected=names.ACCESS_TOKEN_TYP)
    if claims.get("iss") != issuer:
        raise Rejected(Reason.TOKEN_ISSUER, expected=issuer)
    if audience not in audiences(claims):
        raise Rejected(Reason.TOKEN_AUDIENCE, expected=audience)
    expires_at, issued_at, not_before = _times(claims)
    jkt, certificate = _confirmation(claims)
    return JudgedToken(
        _token(claims, expires_at),
        issued_at=issued_at,
        not_before=not_before,
        is_bound="cnf" in claims,
        jkt=jkt,
        certificate=certificate,
    )


def admit(judged: JudgedToken, expected: Expected) -> AccessToken:
    """Return a token that was presented without a proof, if it is valid now and bound to no key."""
    _check_times(judged, expected.now, expected.leeway)
    _check_certificate(judged, expected.certificate)
    # Attack (RFC 9449 section 7.2): a stolen token is presented without the proof of the key that it is bound to.
    if judged.jkt is not None:
        raise Rejected(Reason.TOKEN_BINDING)
    return judged.token


def admit_bound(judged: JudgedToken, expected: Expected) -> BoundToken:
    """Return a token that was presented with the scheme DPoP, if it is valid now and bound to a key."""
    _check_times(judged, expected.now, expected.leeway)
    if not judged.is_bound:
        raise Rejected(Reason.TOKEN_UNBOUND)
    _check_certificate(judged, expected.certificate)
    if judged.jkt is None:
        raise Rejected(Reason.TOKEN_BINDING, detail="bound to a certificate, but presented with the scheme DPoP")
    return BoundToken(judged.token, judged.jkt)


def release(bound: BoundToken, proof: DpopProof) -> AccessToken:
    """Return the token if the proof is of the key that it is bound to (RFC 9449 section 4.3 item 12)."""
    if proof.jkt != bound.jkt:
        raise Rejected(Reason.TOKEN_BINDING)
    return bound.token


def _confirmation(claims: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the thumbprints of the key and of the certificate that the token is bound to."""
    if "cnf" not in claims:
        return None, None
    cnf = claims["cnf"]
    # A confirmation of an unknown kind cannot be proved: reject the token.
    if not isinstance(cnf, dict) or not cnf or not cnf.keys() <= {"jkt", mtls.CONFIRMATION}:
        raise Rejected(Reason.TOKEN_BINDING)
    found = {name: text(cnf, name) for name in cnf}
    if None in found.values():
        raise Rejected(Reason.TOKEN_BINDING)
    return found.get("jkt"), found.get(mtls.CONFIRMATION)


def _check_certificate(judged: JudgedToken, certificate: Certificate | None) -> None:
    """Compare the certificate of the request with that of the token (RFC 8705 section 3)."""
    if judged.certificate is None:
        return
    shown = certificate.thumbprint if certificate is not None else None
    if judged.certificate != shown:
        raise Rejected(Reason.TOKEN_BINDING, detail="no certificate" if shown is None else "another certificate")


def _token(claims: dict[str, Any], expires_at: float) -> AccessToken:
    return AccessToken(
        client_id=_required(claims, "client_id"),
        sub=_required(claims, "sub"),
        jti=_required(claims, "jti"),
        scopes=_scopes(claims.get("scope")),
        expires_at=expires_at,
        claims=claims,
    )


def _times(claims: dict[str, Any]) -> tuple[float, float, float | None]:
    try:
        exp, iat, nbf = instant(claims, "exp"), instant(claims, "iat"), instant(claims, "nbf")
    except ValueError as error:
        raise Rejected(Reason.TOKEN_CLAIM, detail=f"{error} is not a number") from None
    if exp is None or iat is None:
        raise Rejected(Reason.TOKEN_CLAIM, detail="exp or iat is missing")
    return exp, iat, nbf


def _check_times(judged: JudgedToken, now: float, leeway: int) -> None:
    exp, iat, nbf = judged.token.expires_at, judged.issued_at, judged.not_before
    if exp + leeway <= now:
        raise Rejected(Reason.TOKEN_EXPIRED, detail=f"it expired {now - exp:.0f} s ago by this clock")
    if iat > now + leeway:
        # Its issuer made it before it came: the clocks differ by at least this.
        raise Rejected(
            Reason.TOKEN_NOT_YET_VALID, detail=f"this clock is {iat - now:.0f} s or more behind the issuer's"
        )
    if nbf is not None and nbf > now + leeway:
        raise Rejected(Reason.TOKEN_NOT_YET_VALID, detail=f"it begins in {nbf - now:.0f} s by this clock")


def _required(claims: dict[str, Any], name: str) -> str:
    value = text(claims, name)
    if value is None:
        raise Rejected(Reason.TOKEN_CLAIM, detail=f"{name} is missing or not a string")
    return value


def _scopes(value: object) -> frozenset[str]:
    if value is None:
        return frozenset()
    try:
        if isinstance(value, str):
            return frozenset(scope.parse(value))
    except ValueError:
        pass
    raise Rejected(Reason.TOKEN_CLAIM, detail="scope is not a scope")
