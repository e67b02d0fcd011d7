"""Guard: who calls this API, and may they? (RFC 6750, RFC 9068 section 4)."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from affiant.errors import ConfigError, Rejected
from affiant.jose import compact
from affiant.jose.algorithms import ASYMMETRIC
from affiant.oauth import access_token, bearer
from affiant.oauth.metadata import check_issuer
from affiant.reasons import Reason
from affiant.resource.keys import IssuerKeys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import httpx2

    from affiant.jose.compact import Unverified, Verified
    from affiant.oauth.access_token import AccessToken

MAX_REMEMBERED = 1024
LEEWAY = 30


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: a client whose access token holds here and now.

    Attributes:
        client_id: the client.
        sub: the subject; for a service the same.
        scopes: what it may do.
        token_id: the token's jti, for logs.
        claims: all that the token says.
    """

    client_id: str
    sub: str
    scopes: frozenset[str]
    token_id: str
    claims: dict[str, Any] = field(repr=False, compare=False)


class Guard:
    """Checks access tokens of one issuer for one API.

    Args:
        issuer: whose tokens are accepted, exactly as its metadata spell it.
        audience: the identifier of this API. There is no default: a guard that takes any audience is none.
        algorithms: what tokens may be signed with; never a shared secret.
        realm: for the challenge.
        http: an httpx2.AsyncClient to fetch the issuer's keys with.
        clock: seconds since the epoch.

    Raises:
        ConfigError: no audience, no possible issuer, or a symmetric algorithm.
    """

    def __init__(
        self,
        issuer: str,
        *,
        audience: str,
        algorithms: Sequence[str] = ASYMMETRIC,
        realm: str | None = None,
        http: httpx2.AsyncClient | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        try:
            check_issuer(issuer)
        except ValueError as error:
            raise ConfigError(f"{issuer!r} cannot be an issuer: {error}") from None
        if not audience:
            raise ConfigError("a guard needs its audience: the identifier that this API is registered with")
        if not set(algorithms) <= set(ASYMMETRIC):
            raise ConfigError(f"a guard accepts only: {', '.join(ASYMMETRIC)}")
        self.issuer = issuer
        self.audience = audience
        self.realm = realm or audience
        self._algorithms = frozenset(algorithms)
        self._keys = IssuerKeys(issuer, http=http, clock=clock)
        self._clock = clock
        self._remembered: OrderedDict[bytes, Verified] = OrderedDict()

    async def check(self, authorization: Sequence[bytes], *, need: Sequence[str] = ()) -> Caller:
        """The caller of a request.

        Args:
            authorization: every value of its Authorization header.
            need: the scopes that it must have, all of them.

        Raises:
            Rejected: TOKEN_MISSING where there is no token, a TOKEN_* reason, or SCOPE_INSUFFICIENT.
            RemoteError: the issuer's keys are not known and cannot be fetched: answer 503.
        """
        text = bearer.parse_authorization(authorization)
        if text is None:
            raise Rejected(Reason.TOKEN_MISSING)
        token = await self._verify(text)
        # Scope comes last: who is nobody is told so (401), not that a scope is missing (403).
        if not token.scopes.issuperset(need):
            raise Rejected(Reason.SCOPE_INSUFFICIENT, expected=" ".join(need))
        return Caller(token.client_id, token.sub, token.scopes, token.jti, token.claims)

    def __call__(self, *scopes: str) -> Callable[[Any], Awaitable[Caller]]:
        """For FastAPI and Starlette: ``Depends(guard("orders.read"))``. See affiant.resource.fastapi."""
        from affiant.resource.fastapi import dependency  # noqa: PLC0415 - only who uses FastAPI loads it

        return dependency(self, *scopes)

    async def _verify(self, text: str) -> AccessToken:
        # What a signature proved once stays proved; whether the token still holds is judged each time.
        digest = sha256(text.encode("ascii")).digest()
        verified = self._remembered.get(digest)
        if verified is None:
            verified = await self._prove(_parse(text))
            self._remembered[digest] = verified
            if len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        return access_token.verify(
            verified, issuer=self.issuer, audience=self.audience, now=self._clock(), leeway=LEEWAY
        )

    async def _prove(self, unverified: Unverified) -> Verified:
        if unverified.alg not in self._algorithms:
            raise Rejected(Reason.TOKEN_ALGORITHM)
        for key in await self._keys.find(unverified.kid, unverified.alg):
            try:
                return compact.verify(unverified, key)
            except Rejected:
                continue
        raise Rejected(Reason.TOKEN_SIGNATURE)


def _parse(text: str) -> Unverified:
    try:
        return compact.parse(text)
    except Rejected as refusal:
        raise Rejected(Reason.TOKEN_MALFORMED, detail=refusal.reason.code) from None
