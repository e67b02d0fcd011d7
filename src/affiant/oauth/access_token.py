"""Build and verify access tokens, JWTs of RFC 9068."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any, ClassVar

import msgspec
from msgspec import structs

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.jose.claims import LEEWAY, audiences, instant, media_type, text
from affiant.jose.compact import Verified
from affiant.jose.signer import AnySigner
from affiant.oauth import bearer, names
from affiant.oauth.binding import mtls
from affiant.oauth.binding.dpop import DpopProof
from affiant.oauth.binding.mtls import Certificate
from affiant.oauth.parameters import scope
from affiant.oauth.parameters.authorization_details import Details
from affiant.system.values import Value


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
    rule: str | None = None  # by which the token of a trusted issuer obtained this one, as TRUST/RULE
    src: dict[str, Any] | None = None  # of that token: its iss, and the claims that the rule copies
    act: dict[str, Any] | None = None  # the party that acts for sub (RFC 8693 section 4.1)
    sub_profile: str | None = None  # the kind of sub (OAuth Actor Profile)
    parents: tuple[dict[str, Any], ...] = ()  # the tokens that it was exchanged for: see `revocations.lineage`
    task: str | None = None  # the task of the client that it is for


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


def build(claims: Value, signer: AnySigner, *, typ: str = names.ACCESS_TOKEN_TYP) -> Awaitable[str]:
    """Sign with a key that may be in a device or service. `typ` is another one only for an API that has chosen it."""
    return compact.sign_with(typ, claims, signer)


class JudgedToken(Value, frozen=True):
    """An access token of this issuer for this audience, with all its claims. It may be expired, and may be bound.

    Its times and its binding are judged with each request: `admit` and `admit_bound`.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"token", "names"})

    token: AccessToken
    issued_at: float
    not_before: float | None
    is_bound: bool  # it has a `cnf`
    jkt: str | None  # the thumbprint of the key that it is bound to
    certificate: str | None  # that of the certificate
    nested: tuple[str, ...] = ()  # the claims that are objects or arrays
    names: list[tuple[bytes, ...]] = msgspec.field(default_factory=list)  # see `revocations.digests`; once needed


class BoundToken(Value, frozen=True):
    """A token that is valid only for the owner of the key with this thumbprint: not an AccessToken yet.

    If it is bound to a certificate as well, that was there.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"token"})

    token: AccessToken
    jkt: str


WAIVABLE = frozenset({"aud", "iat", "jti", "sub"})


class ClaimRules(Value, frozen=True):
    """Where an issuer puts what RFC 9068 requires, for an issuer whose tokens are not of RFC 9068.

    Attributes:
        client_id: the claims that may name the client. Those that a token has must agree.
        sub: the claims that may name the subject, the first that the token has.
        jti: the claims that may identify the token, the first that it has.
        scope: the claims that may have the scopes, as text or as an array: the first that the token has, alone.
        waived: claims that a token may lack: ``aud``, ``iat``, ``jti`` or ``sub``. The client is then the subject, and
            `token_id` is empty.
        required: claims with the values of which each must have one, such as ``{"token_use": ("access",)}``.
        check: takes all claims, and returns what is wrong with them, or None.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"check"})

    client_id: tuple[str, ...] = ("client_id",)
    sub: tuple[str, ...] = ("sub",)
    jti: tuple[str, ...] = ("jti",)
    scope: tuple[str, ...] = ("scope",)
    waived: frozenset[str] = frozenset()
    required: Mapping[str, tuple[str | bool, ...]] = {}
    check: Callable[[dict[str, Any]], str | None] | None = None

    def __post_init__(self) -> None:
        for name in ("client_id", "sub", "jti", "scope", "waived"):
            value = getattr(self, name)
            if isinstance(value, str) or not all(isinstance(item, str) for item in value):
                raise ConfigError(f"ClaimRules: {name} takes a tuple of names: write ({value!r},)")
            structs.force_setattr(self, name, (frozenset if name == "waived" else tuple)(value))
        if not self.waived <= WAIVABLE:
            raise ConfigError(f"ClaimRules: waived takes of {', '.join(sorted(WAIVABLE))}")
        if not self.client_id:
            raise ConfigError("ClaimRules: client_id names no claim, and a guard must know the client")


RFC_9068 = ClaimRules()
_TOKEN_TYPES = frozenset({bearer.BEARER.lower(), bearer.DPOP.lower()})  # RFC 6749 section 7.1: in any case
_NESTED = (dict, list)  # what JSON has
# A token without the typ of an access token may be another JWT of its issuer: only ID tokens (OpenID Connect Core 1.0
# section 3.3.2.11) and logout tokens (OpenID Connect Back-Channel Logout 1.0 section 2.4) have these.
_FOREIGN = frozenset({"at_hash", "c_hash", "s_hash", "events"})


class Accepted(Value, frozen=True):
    """The tokens that an API accepts of one issuer, as far as no time changes it."""

    issuer: str
    audiences: frozenset[str]  # the identifiers of the API
    types: frozenset[str | None] = frozenset({names.ACCESS_TOKEN_TYP})  # None: without typ
    rules: ClaimRules = RFC_9068
    clients: Mapping[str, frozenset[str] | None] | None = None  # and no others; with the scopes that they then have


class Expected(Value, frozen=True):
    """The values that a token is checked against."""

    issuer: str
    audience: str  # the identifier of the API
    now: float
    leeway: int = LEEWAY  # seconds
    certificate: Certificate | None = None  # that the request came with

    @property
    def accepted(self) -> Accepted:
        return Accepted(self.issuer, frozenset({self.audience}))


def verify(verified: Verified, expected: Expected) -> AccessToken:
    """Return an access token that was presented without a proof, if it is valid (RFC 9068 section 4)."""
    judged = judge(verified, expected.accepted)
    return admit(judged, now=expected.now, leeway=expected.leeway, certificate=expected.certificate)


def judge(verified: Verified, accepted: Accepted) -> JudgedToken:
    """Judge what no time changes: type, issuer, audience, and the form of the claims."""
    claims, typ = verified.claims, media_type(verified.header.get("typ"))
    if typ not in accepted.types or (typ is None and "typ" in verified.header):
        hint = f"its typ is {str(verified.header.get('typ'))[:32]!r}: see accept_typ= of Issuer, and the presets"
        raise Rejected(Reason.TOKEN_TYPE, expected=" or ".join(map(str, accepted.types)), detail=hint)
    if typ != names.ACCESS_TOKEN_TYP and not _FOREIGN.isdisjoint(claims):
        raise Rejected(Reason.TOKEN_TYPE, detail="this is an ID token or a logout token")
    if claims.get("iss") != accepted.issuer:
        raise Rejected(Reason.TOKEN_ISSUER, expected=accepted.issuer)
    return _judge(claims, accepted)


def judge_described(members: dict[str, Any], accepted: Accepted) -> JudgedToken:
    """Judge a token as its issuer describes it to this API (RFC 7662 section 2.2), by the rules for claims.

    `members` are those of an answer about an active token. RFC 7662 makes all of them optional; a token that its issuer
    does not describe with audience, client and expiry is rejected.
    """
    if members.get("iss", accepted.issuer) != accepted.issuer:
        raise Rejected(Reason.TOKEN_ISSUER, expected=accepted.issuer)
    # Attack (RFC 7662 section 2.1): a refresh token is presented. An issuer finds it, whatever the hint says.
    kind, use = members.get("token_type", bearer.BEARER), members.get("token_use", "access_token")
    if str(kind).lower() not in _TOKEN_TYPES or use not in ("access_token", "access"):
        raise Rejected(Reason.TOKEN_TYPE, detail="the issuer describes another kind of token")
    rules = accepted.rules
    lenient = structs.replace(rules, waived=rules.waived | {"iat", "jti", "sub"})
    judged = _judge({**members, "iss": accepted.issuer}, structs.replace(accepted, rules=lenient))
    # Attack: the issuer says that the token is bound, and not to which key. It must not pass as a bearer token.
    if str(kind).lower() == bearer.DPOP.lower() and judged.jkt is None:
        raise Rejected(Reason.TOKEN_BINDING, detail="the issuer does not say to which key")
    return judged


def _judge(claims: dict[str, Any], accepted: Accepted) -> JudgedToken:
    rules = accepted.rules
    if accepted.audiences.isdisjoint(audiences(claims)) and ("aud" in claims or "aud" not in rules.waived):
        raise Rejected(Reason.TOKEN_AUDIENCE, expected=" or ".join(sorted(accepted.audiences)))
    expires_at, issued_at, not_before = _times(claims, rules.waived)
    jkt, certificate = _confirmation(claims)
    is_plain = rules is RFC_9068 and accepted.clients is None
    return JudgedToken(
        _token(claims, expires_at) if is_plain else _token_by(claims, expires_at, accepted),
        issued_at=issued_at,
        not_before=not_before,
        is_bound="cnf" in claims,
        jkt=jkt,
        certificate=certificate,
        nested=tuple([name for name, value in claims.items() if type(value) in _NESTED]),
    )


def admit(judged: JudgedToken, *, now: float, leeway: int, certificate: Certificate | None) -> AccessToken:
    """Return a token that was presented without a proof, if it is valid now and bound to no key."""
    _check_times(judged, now, leeway)
    if judged.certificate is not None:
        _check_certificate(judged.certificate, certificate)
    # Attack (RFC 9449 section 7.2): a stolen token is presented without the proof of the key that it is bound to.
    if judged.jkt is not None:
        raise Rejected(Reason.TOKEN_BINDING)
    return judged.token


def admit_bound(judged: JudgedToken, *, now: float, leeway: int, certificate: Certificate | None) -> BoundToken:
    """Return a token that was presented with the scheme DPoP, if it is valid now and bound to a key."""
    _check_times(judged, now, leeway)
    if not judged.is_bound:
        raise Rejected(Reason.TOKEN_UNBOUND)
    if judged.certificate is not None:
        _check_certificate(judged.certificate, certificate)
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


def _check_certificate(thumbprint: str, certificate: Certificate | None) -> None:
    """Compare the certificate of the request with that of the token (RFC 8705 section 3)."""
    shown = certificate.thumbprint if certificate is not None else None
    if thumbprint != shown:
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


def _token_by(claims: dict[str, Any], expires_at: float, accepted: Accepted) -> AccessToken:
    """Return a token of an issuer with rules of its own for claims."""
    rules = accepted.rules
    for name, values in rules.required.items():
        # The type counts, too: 1 equals True.
        if not any(claims.get(name) == value and type(claims.get(name)) is type(value) for value in values):
            raise Rejected(Reason.TOKEN_CLAIM, detail=f"{name} is not one of {values}")
    if rules.check is not None and (wrong := rules.check(claims)) is not None:
        raise Rejected(Reason.TOKEN_CLAIM, detail=wrong)
    client_id = _client_id(claims, rules.client_id)
    scopes = _scopes_by(claims, rules.scope)
    if accepted.clients is not None:
        if client_id not in accepted.clients:
            raise Rejected(Reason.TOKEN_CLAIM, detail="this API does not accept tokens of this client")
        given = accepted.clients[client_id]
        scopes = scopes if given is None else given
    return AccessToken(
        client_id=client_id,
        sub=_first(claims, rules.sub, default=client_id if "sub" in rules.waived else None),
        jti=_first(claims, rules.jti, default="" if "jti" in rules.waived else None),
        scopes=scopes,
        expires_at=expires_at,
        claims=claims,
    )


def _client_id(claims: dict[str, Any], among: tuple[str, ...]) -> str:
    found = [_required(claims, name) for name in among if name in claims]
    # Attack: one of two claims is of a party that may choose it, and names another client.
    if not found or found.count(found[0]) != len(found):
        raise Rejected(Reason.TOKEN_CLAIM, detail=f"{' or '.join(among)} is missing, or they differ")
    return found[0]


def _first(claims: dict[str, Any], among: tuple[str, ...], *, default: str | None) -> str:
    for name in among:
        if name in claims:
            return _required(claims, name)
    if default is None:
        raise Rejected(Reason.TOKEN_CLAIM, detail=f"{' or '.join(among)} is missing")
    return default


def _scopes_by(claims: dict[str, Any], among: tuple[str, ...]) -> frozenset[str]:
    """Return the scopes in the first of these claims. An empty text has none (Keycloak)."""
    value = next((claims[name] for name in among if name in claims), None)
    if value == "":
        return frozenset()
    if not isinstance(value, list):
        return _scopes(value)
    if not all(isinstance(item, str) for item in value):
        raise Rejected(Reason.TOKEN_CLAIM, detail=f"{' or '.join(among)} is not a list of scopes")
    # Attack: an element "orders.read orders.write" is one name, and no scope.
    return frozenset(filter(scope.NAME.fullmatch, value))


def _times(claims: dict[str, Any], waived: frozenset[str]) -> tuple[float, float, float | None]:
    try:
        exp, iat, nbf = instant(claims, "exp"), instant(claims, "iat"), instant(claims, "nbf")
    except ValueError as error:
        raise Rejected(Reason.TOKEN_CLAIM, detail=f"{error} is not a number") from None
    if iat is None and "iat" in waived:
        iat = float("-inf")
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
            return _parse_scopes(value)
    except ValueError:
        pass
    raise Rejected(Reason.TOKEN_CLAIM, detail="scope is not a scope")


@lru_cache(maxsize=256)  # many tokens have the same scopes
def _parse_scopes(text: str) -> frozenset[str]:
    return frozenset(scope.parse(text))
