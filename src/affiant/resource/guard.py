"""Guard: who calls this API, and may they? (RFC 6750, RFC 9068 section 4, RFC 9449 section 7)."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from affiant.errors import ConfigError, Rejected
from affiant.jose import compact
from affiant.jose.algorithms import ASYMMETRIC
from affiant.jose.compact import Unverified, Verified
from affiant.oauth import access_token, bearer
from affiant.oauth.access_token import AccessToken
from affiant.oauth.binding.dpop import Nonces, Replays, normalise
from affiant.oauth.binding.dpop import verify as verify_proof
from affiant.oauth.binding.forwarded import Proxies
from affiant.oauth.binding.mtls import Certificate
from affiant.oauth.claims import LEEWAY
from affiant.oauth.metadata import check_issuer
from affiant.reasons import Reason
from affiant.resource.introspect import Introspected, Introspection
from affiant.resource.issuer import Issuer
from affiant.resource.keys import IssuerKeys
from affiant.resource.metadata import ResourceMetadata, publish
from affiant.resource.request import Proved
from affiant.resource.revocations import POLICIES as REVOCATION_POLICIES
from affiant.resource.revocations import Followed

if TYPE_CHECKING:
    import httpx2

MAX_REMEMBERED = 1024
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
        certificate_proxies: addresses and networks of the proxies that end TLS and send the client's certificate in a
            header; from any other peer that header means nothing.
        certificate_header: what those proxies write: ``rfc9440`` (Client-Cert), ``nginx`` (ssl-client-cert) or
            ``nginx:HEADER-NAME``, ``xfcc`` (Envoy), ``alb`` or ``alb-passthrough``.
        proof_algorithms: what proofs may be signed with; every challenge lists them.
        nonce_key: at least 16 secret bytes, the same in every process of this API; proofs must then have a nonce.
        metadata: what this API publishes of itself (RFC 9728); every challenge then names where.
        revocations: ``optional`` (tokens that the issuer revoked are refused within seconds, where it tells of them;
            while it is away, what is known counts), ``required`` (nobody passes when that is older than half a minute)
            or ``off``.
        introspection: how the issuer is asked, with each request, whether the token still stands; nobody passes while
            it does not answer. It needs `http`, whose connections stay open between the questions.
        http: an httpx2.AsyncClient to ask the issuer with.
        clock: seconds since the epoch.

    Raises:
        ConfigError: no audience, no possible issuer, a symmetric algorithm, a URL that is none, or introspection
            without `http`.
    """

    def __init__(
        self,
        issuer: str,
        *,
        audience: str,
        algorithms: Sequence[str] = ASYMMETRIC,
        realm: str | None = None,
        dpop: str = "optional",
        proof_algorithms: Sequence[str] = ASYMMETRIC,
        url: str | None = None,
        certificate_proxies: Sequence[str] = (),
        certificate_header: str = "rfc9440",
        nonce_key: bytes | None = None,
        metadata: ResourceMetadata | None = None,
        revocations: str = "optional",
        introspection: Introspection | None = None,
        http: httpx2.AsyncClient | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        _check(issuer, audience, dpop, revocations)
        if introspection is not None and http is None:
            raise ConfigError("introspection= needs http=: an httpx2.AsyncClient that lives as long as the guard")
        self.issuer, self.audience = issuer, audience
        self._wanted: dict[str, Any] = {"issuer": issuer, "audience": audience, "leeway": LEEWAY}
        self.realm = realm or audience
        self._algorithms = frozenset(_algorithms("algorithms", algorithms))
        self.proof_algorithms = _algorithms("proof_algorithms", proof_algorithms)
        asked = Issuer(issuer, http=http)
        self._keys = IssuerKeys(asked, clock=clock)
        self._revocations = Followed(asked, self._keys, policy=revocations, clock=clock)
        self._introspected = (
            Introspected(asked, self._keys, introspection, audience=audience, clock=clock) if introspection else None
        )
        self._clock = clock
        self._remembered: OrderedDict[bytes, tuple[int, Verified]] = OrderedDict()
        self.schemes = (bearer.BEARER, bearer.DPOP) if dpop == "optional" else (bearer.DPOP,)
        self.url = _base(url)
        self.certificate_proxies = _proxies(certificate_proxies, certificate_header)
        self._nonces, self._replays = Nonces(nonce_key) if nonce_key is not None else None, Replays()
        self.published = publish(metadata, self) if metadata else None

    async def check(
        self,
        authorization: Sequence[bytes],
        *,
        need: Sequence[str] = (),
        proved: Proved | None = None,
        certificate: Certificate | None = None,
    ) -> Caller:
        """The caller of a request.

        Args:
            authorization: every value of its Authorization header.
            need: the scopes that it must have, all of them; as a str, separated by spaces (RFC 6749 section 3.3).
            proved: the request with its proof, where it has one; without it no token is taken that is bound to a key.
            certificate: that the request came with (resource/request.py); without it no token is taken that is bound to
                one (RFC 8705 section 3).

        Raises:
            Rejected: TOKEN_MISSING where there is no token, a TOKEN_* or DPOP_* reason, or SCOPE_INSUFFICIENT.
            RemoteError: the issuer's keys are not known and cannot be fetched, or its revocations, where they are
                required, or it does not answer where it is asked for each token: answer 503.
        """
        shown = bearer.parse_authorization(authorization)
        if shown is None:
            raise Rejected(Reason.TOKEN_MISSING)
        if shown.scheme == bearer.BEARER:
            token = await self._verify(shown.token, certificate)
        else:
            token = await self._verify_bound(shown.token, proved, certificate)
        await self._revocations.check(token.claims)
        if self._introspected is not None:
            await self._introspected.check(shown.token, token)
        # Scope comes last: who is nobody is told so (401), not that a scope is missing (403).
        wanted = need.split() if isinstance(need, str) else need
        if not token.scopes.issuperset(wanted):
            raise Rejected(Reason.SCOPE_INSUFFICIENT, expected=" ".join(wanted))
        return Caller(token.client_id, token.sub, token.scopes, token.jti, token.claims)

    def __call__(self, *scopes: str) -> Callable[[Any], Awaitable[Caller]]:
        """For FastAPI and Starlette: ``Depends(guard("orders.read"))``. See affiant.resource.fastapi."""
        from affiant.resource.fastapi import dependency  # noqa: PLC0415 - only who uses FastAPI loads it

        return dependency(self, *scopes)

    def current_nonce(self) -> str | None:
        """What proofs must have now, for the header DPoP-Nonce; None where none is demanded."""
        return self._nonces.current(self._clock()) if self._nonces is not None else None

    async def _verify(self, text: str, certificate: Certificate | None) -> AccessToken:
        verified, now = await self._believe(text), self._clock()
        token = access_token.verify(verified, now=now, certificate=certificate, **self._wanted)
        if bearer.BEARER not in self.schemes:
            raise Rejected(Reason.TOKEN_BINDING, detail="this API takes bound tokens only")
        return token

    async def _verify_bound(self, text: str, proved: Proved | None, certificate: Certificate | None) -> AccessToken:
        """The token first, its proof then: who has no token here can make us neither verify nor remember anything."""
        verified, now = await self._believe(text), self._clock()
        bound = access_token.verify_bound(verified, now=now, certificate=certificate, **self._wanted)
        if proved is None:
            raise Rejected(Reason.TOKEN_BINDING, detail="no DPoP header")
        proof = verify_proof(
            proved.proofs,
            method=proved.method,
            urls=(proved.url,),
            now=now,
            access_token=text,
            nonces=self._nonces,
            algorithms=self.proof_algorithms,
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
        return await self._keys.verify(unverified)


def _parse(text: str) -> Unverified:
    try:
        return compact.parse(text)
    except Rejected as refusal:
        raise Rejected(Reason.TOKEN_MALFORMED, detail=refusal.reason.code) from None


def _check(issuer: str, audience: str, dpop: str, revocations: str) -> None:
    try:
        check_issuer(issuer)
    except ValueError as error:
        raise ConfigError(f"{issuer!r} cannot be an issuer: {error}") from None
    if not isinstance(audience, str):
        raise ConfigError(f"audience= is one identifier, a str, not {type(audience).__name__}: make a guard for each")
    if not audience:
        raise ConfigError("a guard needs its audience: the identifier that this API is registered with")
    if dpop not in DPOP_POLICIES:
        raise ConfigError(f"dpop= is one of: {', '.join(DPOP_POLICIES)}")
    if revocations not in REVOCATION_POLICIES:
        raise ConfigError(f"revocations= is one of: {', '.join(REVOCATION_POLICIES)}")


def _algorithms(name: str, given: Sequence[str]) -> tuple[str, ...]:
    """In the order in which they are given: a header lists them so."""
    check_list(name, given)
    if not given or not set(given) <= set(ASYMMETRIC):
        raise ConfigError(f"{name}= takes one or more of: {', '.join(ASYMMETRIC)}")
    return tuple(dict.fromkeys(given))


def check_list(name: str, value: object) -> None:
    """Pass a list or a tuple: a str would be read letter by letter.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(value, str):
        raise ConfigError(f"{name}= takes a list of str: write [{value!r}]")
    if not isinstance(value, Collection) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{name}= takes a list of str")


def _proxies(addresses: Sequence[str], header: str) -> Proxies:
    check_list("certificate_proxies", addresses)
    return Proxies.parse(",".join(addresses), header)


def _base(url: str | None) -> str | None:
    try:
        return normalise(url).rstrip("/") if url is not None else None
    except ValueError:
        raise ConfigError(f"{url!r} is not where an API listens: write it like https://api.example") from None
