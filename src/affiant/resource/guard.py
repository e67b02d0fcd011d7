"""The guard: authenticate the caller of an API (RFC 6750, RFC 9068 section 4, RFC 9449 section 7)."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from affiant.errors import ConfigError, Rejected, RemoteError
from affiant.jose.algorithms import ASYMMETRIC
from affiant.jose.claims import LEEWAY
from affiant.jose.compact import Verified
from affiant.oauth import bearer, resource_request
from affiant.oauth.binding import forwarded
from affiant.oauth.binding.dpop import Nonces, normalise
from affiant.oauth.binding.forwarded import Proxies
from affiant.oauth.binding.mtls import Certificate
from affiant.oauth.metadata import check_issuer
from affiant.oauth.resource_request import Proved, Rules, Scope
from affiant.reasons import Reason
from affiant.resource import need as needs
from affiant.resource.answers import Challenges, Denied
from affiant.resource.introspect import Introspected, Introspection
from affiant.resource.issuer import Issuer
from affiant.resource.keys import IssuerKeys
from affiant.resource.metadata import Published, ResourceMetadata, publish
from affiant.resource.need import AnyOf, Need, Needed
from affiant.resource.revocations import POLICIES as REVOCATION_POLICIES
from affiant.resource.revocations import Followed

if TYPE_CHECKING:  # the first request loads it
    import httpx2

MAX_REMEMBERED = 1024  # tokens whose signature is not verified again
MOST_LEEWAY = 300  # seconds
DPOP_POLICIES = ("optional", "required")


@dataclass(frozen=True, slots=True)
class Caller:
    """A client whose access token is valid here and now.

    Attributes:
        client_id: the client.
        sub: the subject; of a service the same as its client_id.
        scopes: the granted scopes.
        token_id: the token's jti, for logs.
        claims: all claims of the token.
    """

    client_id: str
    sub: str
    scopes: frozenset[str]
    token_id: str
    claims: dict[str, Any] = field(repr=False, compare=False)


class Guard:
    """Checks access tokens of one issuer for one API.

    Args:
        issuer: the only issuer whose tokens are accepted, exactly as its metadata spell it.
        audience: the identifier of this API. There is no default: a guard that accepts any audience protects nothing.
        algorithms: of the tokens' signatures (RFC 7518 names); asymmetric ones only.
        realm: for the challenge; the audience if left out.
        dpop: ``optional`` (bearer tokens, and bound ones with their proof), or ``required`` (only the latter).
        url: where callers reach this API, before the path, such as ``https://api.example``: the address in proofs. If
            left out, the scheme and Host of each request, which behind a proxy are different.
        certificate_proxies: addresses and networks of the proxies that end TLS and send the client's certificate in a
            header; from any other peer that header is ignored.
        certificate_header: its format: ``rfc9440`` (Client-Cert), ``nginx`` (ssl-client-cert) or
            ``nginx:HEADER-NAME``, ``xfcc`` (Envoy), ``alb`` or ``alb-passthrough``.
        proof_algorithms: of the proofs' signatures; every challenge lists them.
        nonce_key: at least 16 secret bytes, the same in every process of this API; proofs must then have a nonce.
        metadata: of this API, to be published (RFC 9728); every challenge then has their URL.
        revocations: ``optional`` (tokens that the issuer revoked are rejected within seconds, if it publishes its
            revocations; while it is unreachable, the last known ones count), ``required`` (all tokens are rejected when
            those are older than 30 seconds) or ``off``.
        introspection: how to ask the issuer about each token; all tokens are rejected while it does not answer. Needs
            `http`, whose connections stay open.
        http: an httpx2.AsyncClient for requests to the issuer, and for nothing else: the event loop that first checks a
            token makes them all. When that loop ends, what must be fetched is refused with 503. If left out, the thread
            of the guards makes the requests, whatever loops come and go.
        clock: seconds since the epoch.
        leeway: seconds by which the clocks of the issuer and this API may differ, at most 300.
        development: True sends callers the reason of a refusal; otherwise only the log has it.

    Raises:
        ConfigError: no audience, an impossible issuer, a symmetric algorithm, a wrong URL, or introspection without
            `http`.
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
        leeway: int = LEEWAY,
        development: bool = False,
    ) -> None:
        _check(issuer, audience, revocations)
        if introspection is not None and http is None:
            raise ConfigError("introspection= needs http=: an httpx2.AsyncClient that lives as long as the guard")
        self.issuer, self.audience, self.url = issuer, audience, _base(url)
        self._clock = clock
        self._algorithms = frozenset(_algorithms("algorithms", algorithms))
        self._rules = _rules(issuer, audience, _leeway(leeway), dpop, proof_algorithms, nonce_key)
        self._proxies = _proxies(certificate_proxies, certificate_header)
        self.published = publish(metadata, self._rules) if metadata else None
        self._challenges = _challenges(self._rules, realm, self.published, is_development=development)
        source = Issuer(issuer, http=http, clock=clock)
        self._keys = IssuerKeys(source, clock=clock)
        self._revocations = Followed(source, self._keys, policy=revocations, clock=clock)
        self._introspected: Introspected | None = None
        if introspection is not None:
            self._introspected = Introspected(source, self._keys, introspection, audience=audience, clock=clock)
        self._remembered: OrderedDict[bytes, tuple[int, Verified]] = OrderedDict()

    async def check(
        self,
        authorization: Sequence[bytes],
        *,
        need: Needed | Need = (),
        proved: Proved | None = None,
        certificate: Certificate | None = None,
    ) -> Caller:
        """Return the caller of a request.

        Args:
            authorization: every value of its Authorization header.
            need: the scopes that it must have, all of them; as a str, separated by spaces (RFC 6749 section 3.3). Of
                `any_of` one is enough.
            proved: the request with its DPoP proofs, if it has any; needed for a token that is bound to a key.
            certificate: the client certificate of the request, if it has one; needed for a token that is bound to one
                (RFC 8705 section 3).

        Raises:
            ConfigError: `need` is no scope.
            Rejected: TOKEN_MISSING where there is no token, a TOKEN_* or DPOP_* reason, or SCOPE_INSUFFICIENT.
            RemoteError: the issuer's keys are unknown and cannot be fetched, its revocations are required and too old,
                or it does not answer the introspection: respond with 503.
        """
        wanted = needs.parse(need)
        presented = bearer.parse_authorization(authorization)
        if presented is None:
            raise Rejected(Reason.TOKEN_MISSING, expected=wanted.text)
        verified = await self._verify(presented.token)
        token = resource_request.verify(
            verified, presented, rules=self._rules, now=self._clock(), proved=proved, certificate=certificate
        )
        await self._revocations.check(token.claims)
        if self._introspected is not None:
            await self._introspected.check(presented.token, token)
        # Order: scope comes last, so that a caller without a valid token gets 401 and not 403.
        if not wanted.is_met_by(token.scopes):
            raise Rejected(Reason.SCOPE_INSUFFICIENT, expected=wanted.text)
        return Caller(token.client_id, token.sub, token.scopes, token.jti, token.claims)

    async def check_scope(self, scope: Scope, need: Needed | Need = ()) -> Caller | Denied:
        """Check a request or a WebSocket of ASGI.

        Args:
            scope: of ASGI, not a scope of OAuth; its client must be the peer itself, not an address from a header.
            need: the scopes that the token must have, as in `check`.

        Returns:
            The caller, or the whole response for a request that is refused.
        """
        authorization, proved = resource_request.read(scope, base=self.url)
        peer = scope["client"][0] if scope.get("client") else None
        tls = (scope.get("extensions") or {}).get("tls")
        try:
            certificate = forwarded.find(scope["headers"], peer=peer, proxies=self._proxies, tls=tls)
            resource_request.check_query(scope.get("query_string", b""), authorization)
            return await self.check(authorization, need=need, proved=proved, certificate=certificate)
        except (Rejected, RemoteError) as error:
            return self.deny(error, authorization)

    def deny(self, error: Rejected | RemoteError, authorization: Sequence[bytes] = ()) -> Denied:
        """Return the whole response for a request that `check` refused.

        Args:
            error: the exception that `check` raised.
            authorization: every value of the Authorization header; the challenge names its scheme first.
        """
        return self._challenges.deny(error, authorization, self.current_nonce())

    def __call__(self, *scopes: str | AnyOf) -> Callable[..., Awaitable[Caller]]:
        """Return a dependency of FastAPI for routes of HTTP and WebSocket: ``Depends(guard("orders.read"))``.

        It returns the caller. A refused request gets the exact status and challenge; a refused WebSocket is closed with
        1008, unaccepted.
        """
        from fastapi import HTTPException, WebSocketException  # noqa: PLC0415 - only APIs with FastAPI have it
        from starlette.requests import HTTPConnection  # noqa: PLC0415 - the same

        wanted = needs.all_of("scopes", *scopes)

        async def check(connection: HTTPConnection) -> Caller:
            found = await self.check_scope(connection.scope, need=wanted)
            if isinstance(found, Caller):
                return found
            if connection.scope["type"] == "websocket":
                raise WebSocketException(1008, found.error)
            headers = {name: value for name, value in found.headers.items() if name != "Content-Type"}
            raise HTTPException(found.status, detail=json.loads(found.body), headers=headers)

        # FastAPI reads these annotations; as text it could not resolve them here.
        check.__annotations__ = {"connection": HTTPConnection, "return": Caller}
        return check

    def current_nonce(self) -> str | None:
        """Return the nonce for the header DPoP-Nonce, or None if this API wants none."""
        nonces = self._rules.nonces
        return nonces.current(self._clock()) if nonces is not None else None

    async def _verify(self, text: str) -> Verified:
        """Verify the signature, or use a remembered result while the keys are the same. Claims are always checked."""
        digest = sha256(text.encode("ascii")).digest()
        if digest in self._remembered:
            await self._keys.refresh()
        edition, verified = self._remembered.get(digest, (None, None))
        if verified is None or edition != self._keys.edition:
            unverified = resource_request.parse(text)
            if unverified.alg not in self._algorithms:
                raise Rejected(Reason.TOKEN_ALGORITHM)
            verified = await self._keys.verify(unverified)
            self._remembered[digest] = (self._keys.edition, verified)
            if len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        return verified


def _check(issuer: str, audience: str, revocations: str) -> None:
    if not isinstance(issuer, str):
        raise ConfigError(f"issuer= is the URL of one issuer, a str, not {type(issuer).__name__}")
    try:
        check_issuer(issuer)
    except ValueError as error:
        raise ConfigError(f"{issuer!r} cannot be an issuer: {error}") from None
    if not isinstance(audience, str):
        raise ConfigError(f"audience= is one identifier, a str, not {type(audience).__name__}: make a guard for each")
    if not audience:
        raise ConfigError("a guard needs its audience: the identifier that this API is registered with")
    if revocations not in REVOCATION_POLICIES:
        raise ConfigError(f"revocations= is one of: {', '.join(REVOCATION_POLICIES)}")


def _challenges(rules: Rules, realm: str | None, published: Published | None, *, is_development: bool) -> Challenges:
    if realm is not None and not isinstance(realm, str):
        raise ConfigError(f"realm= is a str, not {type(realm).__name__}")
    if not isinstance(is_development, bool):  # the text "false" of an environment variable must not turn it on
        raise ConfigError(f"development= is True or False, not {is_development!r}")
    return Challenges(rules, realm or rules.audience, published, is_development=is_development)


def _leeway(seconds: int) -> int:
    """Attack: a large leeway keeps expired tokens alive. Past a few minutes the clock is what must be mended."""
    if type(seconds) is not int or not 0 <= seconds <= MOST_LEEWAY:
        raise ConfigError(f"leeway= is a whole number of seconds from 0 to {MOST_LEEWAY}")
    return seconds


def _rules(
    issuer: str, audience: str, leeway: int, dpop: str, proof_algorithms: Sequence[str], nonce_key: bytes | None
) -> Rules:
    if dpop not in DPOP_POLICIES:
        raise ConfigError(f"dpop= is one of: {', '.join(DPOP_POLICIES)}")
    return Rules(
        issuer,
        audience,
        leeway=leeway,
        schemes=(bearer.BEARER, bearer.DPOP) if dpop == "optional" else (bearer.DPOP,),
        proof_algorithms=_algorithms("proof_algorithms", proof_algorithms),
        nonces=_nonces(nonce_key) if nonce_key is not None else None,
    )


def _nonces(key: bytes) -> Nonces:
    if not isinstance(key, bytes):
        raise ConfigError(f"nonce_key= is bytes, not {type(key).__name__}")
    return Nonces(key)


def _algorithms(name: str, given: Sequence[str]) -> tuple[str, ...]:
    """Return the algorithms in their order, in which the challenge lists them."""
    check_list(name, given)
    if not given or not set(given) <= set(ASYMMETRIC):
        raise ConfigError(f"{name}= takes one or more of: {', '.join(ASYMMETRIC)}")
    return tuple(dict.fromkeys(given))


def check_list(name: str, value: object) -> None:
    """Reject a str, which would be read letter by letter, and anything but a collection of str."""
    if isinstance(value, str):
        raise ConfigError(f"{name}= takes a list of str: write [{value!r}]")
    if not isinstance(value, Collection) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{name}= takes a list of str")


def _proxies(addresses: Sequence[str], header: str) -> Proxies:
    check_list("certificate_proxies", addresses)
    if not isinstance(header, str):
        raise ConfigError(f"certificate_header= is the name of a format, not {type(header).__name__}")
    return Proxies.parse(",".join(addresses), header)


def _base(url: str | None) -> str | None:
    try:
        return normalise(url).rstrip("/") if url is not None else None
    except (TypeError, ValueError):
        raise ConfigError(f"url={url!r} is not where an API listens: write it like https://api.example") from None
