"""Guard: who calls this API, and may they? (RFC 6750, RFC 9068 section 4, RFC 9449 section 7)."""

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
from affiant.oauth.dpop import Nonces, Replays, normalise
from affiant.oauth.dpop import verify as verify_proof
from affiant.oauth.metadata import check_issuer
from affiant.reasons import Reason
from affiant.resource.keys import IssuerKeys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import httpx2

    from affiant.jose.compact import Unverified, Verified
    from affiant.oauth.access_token import AccessToken
    from affiant.resource.request import Proved

MAX_REMEMBERED = 1024
LEEWAY = 30
DPOP_POLICIES = ("optional", "required")


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
        dpop: ``optional`` (bearer tokens, and bound ones with their proof), or ``required`` (only the latter).
        url: where callers reach this API, before the path, such as ``https://api.example``: what proofs must name.
            When left out, what each request says of its host; behind a proxy that is another.
        nonce_key: at least 16 secret bytes, the same in every process of this API; proofs must then have a nonce.
        http: an httpx2.AsyncClient to fetch the issuer's keys with.
        clock: seconds since the epoch.

    Raises:
        ConfigError: no audience, no possible issuer, a symmetric algorithm, or a URL that is none.
    """

    def __init__(
        self,
        issuer: str,
        *,
        audience: str,
        algorithms: Sequence[str] = ASYMMETRIC,
        realm: str | None = None,
        dpop: str = "optional",
        url: str | None = None,
        nonce_key: bytes | None = None,
        http: httpx2.AsyncClient | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        _check(issuer, audience, algorithms, dpop)
        self.issuer = issuer
        self.audience = audience
        self.realm = realm or audience
        self._algorithms = frozenset(algorithms)
        self._keys = IssuerKeys(issuer, http=http, clock=clock)
        self._clock = clock
        self._remembered: OrderedDict[bytes, tuple[int, Verified]] = OrderedDict()
        self.schemes = (bearer.BEARER, bearer.DPOP) if dpop == "optional" else (bearer.DPOP,)
        self.url = _base(url)
        self._nonces = Nonces(nonce_key) if nonce_key is not None else None
        self._replays = Replays()

    async def check(
        self, authorization: Sequence[bytes], *, need: Sequence[str] = (), proved: Proved | None = None
    ) -> Caller:
        """The caller of a request.

        Args:
            authorization: every value of its Authorization header.
            need: the scopes that it must have, all of them.
            proved: the request with its proof, where it has one; without it no bound token is taken.

        Raises:
            Rejected: TOKEN_MISSING where there is no token, a TOKEN_* or DPOP_* reason, or SCOPE_INSUFFICIENT.
            RemoteError: the issuer's keys are not known and cannot be fetched: answer 503.
        """
        shown = bearer.parse_authorization(authorization)
        if shown is None:
            raise Rejected(Reason.TOKEN_MISSING)
        if shown.scheme == bearer.BEARER:
            token = await self._verify(shown.token)
        else:
            token = await self._verify_bound(shown.token, proved)
        # Scope comes last: who is nobody is told so (401), not that a scope is missing (403).
        if not token.scopes.issuperset(need):
            raise Rejected(Reason.SCOPE_INSUFFICIENT, expected=" ".join(need))
        return Caller(token.client_id, token.sub, token.scopes, token.jti, token.claims)

    def __call__(self, *scopes: str) -> Callable[[Any], Awaitable[Caller]]:
        """For FastAPI and Starlette: ``Depends(guard("orders.read"))``. See affiant.resource.fastapi."""
        from affiant.resource.fastapi import dependency  # noqa: PLC0415 - only who uses FastAPI loads it

        return dependency(self, *scopes)

    def current_nonce(self) -> str | None:
        """What proofs must have now, for the header DPoP-Nonce; None where none is demanded."""
        return self._nonces.current(self._clock()) if self._nonces is not None else None

    async def _verify(self, text: str) -> AccessToken:
        verified = await self._believe(text)
        token = access_token.verify(
            verified, issuer=self.issuer, audience=self.audience, now=self._clock(), leeway=LEEWAY
        )
        if bearer.BEARER not in self.schemes:
            raise Rejected(Reason.TOKEN_BINDING, detail="this API takes bound tokens only")
        return token

    async def _verify_bound(self, text: str, proved: Proved | None) -> AccessToken:
        """The token first, its proof then: who has no token here can make us neither verify nor remember anything."""
        verified, now = await self._believe(text), self._clock()
        bound = access_token.verify_bound(verified, issuer=self.issuer, audience=self.audience, now=now, leeway=LEEWAY)
        if proved is None:
            raise Rejected(Reason.TOKEN_BINDING, detail="no DPoP header")
        proof = verify_proof(
            proved.proofs, method=proved.method, url=proved.url, now=now, access_token=text, nonces=self._nonces
        )
        token = access_token.release(bound, proof)
        self._replays.claim(proof, now)
        return token

    async def _believe(self, text: str) -> Verified:
        """What a signature proved stays proved while the keys are the same; whether the token holds is for others."""
        digest = sha256(text.encode("ascii")).digest()
        if digest in self._remembered:
            await self._keys.refresh()
        edition, verified = self._remembered.get(digest, (None, None))
        if verified is None or edition != self._keys.edition:
            verified = await self._prove(_parse(text))
            self._remembered[digest] = (self._keys.edition, verified)
            if len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        return verified

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


def _check(issuer: str, audience: str, algorithms: Sequence[str], dpop: str) -> None:
    try:
        check_issuer(issuer)
    except ValueError as error:
        raise ConfigError(f"{issuer!r} cannot be an issuer: {error}") from None
    if not audience:
        raise ConfigError("a guard needs its audience: the identifier that this API is registered with")
    if not set(algorithms) <= set(ASYMMETRIC):
        raise ConfigError(f"a guard accepts only: {', '.join(ASYMMETRIC)}")
    if dpop not in DPOP_POLICIES:
        raise ConfigError(f"dpop= is one of: {', '.join(DPOP_POLICIES)}")


def _base(url: str | None) -> str | None:
    try:
        return normalise(url).rstrip("/") if url is not None else None
    except ValueError:
        raise ConfigError(f"{url!r} is not where an API listens: write it like https://api.example") from None
