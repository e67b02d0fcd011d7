"""Mint access tokens. No other module does."""

from __future__ import annotations

import secrets

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import base64url, compact
from affiant.jose.signer import AnySigner
from affiant.oauth import access_token, bearer
from affiant.oauth.access_token import AccessTokenClaims
from affiant.oauth.binding.dpop import DpopProof
from affiant.oauth.binding.mtls import Certificate
from affiant.oauth.federation.transaction_token import Transaction, TransactionClaims
from affiant.oauth.parameters import authorization_details
from affiant.oauth.parameters.scope import render
from affiant.oauth.revocations import FAMILY_MARK
from affiant.oauth.token import TokenResponse
from affiant.server.keys.master_key import MasterKey
from affiant.server.request.caller import Caller
from affiant.server.token.grants.base import Authorization, Subject
from affiant.server.token.policy import Granted
from affiant.storage.entries import RefreshToken, Rotation
from affiant.system.identifiers import new_token_id
from affiant.system.values import Value

REFRESH_IDLE = 7 * 86_400  # seconds without use after which a refresh token expires
REFRESH_ABSOLUTE = 30 * 86_400  # seconds after which a family expires, even in use


class Decision(Value, frozen=True):
    """A token that may be issued: its caller, its scope, and its binding."""

    caller: Caller
    authorization: Authorization
    granted: Granted
    proof: DpopProof | None = None
    certificate: Certificate | None = None


class IssuedToken(Value, frozen=True):
    """A minted token, and what must be committed before it is sent."""

    HIDDEN = frozenset({"response"})

    response: TokenResponse
    jti: str
    new_refresh: RefreshToken | None = None
    rotation: Rotation | None = None


async def issue(
    decision: Decision, *, issuer: str, signer: AnySigner, master_key: MasterKey, now: float
) -> IssuedToken:
    """Mint what was granted. Nothing is stored here: the commit follows.

    A refresh token is not bound to a key: its client authenticates when it uses it (RFC 9449 section 5).
    """
    granted, authorization = decision.granted, decision.authorization
    refresh, new_refresh, rotation = _refresh(decision, master_key, int(now))
    jti = _jti(new_refresh or authorization.refresh_token)
    subject = authorization.subject or _itself(decision.caller)
    if subject.transaction is not None:
        claims: AccessTokenClaims | TransactionClaims = _of_transaction(
            decision, subject, subject.transaction, jti, issuer=issuer, now=int(now)
        )
    else:
        claims = _of_access(decision, subject, jti, issuer=issuer, now=int(now))
    response = TokenResponse(
        access_token=_short_enough(
            await access_token.build(claims, signer, typ=granted.typ), granted, has_parents=bool(claims.parents)
        ),
        token_type=_token_type(decision, subject),
        expires_in=granted.lifetime,
        scope=render(granted.scope) or None,
        refresh_token=refresh,
        authorization_details=granted.details,
        issued_token_type=authorization.requested_token_type,
    )
    return IssuedToken(response, jti, new_refresh, rotation)


def _itself(caller: Caller) -> Subject:
    return Subject(caller.client_id, sub_profile=caller.sub_profile, src=caller.source)


def _of_access(decision: Decision, subject: Subject, jti: str, *, issuer: str, now: int) -> AccessTokenClaims:
    caller, granted = decision.caller, decision.granted
    return AccessTokenClaims(
        iss=issuer,
        sub=subject.sub,  # RFC 9068 section 2.2: without a resource owner, the client
        client_id=caller.client_id,
        aud=granted.resource[0] if len(granted.resource) == 1 else granted.resource,
        exp=now + granted.lifetime,
        iat=now,
        jti=jti,
        scope=render(granted.scope),
        client_key=caller.thumbprint,
        authorization_details=granted.details,
        cnf=access_token.confirmation(decision.proof, decision.certificate),
        rule=caller.rule,
        src=subject.src,
        act=subject.act,
        sub_profile=subject.sub_profile,
        parents=(*subject.parents, *caller.parents),
        task=subject.task,
    )


def _of_transaction(
    decision: Decision, subject: Subject, transaction: Transaction, jti: str, *, issuer: str, now: int
) -> TransactionClaims:
    caller, granted = decision.caller, decision.granted
    return TransactionClaims(
        iss=issuer,
        aud=granted.resource[0],
        exp=now + granted.lifetime,
        iat=now,
        jti=jti,
        txn=transaction.txn,
        sub=subject.sub,
        scope=render(granted.scope),
        req_wl=caller.client_id,
        tctx=transaction.tctx,
        rctx=transaction.rctx,
        act=subject.act,
        parents=(*subject.parents, _workload(caller), *caller.parents),
    )


def _workload(caller: Caller) -> dict[str, str]:
    """Return the entry of `parents` by which a transaction token ends with its workload, and with the key of that."""
    key = caller.thumbprint
    return {"client_id": caller.client_id} | ({"client_key": key} if key is not None else {})


def _token_type(decision: Decision, subject: Subject) -> str:
    if subject.transaction is not None:
        return bearer.NOT_APPLICABLE  # RFC 8693 section 2.2.1
    return bearer.BEARER if decision.proof is None else bearer.DPOP


def _short_enough(token: str, granted: Granted, *, has_parents: bool) -> str:
    """Return the token if APIs accept its length: ML-DSA signatures leave little room for what varies."""
    if len(token) > compact.MAX_CHARACTERS:
        if granted.details:
            raise Rejected(Reason.DETAILS_MALFORMED, expected="fewer or shorter ones: the token would be too long")
        if has_parents:
            raise Rejected(Reason.EXCHANGE_DEPTH, expected="fewer exchanges: the token would be too long")
    return token


def _jti(refresh: RefreshToken | None) -> str:
    """Return a new jti. It names the family of a refresh token, so that both are revoked together."""
    return new_token_id() if refresh is None else f"{refresh.family}{FAMILY_MARK}{new_token_id()}"


def _refresh(
    decision: Decision, master_key: MasterKey, now: int
) -> tuple[str | None, RefreshToken | None, Rotation | None]:
    authorization, granted = decision.authorization, decision.granted
    if not authorization.may_refresh:
        return None, None, None
    used = authorization.refresh_token
    if used is not None and not decision.caller.demands.rotates:
        # The token is its own successor: only its idle lifetime starts again, and the client keeps it.
        return None, None, Rotation(used.digest, used.digest, now, REFRESH_IDLE)
    if used is not None and authorization.presented is not None:
        successor = master_key.successor(authorization.presented)
        return successor, None, Rotation(used.digest, master_key.digest(successor), now, REFRESH_IDLE)
    first = base64url.encode(secrets.token_bytes(32))
    token = RefreshToken(
        digest=master_key.digest(first),
        family=secrets.token_hex(8),
        client_id=decision.caller.client_id,
        scope=granted.scope,
        resource=" ".join(granted.resource),
        issued_at=now,
        idle_expires_at=now + REFRESH_IDLE,
        expires_at=now + REFRESH_ABSOLUTE,
        spent_at=None,
        successor=None,
        revoked_at=None,
        key_thumbprint=decision.caller.thumbprint,
        authorization_details=authorization_details.render(granted.details) if granted.details else None,
    )
    return first, token, None
