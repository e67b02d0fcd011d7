"""The access token: a JWT of RFC 9068, built and verified side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from affiant.errors import Rejected
from affiant.jose import compact
from affiant.oauth import names, scope
from affiant.oauth.claims import instant, media_type, text
from affiant.reasons import Reason
from affiant.values import Value

if TYPE_CHECKING:
    from affiant.jose.compact import Verified
    from affiant.jose.signer import Signer
    from affiant.oauth.dpop import DpopProof


class AccessTokenClaims(Value, frozen=True):
    """What an access token says (RFC 9068 section 2.2); instants in seconds since the epoch.

    Attributes:
        jkt: the thumbprint of the key that it is bound to (RFC 9449 section 6.1).
        client_key: of the client's key that obtained it: its thumbprint (RFC 7638), or the name of its secret. With the
            key, the token is revoked.
    """

    iss: str
    sub: str
    client_id: str
    aud: str | tuple[str, ...]
    exp: int
    iat: int
    jti: str
    scope: str | None = None
    jkt: str | None = None
    client_key: str | None = None


class AccessToken(Value, frozen=True):
    """An access token that holds for this audience at this time."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"claims"})

    client_id: str
    sub: str
    jti: str
    scopes: frozenset[str]
    expires_at: float
    claims: dict[str, Any]


def build(claims: AccessTokenClaims, signer: Signer) -> str:
    """The compact JWS of these claims."""
    members: dict[str, Any] = {
        "iss": claims.iss,
        "sub": claims.sub,
        "client_id": claims.client_id,
        "aud": claims.aud,
        "exp": claims.exp,
        "iat": claims.iat,
        "jti": claims.jti,
    }
    if claims.scope:
        members["scope"] = claims.scope
    if claims.client_key is not None:
        members["client_key"] = claims.client_key
    if claims.jkt is not None:
        members["cnf"] = {"jkt": claims.jkt}
    return compact.sign({"typ": names.ACCESS_TOKEN_TYP}, members, signer)


class BoundToken(Value, frozen=True):
    """A token that holds for who has the key of this thumbprint, and for nobody else: not an AccessToken yet."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"token"})

    token: AccessToken
    jkt: str


def verify(verified: Verified, *, issuer: str, audience: str, now: float, leeway: int = 30) -> AccessToken:
    """Judge an access token whose signature held, and that was shown without a proof (RFC 9068 section 4).

    Args:
        verified: the proof that the signature held.
        issuer: the only issuer that is accepted, by simple string comparison.
        audience: the identifier of this API.
        now: seconds since the epoch.
        leeway: seconds that the clocks may differ.

    Raises:
        Rejected: TOKEN_TYPE, TOKEN_ISSUER, TOKEN_AUDIENCE, TOKEN_EXPIRED, TOKEN_NOT_YET_VALID, TOKEN_CLAIM or
            TOKEN_BINDING.
    """
    expires_at = _judge(verified, issuer, audience, now, leeway)
    # RFC 7800, RFC 9449 section 7.2: a bound token shown without its proof is a stolen one, whatever binds it.
    if "cnf" in verified.claims:
        raise Rejected(Reason.TOKEN_BINDING)
    return _token(verified.claims, expires_at)


def verify_bound(verified: Verified, *, issuer: str, audience: str, now: float, leeway: int = 30) -> BoundToken:
    """Judge an access token whose signature held, and that was shown with the scheme DPoP.

    Args:
        verified: the proof that the signature held.
        issuer: the only issuer that is accepted, by simple string comparison.
        audience: the identifier of this API.
        now: seconds since the epoch.
        leeway: seconds that the clocks may differ.

    Raises:
        Rejected: what `verify` raises, or TOKEN_UNBOUND.
    """
    expires_at = _judge(verified, issuer, audience, now, leeway)
    cnf = verified.claims.get("cnf")
    if cnf is None:
        raise Rejected(Reason.TOKEN_UNBOUND)
    jkt = text(cnf, "jkt") if isinstance(cnf, dict) else None
    # What is bound by a certificate as well is not proved by half.
    if jkt is None or len(cnf) != 1:
        raise Rejected(Reason.TOKEN_BINDING)
    return BoundToken(_token(verified.claims, expires_at), jkt)


def release(bound: BoundToken, proof: DpopProof) -> AccessToken:
    """The token of who proved the key that it is bound to (RFC 9449 section 4.3 item 12).

    Raises:
        Rejected: TOKEN_BINDING.
    """
    if proof.jkt != bound.jkt:
        raise Rejected(Reason.TOKEN_BINDING)
    return bound.token


def _judge(verified: Verified, issuer: str, audience: str, now: float, leeway: int) -> float:
    """When it expires, if it is an access token for here and now."""
    claims = verified.claims
    if media_type(verified.header.get("typ")) != names.ACCESS_TOKEN_TYP:
        raise Rejected(Reason.TOKEN_TYPE, expected=names.ACCESS_TOKEN_TYP)
    if claims.get("iss") != issuer:
        raise Rejected(Reason.TOKEN_ISSUER, expected=issuer)
    aud = claims.get("aud")
    if audience not in (aud if isinstance(aud, list) else (aud,)):
        raise Rejected(Reason.TOKEN_AUDIENCE, expected=audience)
    return _check_times(claims, now, leeway)


def _token(claims: dict[str, Any], expires_at: float) -> AccessToken:
    return AccessToken(
        client_id=_required(claims, "client_id"),
        sub=_required(claims, "sub"),
        jti=_required(claims, "jti"),
        scopes=_scopes(claims.get("scope")),
        expires_at=expires_at,
        claims=claims,
    )


def _check_times(claims: dict[str, Any], now: float, leeway: int) -> float:
    try:
        exp, iat, nbf = instant(claims, "exp"), instant(claims, "iat"), instant(claims, "nbf")
    except ValueError as error:
        raise Rejected(Reason.TOKEN_CLAIM, detail=f"{error} is not a number") from None
    if exp is None or iat is None:
        raise Rejected(Reason.TOKEN_CLAIM, detail="exp or iat is missing")
    if exp + leeway <= now:
        raise Rejected(Reason.TOKEN_EXPIRED)
    if iat > now + leeway or (nbf is not None and nbf > now + leeway):
        raise Rejected(Reason.TOKEN_NOT_YET_VALID)
    return exp


def _required(claims: dict[str, Any], name: str) -> str:
    value = text(claims, name)
    if value is None:
        raise Rejected(Reason.TOKEN_CLAIM, detail=f"{name} is missing or not a string")
    return value


def _scopes(value: object) -> frozenset[str]:
    if value is None:
        return frozenset()
    try:
        return frozenset(scope.parse(value)) if isinstance(value, str) else _refuse()
    except ValueError:
        return _refuse()


def _refuse() -> frozenset[str]:
    raise Rejected(Reason.TOKEN_CLAIM, detail="scope is not a scope")
