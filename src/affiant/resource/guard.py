"""The guard: authenticate the caller of an API (RFC 6750, RFC 9068 section 4, RFC 9449 section 7)."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from affiant.errors import ConfigError, Rejected, RemoteError
from affiant.jose import compact
from affiant.jose.algorithms import ASYMMETRIC
from affiant.jose.claims import LEEWAY
from affiant.jose.compact import Verified
from affiant.oauth import access_token, bearer, resource_request
from affiant.oauth.access_token import JudgedToken
from affiant.oauth.bearer import PresentedToken
from affiant.oauth.binding import forwarded
from affiant.oauth.binding.dpop import Nonces, normalise
from affiant.oauth.binding.forwarded import Proxies
from affiant.oauth.binding.mtls import Certificate
from affiant.oauth.metadata import check_issuer
from affiant.oauth.parameters import need as needs
from affiant.oauth.parameters.need import AnyOf, Need, Needed
from affiant.oauth.resource_request import Proved, Rules, Scope
from affiant.reasons import Reason
from affiant.resource import waiting
from affiant.resource.answers import Challenges, Denied
from affiant.resource.introspect import Introspected, Introspection
from affiant.resource.issuer import Issuer
from affiant.resource.keys import IssuerKeys
from affiant.resource.metadata import Published, ResourceMetadata, publish
from affiant.resource.revocations import POLICIES as REVOCATION_POLICIES
from affiant.resource.revocations import Followed
from affiant.resource.seen import Seen
from affiant.resource.waiting import Steps

if TYPE_CHECKING:  # the first request loads it
    import httpx2

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
        next_nonce: for the header DPoP-Nonce of the response, if the proof had an older one (RFC 9449 section 8.2).
    """

    client_id: str
    sub: str
    scopes: frozenset[str]
    token_id: str
    claims: dict[str, Any] = field(repr=False, compare=False)
    next_nonce: str | None = field(default=None, repr=False, compare=False)


def headers_of(caller: Caller) -> dict[str, str]:
    """Return the headers that the response to this caller needs: a response with a nonce must not be cached."""
    if caller.next_nonce is None:
        return {}
    return {"DPoP-Nonce": caller.next_nonce, "Cache-Control": "no-store"}


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
        self._seen = Seen()

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
        steps = self._check(authorization, needs.parse(need), proved, certificate)
        return await waiting.run(steps)

    def check_sync(
        self,
        authorization: Sequence[bytes],
        *,
        need: Needed | Need = (),
        proved: Proved | None = None,
        certificate: Certificate | None = None,
    ) -> Caller:
        """Return the caller of a request, as `check` does, in a thread without an event loop.

        What must be fetched is fetched by a thread of the guard, for which this one waits a bounded time.
        """
        steps = self._check(authorization, needs.parse(need), proved, certificate)
        return waiting.run_sync(steps)

    async def check_scope(self, scope: Scope, need: Needed | Need = ()) -> Caller | Denied:
        """Check a request or a WebSocket of ASGI.

        Args:
            scope: of ASGI, not a scope of OAuth; its client must be the peer itself, not an address from a header.
            need: the scopes that the token must have, as in `check`.

        Returns:
            The caller, or the whole response for a request that is refused.
        """
        return await waiting.run(self._check_scope(scope, needs.parse(need)))

    def check_environ(
        self, environ: Mapping[str, Any], need: Needed | Need = (), *, certificate: Certificate | None = None
    ) -> Caller | Denied:
        """Check a request of WSGI, in a thread without an event loop.

        Args:
            environ: of WSGI (PEP 3333).
            need: the scopes that the token must have, as in `check`.
            certificate: the client certificate of the request, if it has one: no header is read for it.

        Returns:
            The caller, or the whole response for a request that is refused.
        """
        scope = resource_request.from_environ(environ)
        return waiting.run_sync(self._check_scope(scope, needs.parse(need), certificate))

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
        from starlette.responses import Response  # noqa: PLC0415 - the same

        wanted = needs.all_of("scopes", *scopes)

        async def check(connection: HTTPConnection, response: Response) -> Caller:
            found = await self.check_scope(connection.scope, need=wanted)
            if isinstance(found, Caller):
                response.headers.update(headers_of(found))
                return found
            if connection.scope["type"] == "websocket":
                raise WebSocketException(1008, found.error)
            headers = {name: value for name, value in found.headers.items() if name != "Content-Type"}
            raise HTTPException(found.status, detail=json.loads(found.body), headers=headers)

        # FastAPI reads these annotations; as text it could not resolve them here.
        check.__annotations__ = {"connection": HTTPConnection, "response": Response, "return": Caller}
        return check

    def current_nonce(self) -> str | None:
        """Return the nonce for the header DPoP-Nonce, or None if this API wants none."""
        nonces = self._rules.nonces
        return nonces.current(self._clock()) if nonces is not None else None

    def _check_scope(
        self, scope: Scope, wanted: Need, certificate: Certificate | None = None
    ) -> Steps[Caller | Denied]:
        authorization, proved = resource_request.read(scope, base=self.url)
        try:
            resource_request.check_query(scope.get("query_string", b""), authorization)
            return (yield from self._check(authorization, wanted, proved, certificate or self._find_certificate(scope)))
        except (Rejected, RemoteError) as error:
            return self.deny(error, authorization)

    def _find_certificate(self, scope: Scope) -> Certificate | None:
        peer = scope["client"][0] if scope.get("client") else None
        tls = (scope.get("extensions") or {}).get("tls")
        return forwarded.find(scope["headers"], peer=peer, proxies=self._proxies, tls=tls)

    def _check(
        self, authorization: Sequence[bytes], wanted: Need, proved: Proved | None, certificate: Certificate | None
    ) -> Steps[Caller]:
        """Check a request; yield what must be fetched."""
        found = bearer.split_authorization(authorization)
        if found is None:
            raise Rejected(Reason.TOKEN_MISSING, expected=wanted.text)
        scheme, text = found
        judged = self._find(text)
        if judged is None:
            judged = yield from self._judge(text)
        presented = PresentedToken(scheme, text.decode("ascii"))
        now, rules = self._clock(), self._rules
        token, proof = resource_request.admit(
            judged, presented, rules=rules, now=now, proved=proved, certificate=certificate
        )
        if self._revocations.is_ready():
            self._revocations.judge(token.claims)
        else:
            yield partial(self._revocations.check, token.claims)
        if self._introspected is not None:
            yield partial(self._introspected.check, presented.token, token)
        # Order: scope comes last, so that a caller without a valid token gets 401 and not 403.
        if not wanted.is_met_by(token.scopes):
            raise Rejected(Reason.SCOPE_INSUFFICIENT, expected=wanted.text)
        next_nonce = rules.nonces.after(proof, now) if rules.nonces is not None and proof is not None else None
        # Attack: code of the API changes the claims. The next request with this token is judged by other ones.
        return Caller(token.client_id, token.sub, token.scopes, token.jti, dict(token.claims), next_nonce)

    def _find(self, text: bytes) -> JudgedToken | None:
        """Return a token that the present keys have verified before."""
        return self._seen.find(sha256(text).digest(), self._keys.edition) if self._keys.is_ready() else None

    def _judge(self, text: bytes) -> Steps[JudgedToken]:
        """Verify the signature, and judge what no time changes."""
        keys, digest = self._keys, sha256(text).digest()
        if self._seen.find(digest, keys.edition) is not None:  # the keys were too old for it
            yield keys.refresh
            if (found := self._seen.find(digest, keys.edition)) is not None:
                return found
        unverified = resource_request.parse(bearer.parse_token(text))
        if unverified.alg not in self._algorithms:
            raise Rejected(Reason.TOKEN_ALGORITHM)
        edition = keys.edition
        tried = keys.candidates(unverified) if keys.is_ready() else ()
        try:
            verified = compact.verify_any(unverified, tried)
        except Rejected:
            return self._judge_claims((yield partial(keys.verify, unverified, tried=tried)))
        judged = self._judge_claims(verified)
        self._seen.keep(digest, edition, judged, characters=len(text))
        return judged

    def _judge_claims(self, verified: Verified) -> JudgedToken:
        return access_token.judge(verified, issuer=self.issuer, audience=self.audience)


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
